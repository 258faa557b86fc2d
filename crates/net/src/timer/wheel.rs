//! Timer wheel: deadlines of many short-lived items in slots of 4 ms, re-armed lazily.
//!
//! The wheel owns the entries; each item stores the time it is armed for, as with [`super::Deadlines`]. Use it for many
//! items that end long before their deadline and tolerate some milliseconds of delay: the exchanges.
//!
//! The entry of an ended item is dropped after one revolution, 4 s; the heap keeps it until its deadline, 30 s for a
//! request. At 20 000 requests a second a deadline costs 8 ns here and 120 ns in the heap (`cargo bench -p spooky-bench
//! --bench timers`).

use std::time::{Duration, Instant};

/// Length of a tick, and the maximum delay of a deadline.
const TICK: Duration = Duration::from_millis(4);
/// Ticks of one revolution (4 s). Later deadlines go into the last slot and are armed again.
const SLOTS: usize = 1024;

/// Returns the time from the start of the wheel to a tick. Multiplied in 64 bits, because `Duration * u32` overflows
/// after 198.8 days of ticks.
const fn since_start(tick: u64) -> Duration {
    Duration::from_millis((TICK.as_millis() as u64).saturating_mul(tick))
}

/// Deadlines of items with keys `K`.
#[derive(Debug)]
pub struct Wheel<K> {
    slots: Vec<Vec<K>>,
    start: Instant,
    tick: u64,
    /// No key is in a slot before this tick; `None` if the wheel is empty.
    nearest: Option<u64>,
}

impl<K: Copy> Wheel<K> {
    /// Creates an empty wheel that starts at `now`.
    pub fn new(now: Instant) -> Self {
        Self { slots: std::iter::repeat_with(Vec::new).take(SLOTS).collect(), start: now, tick: 0, nearest: None }
    }

    /// Arms the item for `at`, unless it is `armed` for an earlier time. Updates `armed`.
    pub fn arm(&mut self, key: K, at: Instant, armed: &mut Option<Instant>) {
        if armed.is_none_or(|armed| at < armed) {
            *armed = Some(at);
            self.insert(key, at);
        }
    }

    fn insert(&mut self, key: K, at: Instant) {
        let due = self.tick_after(at).clamp(self.tick + 1, self.tick + SLOTS as u64 - 1);
        if let Some(slot) = self.slots.get_mut((due % SLOTS as u64) as usize) {
            slot.push(key);
            self.nearest = Some(self.nearest.map_or(due, |nearest| nearest.min(due)));
        }
    }

    /// Returns the next time at which [`Wheel::advance`] may have something to do.
    pub fn next(&self) -> Option<Instant> {
        self.nearest.map(|tick| self.start + since_start(tick))
    }

    /// Advances to `now`. Calls `on_due` with the key of every item armed for a past tick. `on_due` returns the time to
    /// arm the item for if it is not due yet.
    pub fn advance(&mut self, now: Instant, mut on_due: impl FnMut(K) -> Option<Instant>) {
        let passed = (now.saturating_duration_since(self.start).as_nanos() / TICK.as_nanos()) as u64;
        let Some(nearest) = self.nearest.filter(|nearest| *nearest <= passed) else {
            self.tick = passed.max(self.tick);
            return;
        };
        self.nearest = None;
        let mut later = Vec::new();
        // A slot has the keys of one tick only, so a full revolution visits every key.
        for tick in nearest..=passed.min(nearest + SLOTS as u64 - 1) {
            let Some(slot) = self.slots.get_mut((tick % SLOTS as u64) as usize) else { continue };
            for key in slot.drain(..) {
                if let Some(at) = on_due(key) {
                    later.push((key, at));
                }
            }
        }
        self.tick = passed;
        self.nearest = (1..SLOTS as u64).map(|ahead| passed + ahead).find(|tick| !self.is_empty(*tick));
        for (key, at) in later {
            self.insert(key, at);
        }
    }

    fn is_empty(&self, tick: u64) -> bool {
        self.slots.get((tick % SLOTS as u64) as usize).is_none_or(Vec::is_empty)
    }

    /// Returns the first tick that is not before `at`.
    fn tick_after(&self, at: Instant) -> u64 {
        (at.saturating_duration_since(self.start).as_nanos().div_ceil(TICK.as_nanos())) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_due_once_in_order_and_never_early() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        let delays = [0_u64, 3, 4, 5, 100, 4095, 4096, 9000, 70_000];
        for (key, delay) in delays.iter().enumerate() {
            wheel.arm(key as u64, start + Duration::from_millis(*delay), &mut None);
        }
        let mut fired = Vec::new();
        for ms in (0..71_000).step_by(7) {
            let now = start + Duration::from_millis(ms);
            wheel.advance(now, |key| {
                let deadline = start + Duration::from_millis(delays[key as usize]);
                if deadline > now {
                    return Some(deadline);
                }
                assert!(ms - delays[key as usize] <= 12, "{key} was late");
                fired.push(key);
                None
            });
        }
        assert_eq!(fired, (0..delays.len() as u64).collect::<Vec<_>>());
        assert_eq!(wheel.next(), None);
    }

    /// If `next` were in the past, the worker's timer would fire at once and forever, and the worker would never sleep.
    #[test]
    fn deadlines_are_met_and_in_the_future_after_years() {
        const DAY: Duration = Duration::from_secs(86_400);
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        for days in [49, 50, 198, 199, 200, 400, 3_650, 36_500] {
            let now = start + DAY * days;
            wheel.advance(now, |key: u64| panic!("{key} came due on day {days}"));
            let deadline = now + Duration::from_millis(100);
            wheel.arm(7, deadline, &mut None);
            let next = wheel.next().unwrap();
            assert!(
                next > now && next <= deadline + TICK,
                "day {days}: next in {:?}",
                next.checked_duration_since(now)
            );
            let mut fired = Vec::new();
            let mut turns = 0;
            while let Some(at) = wheel.next() {
                wheel.advance(at, |key| {
                    fired.push(key);
                    None
                });
                turns += 1;
                assert!(turns < 3, "day {days}: turned {turns} times for one key");
            }
            assert_eq!(fired, [7], "day {days}");
        }
    }

    #[test]
    fn next_is_the_tick_of_the_nearest_key() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        assert_eq!(wheel.next(), None);
        wheel.arm(1, start + Duration::from_millis(100), &mut None);
        assert_eq!(wheel.next(), Some(start + Duration::from_millis(100)));
    }

    #[test]
    fn only_an_earlier_deadline_is_entered() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut wheel, mut armed) = (Wheel::new(start), None);
        for (ms, entries) in [(200, 1), (300, 1), (100, 2)] {
            wheel.arm(1, at(ms), &mut armed);
            assert_eq!(wheel.slots.iter().map(Vec::len).sum::<usize>(), entries, "{ms}");
        }
        assert_eq!(armed, Some(at(100)));
    }
}
