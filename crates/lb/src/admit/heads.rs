//! Latencies of the response heads of one upstream by windows of time, and the decision whether a window was late.
//!
//! Each worker records its own heads without contention; the first one after the end of a window adds them up. `adaptive`
//! changes the limit.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::adaptive::{Adaptive, window_of};
use crate::time::Nanos;

/// Minimum number of response heads and timeouts in a window. Timeouts count because an upstream with nothing else is the
/// most overloaded one.
const MIN_RESULTS: u32 = 10;
/// A window is late if at least one of this many results is a timeout.
const TIMEOUT_SHARE: u32 = 10;
/// A window is late only if its median exceeds the baseline this many times.
const BASELINE_FACTOR: u32 = 3;
/// Latency samples of one worker and window. With more heads it samples every second, every fourth and so on, so that the
/// samples are spread evenly over the window.
const SAMPLES: usize = 128;
/// The baseline is the lowest window median of this many seconds.
const BASELINE_SECONDS: usize = 60;
/// With up to this many times the minimum limit in flight, the baseline ages even while the limit is lowered.
const LOW_CONCURRENCY: u32 = 2;
const WINDOWS_PER_SECOND: u64 = 10;

/// Heads of one worker in one window.
#[derive(Debug)]
struct Window {
    number: AtomicU64,
    heads: AtomicU32,
    timeouts: AtomicU32,
    /// Maximum number of requests in flight in the process.
    peak: AtomicU32,
    /// One sample is taken of this many heads; a power of two.
    stride: AtomicU32,
    /// Number of samples.
    sampled: AtomicU32,
    /// In microseconds.
    latencies: [AtomicU32; SAMPLES],
}

impl Default for Window {
    fn default() -> Self {
        Self {
            number: AtomicU64::new(0),
            heads: AtomicU32::new(0),
            timeouts: AtomicU32::new(0),
            peak: AtomicU32::new(0),
            stride: AtomicU32::new(1),
            sampled: AtomicU32::new(0),
            latencies: std::array::from_fn(|_| AtomicU32::new(0)),
        }
    }
}

impl Window {
    /// Records the latency of head `number`, from 0, in microseconds. Only the owning worker may call this.
    fn add_sample(&self, number: u32, latency: u32) {
        let stride = self.stride.load(Relaxed);
        if !number.is_multiple_of(stride) {
            return;
        }
        let mut sampled = self.sampled.load(Relaxed) as usize;
        if sampled >= SAMPLES {
            for (to, from) in self.latencies.iter().zip(self.latencies.iter().step_by(2)) {
                to.store(from.load(Relaxed), Relaxed);
            }
            sampled = SAMPLES / 2;
            self.stride.store(stride.saturating_mul(2), Relaxed);
        }
        if let Some(sample) = self.latencies.get(sampled) {
            sample.store(latency, Relaxed);
            self.sampled.store(sampled as u32 + 1, Relaxed);
        }
    }
}

/// One worker's current and previous window, on their own cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard([Window; 2]);

impl Shard {
    /// Returns a window, reset if it held an earlier one. Only the owning worker may call this.
    fn window(&self, number: u64) -> &Window {
        let [even, odd] = &self.0;
        let window = if number.is_multiple_of(2) { even } else { odd };
        if window.number.load(Relaxed) != number {
            window.heads.store(0, Relaxed);
            window.timeouts.store(0, Relaxed);
            window.peak.store(0, Relaxed);
            window.stride.store(1, Relaxed);
            window.sampled.store(0, Relaxed);
            window.number.store(number, Relaxed);
        }
        window
    }
}

/// A window that has ended, summed over all workers.
#[derive(Debug, Default)]
struct ClosedWindow {
    heads: u32,
    timeouts: u32,
    peak: u32,
    /// Samples with the number of heads that each represents.
    latencies: Vec<(u32, u32)>,
}

impl ClosedWindow {
    /// The median latency; `None` with too few results.
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

#[derive(Debug)]
pub(super) struct Heads {
    shards: Box<[Shard]>,
    /// Number of the current window; 0 before the first.
    window: AtomicU64,
    /// Lowest median of each second; [`u32::MAX`] for none.
    baseline: Box<[AtomicU32]>,
    /// Number of windows that have aged the baseline.
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

    pub(super) fn on_head(&self, worker: usize, latency: Duration, in_flight: u32) {
        let Some(window) = self.window(worker) else { return };
        let heads = window.heads.load(Relaxed);
        window.add_sample(heads, u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
        window.heads.store(heads.saturating_add(1), Relaxed);
        note_peak(window, in_flight);
    }

    pub(super) fn on_timeout(&self, worker: usize, in_flight: u32) {
        if let Some(window) = self.window(worker) {
            window.timeouts.store(window.timeouts.load(Relaxed).saturating_add(1), Relaxed);
            note_peak(window, in_flight);
        }
    }

    pub(super) fn on_in_flight(&self, worker: usize, in_flight: u32) {
        if let Some(window) = self.window(worker) {
            note_peak(window, in_flight);
        }
    }

    fn window(&self, worker: usize) -> Option<&Window> {
        Some(self.shards.get(worker)?.window(self.window.load(Relaxed)))
    }

    /// Advances to the window of `now`. The one caller that ends the previous window evaluates it: a late one lowers `limit`.
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
        // While the limit is lowered, medians include the remaining queue, so they must not age the baseline: else a long
        // overload would become its own baseline until the limit is back at its maximum. Near the minimum limit no such
        // queue is left: a slow backend has become slower.
        let ages = !limit.is_lowered() || closed.peak <= limit.min_limit().saturating_mul(LOW_CONCURRENCY);
        self.age_baseline(next - last - u64::from(!ages));
        if let Some(median) = median {
            self.note_median(median);
        }
        if has_timeouts || is_slow {
            limit.lower(last, closed.peak);
        }
    }

    fn sum(&self, number: u64) -> ClosedWindow {
        let mut closed = ClosedWindow::default();
        let windows = self.shards.iter().flat_map(|shard| &shard.0);
        for window in windows.filter(|window| window.number.load(Relaxed) == number) {
            let heads = window.heads.load(Relaxed);
            closed.heads = closed.heads.saturating_add(heads);
            closed.timeouts = closed.timeouts.saturating_add(window.timeouts.load(Relaxed));
            closed.peak = closed.peak.max(window.peak.load(Relaxed));
            let (sampled, stride) = (window.sampled.load(Relaxed) as usize, window.stride.load(Relaxed));
            closed.latencies.extend(window.latencies.iter().take(sampled).map(|sample| (sample.load(Relaxed), stride)));
        }
        closed
    }

    fn lowest(&self) -> Option<u32> {
        self.baseline.iter().map(|second| second.load(Relaxed)).min().filter(|&lowest| lowest != u32::MAX)
    }

    fn second(&self, age: u64) -> Option<&AtomicU32> {
        self.baseline.get((age / WINDOWS_PER_SECOND % BASELINE_SECONDS as u64) as usize)
    }

    /// Drops the seconds of the baseline that this many further windows make too old.
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

fn note_peak(window: &Window, in_flight: u32) {
    if in_flight > window.peak.load(Relaxed) {
        window.peak.store(in_flight, Relaxed);
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
