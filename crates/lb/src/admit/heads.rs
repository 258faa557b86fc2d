//! The response heads of one upstream by windows of time, and the judgement whether a window was late.
//!
//! Each worker notes its own heads without contention; whichever comes first after the end of a window adds them up.
//! `adaptive` draws the consequence.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::adaptive::{Adaptive, window_of};
use crate::time::Nanos;

/// Response heads that a window needs to say anything, those included that did not come in time: an upstream of which nothing
/// is heard but timeouts is the most overloaded of all.
const MIN_RESULTS: u32 = 10;
/// One timeout in so many results makes a window late.
const TIMEOUT_SHARE: u32 = 10;
/// A window is late only above so many times the upstream's baseline.
const BASELINE_FACTOR: u32 = 3;
/// Latencies that one worker keeps of a window. Of more heads than that it keeps every second, every fourth and so on, so
/// that the kept ones are spread evenly over the window.
const SAMPLES: usize = 128;
/// The baseline is the lowest window median of the last 60 s, forgotten second by second.
const BASELINE_SECONDS: usize = 60;
/// Up to so many times the minimum in flight the baseline ages also while the limit is lowered.
const LOW_CONCURRENCY: u32 = 2;
/// Windows in a second.
const WINDOWS_PER_SECOND: u64 = 10;

/// What one worker has seen in one window.
#[derive(Debug)]
struct Half {
    window: AtomicU64,
    heads: AtomicU32,
    timeouts: AtomicU32,
    /// Most requests in flight in the process.
    peak: AtomicU32,
    /// One latency is kept for so many heads; a power of two.
    stride: AtomicU32,
    /// How many latencies are kept.
    kept: AtomicU32,
    /// In microseconds.
    latencies: [AtomicU32; SAMPLES],
}

impl Default for Half {
    fn default() -> Self {
        Self {
            window: AtomicU64::new(0),
            heads: AtomicU32::new(0),
            timeouts: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            stride: AtomicU32::new(1),
            kept: AtomicU32::new(0),
            latencies: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

impl Half {
    /// Keeps the latency of a head, the first one being number 0, in microseconds. Only the worker itself calls this.
    fn keep(&self, number: u32, latency: u32) {
        let stride = self.stride.load(Relaxed);
        if !number.is_multiple_of(stride) {
            return;
        }
        let mut kept = self.kept.load(Relaxed) as usize;
        if kept >= SAMPLES {
            for (to, from) in self.latencies.iter().zip(self.latencies.iter().step_by(2)) {
                to.store(from.load(Relaxed), Relaxed);
            }
            kept = SAMPLES / 2;
            self.stride.store(stride.saturating_mul(2), Relaxed);
        }
        if let Some(sample) = self.latencies.get(kept) {
            sample.store(latency, Relaxed);
            self.kept.store(kept as u32 + 1, Relaxed);
        }
    }
}

/// One worker's notes, on cache lines of their own: the window that runs and the one before it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard([Half; 2]);

impl Shard {
    /// The notes of a window. Only the worker itself calls this.
    fn half(&self, window: u64) -> &Half {
        let [even, odd] = &self.0;
        let half = if window.is_multiple_of(2) { even } else { odd };
        if half.window.load(Relaxed) != window {
            half.heads.store(0, Relaxed);
            half.timeouts.store(0, Relaxed);
            half.peak.store(0, Relaxed);
            half.stride.store(1, Relaxed);
            half.kept.store(0, Relaxed);
            half.window.store(window, Relaxed);
        }
        half
    }
}

/// A closed window, all workers together.
#[derive(Debug, Default)]
struct Closed {
    heads: u32,
    timeouts: u32,
    peak: u32,
    /// Latencies with the number of heads that each stands for.
    latencies: Vec<(u32, u32)>,
}

impl Closed {
    /// The median latency, if there were enough results to judge by.
    fn median(&mut self) -> Option<u32> {
        if self.heads + self.timeouts < MIN_RESULTS {
            return None;
        }
        self.latencies.sort_unstable();
        let half = self.latencies.iter().map(|(_, heads)| u64::from(*heads)).sum::<u64>() / 2;
        let mut below = 0;
        let middle = self.latencies.iter().find(|(_, heads)| {
            below += u64::from(*heads);
            below > half
        });
        middle.map(|(latency, _)| *latency)
    }
}

/// The response heads of one upstream.
#[derive(Debug)]
pub(super) struct Heads {
    shards: Box<[Shard]>,
    /// The window that runs; 0 before the first.
    window: AtomicU64,
    /// The lowest median by second; [`u32::MAX`] for none.
    baseline: Box<[AtomicU32]>,
    /// Windows that have aged the baseline.
    age: AtomicU64,
}

impl Heads {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            shards: (0..workers).map(|_| Shard::default()).collect(),
            window: AtomicU64::new(0),
            baseline: (0..BASELINE_SECONDS).map(|_| AtomicU32::new(u32::MAX)).collect(),
            age: AtomicU64::new(0),
        }
    }

    /// A response head came after `latency` while so many requests were in flight.
    pub(super) fn on_head(&self, worker: usize, latency: Duration, in_flight: u32) {
        let Some(half) = self.half(worker) else { return };
        let heads = half.heads.load(Relaxed);
        half.keep(heads, u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        half.heads.store(heads.saturating_add(1), Relaxed);
        note_peak(half, in_flight);
    }

    /// No response head came within a limit that the operator set.
    pub(super) fn on_timeout(&self, worker: usize, in_flight: u32) {
        if let Some(half) = self.half(worker) {
            half.timeouts.store(half.timeouts.load(Relaxed).saturating_add(1), Relaxed);
            note_peak(half, in_flight);
        }
    }

    /// So many requests are in flight.
    pub(super) fn on_in_flight(&self, worker: usize, in_flight: u32) {
        if let Some(half) = self.half(worker) {
            note_peak(half, in_flight);
        }
    }

    fn half(&self, worker: usize) -> Option<&Half> {
        Some(self.shards.get(worker)?.half(self.window.load(Relaxed)))
    }

    /// Goes on to the window of `now`. Whoever closes the window before it judges it: a late one lowers `limit`.
    pub(super) fn advance(&self, now: Nanos, limit: &Adaptive) {
        let (next, last) = (window_of(now), self.window.load(Relaxed));
        if next <= last || self.window.compare_exchange(last, next, Relaxed, Relaxed).is_err() || last == 0 {
            return;
        }
        let mut closed = self.sum(last);
        let median = closed.median();
        let results = closed.heads + closed.timeouts;
        let has_timeouts = results >= MIN_RESULTS && closed.timeouts * TIMEOUT_SHARE >= results;
        let is_slow = median.zip(self.lowest()).is_some_and(|(median, baseline)| {
            median > limit.high_latency() && median > baseline.saturating_mul(BASELINE_FACTOR)
        });
        // While the limit holds requests back, medians show the queue that it leaves and not what the backends can do, and
        // that time ages nothing: else a long overload would become its own baseline, minute by minute, until the limit is
        // at its maximum. Near the minimum there is no such queue left: what is slow then has become slower.
        let ages = !limit.is_lowered() || closed.peak <= limit.min_limit().saturating_mul(LOW_CONCURRENCY);
        self.age_baseline(next - last - u64::from(!ages));
        if let Some(median) = median {
            self.note_median(median);
        }
        if has_timeouts || is_slow {
            limit.lower(last, closed.peak);
        }
    }

    fn sum(&self, window: u64) -> Closed {
        let mut closed = Closed::default();
        let halves = self.shards.iter().flat_map(|shard| &shard.0);
        for half in halves.filter(|half| half.window.load(Relaxed) == window) {
            let heads = half.heads.load(Relaxed);
            closed.heads = closed.heads.saturating_add(heads);
            closed.timeouts = closed.timeouts.saturating_add(half.timeouts.load(Relaxed));
            closed.peak = closed.peak.max(half.peak.load(Relaxed));
            let (kept, stride) = (half.kept.load(Relaxed) as usize, half.stride.load(Relaxed));
            closed.latencies.extend(half.latencies.iter().take(kept).map(|sample| (sample.load(Relaxed), stride)));
        }
        closed
    }

    /// The baseline.
    fn lowest(&self) -> Option<u32> {
        self.baseline.iter().map(|second| second.load(Relaxed)).min().filter(|&lowest| lowest != u32::MAX)
    }

    fn second(&self, age: u64) -> Option<&AtomicU32> {
        self.baseline.get((age / WINDOWS_PER_SECOND % BASELINE_SECONDS as u64) as usize)
    }

    /// Lets so many windows pass for the baseline.
    fn age_baseline(&self, windows: u64) {
        let old = self.age.load(Relaxed);
        let new = old.saturating_add(windows);
        self.age.store(new, Relaxed);
        let passed = new / WINDOWS_PER_SECOND - old / WINDOWS_PER_SECOND;
        for second in 0..passed.min(BASELINE_SECONDS as u64) {
            if let Some(forgotten) = self.second(new - second * WINDOWS_PER_SECOND) {
                forgotten.store(u32::MAX, Relaxed);
            }
        }
    }

    fn note_median(&self, median: u32) {
        if let Some(second) = self.second(self.age.load(Relaxed)) {
            second.fetch_min(median, Relaxed);
        }
    }
}

fn note_peak(half: &Half, in_flight: u32) {
    if in_flight > half.peak.load(Relaxed) {
        half.peak.store(in_flight, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admit::AdaptiveOptions;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// An upstream's heads and the limit, window by window.
    struct Bench {
        heads: Heads,
        limit: Adaptive,
        now: Nanos,
    }

    impl Bench {
        fn new() -> Self {
            let limit = Adaptive::default();
            limit.configure(Some(&AdaptiveOptions { max_limit: 1000, ..Default::default() }));
            let mut bench = Self { heads: Heads::new(2), limit, now: Nanos::from_millis(1000) };
            bench.close();
            bench
        }

        fn close(&mut self) -> u32 {
            self.now = self.now + MS(100);
            self.heads.advance(self.now, &self.limit);
            self.limit.advance(self.now);
            self.limit.limit().unwrap()
        }

        /// One window: heads of these latencies on two workers, and timeouts.
        fn window(&mut self, latencies: &[u64], timeouts: u32, in_flight: u32) -> u32 {
            for (n, &latency) in latencies.iter().enumerate() {
                self.heads.on_head(n % 2, MS(latency), in_flight);
            }
            (0..timeouts).for_each(|_| self.heads.on_timeout(0, in_flight));
            self.close()
        }
    }

    #[test]
    fn a_median_above_both_bounds_lowers_and_none_else() {
        let mut bench = Bench::new();
        bench.window(&[200; 20], 0, 100);
        assert_eq!(bench.window(&[599; 20], 0, 100), 1000, "below three times the baseline");
        assert_eq!(bench.window(&[[601; 10], [100; 10]].concat(), 0, 100), 84, "the median counts");
        let mut bench = Bench::new();
        bench.window(&[20; 20], 0, 100);
        assert_eq!(bench.window(&[499; 20], 0, 100), 1000, "below high_latency_ms");
        assert_eq!(bench.window(&[501; 9], 0, 100), 1000, "too few");
        assert_eq!(bench.window(&[501; 10], 0, 64), 1000, "no more in flight than the minimum");
        assert_eq!(bench.window(&[501; 10], 0, 65), 64);
    }

    #[test]
    fn the_median_is_that_of_all_heads_of_the_window() {
        for (quick, slow, limit) in [(6000, 4000, 1000), (4000, 6000, 84)] {
            let mut bench = Bench::new();
            bench.window(&[100; 20], 0, 100);
            // The slow ones all come at the end of the window.
            assert_eq!(bench.window(&[vec![100; quick], vec![700; slow]].concat(), 0, 100), limit, "{quick} to {slow}");
        }
        let mut bench = Bench::new();
        bench.window(&[100; 20], 0, 100);
        // One worker has many heads and the other has few.
        (0..5000).for_each(|_| bench.heads.on_head(0, MS(100), 100));
        (0..150).for_each(|_| bench.heads.on_head(1, MS(700), 100));
        assert_eq!(bench.close(), 1000);
    }

    #[test]
    fn an_upstream_that_was_always_slow_is_not_late() {
        let mut bench = Bench::new();
        for _ in 0..2000 {
            assert_eq!(bench.window(&[5000; 20], 0, 900), 1000);
        }
    }

    #[test]
    fn a_tenth_of_timeouts_lowers() {
        let mut bench = Bench::new();
        assert_eq!(bench.window(&[1; 91], 9, 100), 1000);
        assert_eq!(bench.window(&[1; 90], 10, 100), 84);
        let mut bench = Bench::new();
        assert_eq!(bench.window(&[], 9, 100), 1000, "too few");
        assert_eq!(bench.window(&[], 10, 100), 84);
    }

    #[test]
    fn the_baseline_forgets_after_a_minute() {
        let mut bench = Bench::new();
        bench.window(&[100; 20], 0, 50);
        for _ in 0..580 {
            bench.window(&[450; 20], 0, 50);
        }
        assert_eq!(bench.window(&[600; 20], 0, 100), 84, "300 ms is still the bound of the baseline");
        let mut bench = Bench::new();
        bench.window(&[100; 20], 0, 50);
        for _ in 0..620 {
            bench.window(&[450; 20], 0, 50);
        }
        assert_eq!(bench.window(&[600; 20], 0, 100), 1000);
    }

    #[test]
    fn a_long_overload_does_not_become_its_own_baseline() {
        let mut bench = Bench::new();
        bench.window(&[100; 20], 0, 50);
        for _ in 0..3000 {
            let limit = bench.limit.limit().unwrap();
            assert!(bench.window(&[700; 20], 0, limit.max(200)) < 1000);
        }
        // With no more in flight than the minimum it shows what it can do: it has become slower.
        for _ in 0..700 {
            bench.window(&[700; 20], 0, 60);
        }
        assert_eq!(bench.window(&[700; 20], 0, 900), 1000);
    }
}
