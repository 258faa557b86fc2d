//! Deadlines of exchanges: a wheel of coarse ticks, entered once per exchange and re-armed lazily.
//!
//! Most exchanges end long before their first deadline, and their deadlines mostly move later. So an exchange is entered
//! once, at its nearest deadline; when that tick comes the owner says whether it is due, gone, or due later.

use std::time::{Duration, Instant};

/// The length of a tick. A timeout fires at most this much late.
const TICK: Duration = Duration::from_millis(4);
/// Ticks of one turn of the wheel (4 s); later deadlines wait in the last slot and are entered again.
const SLOTS: usize = 1024;

/// The time from the start of the wheel to a tick. Multiplied in 64 bits: `Duration * u32` ends after 198.8 days of ticks.
const fn since_start(tick: u64) -> Duration {
    Duration::from_millis((TICK.as_millis() as u64).saturating_mul(tick))
}

/// The answer to "is this exchange due?".
pub(crate) enum Due {
    /// It is over, or was handled just now.
    Gone,
    /// Its deadline is this, later than the entered one.
    Later(Instant),
}

/// The wheel.
pub(crate) struct Wheel {
    slots: Vec<Vec<u64>>,
    start: Instant,
    tick: u64,
    /// No key waits in a tick before this one; `None` when none waits at all.
    nearest: Option<u64>,
}

impl Wheel {
    pub(crate) fn new(now: Instant) -> Self {
        Self { slots: vec![Vec::new(); SLOTS], start: now, tick: 0, nearest: None }
    }

    /// Enters the exchange with this key at its deadline.
    pub(crate) fn enter(&mut self, deadline: Instant, key: u64) {
        let due = self.tick_after(deadline).clamp(self.tick + 1, self.tick + SLOTS as u64 - 1);
        if let Some(slot) = self.slots.get_mut((due % SLOTS as u64) as usize) {
            slot.push(key);
            self.nearest = Some(self.nearest.map_or(due, |nearest| nearest.min(due)));
        }
    }

    /// The next moment at which [`Wheel::turn`] may have something to do.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.nearest.map(|tick| self.start + since_start(tick))
    }

    /// Advances to `now`, giving the keys of every tick that has passed to `due`.
    pub(crate) fn turn(&mut self, now: Instant, mut due: impl FnMut(u64) -> Due) {
        let passed = (now.saturating_duration_since(self.start).as_nanos() / TICK.as_nanos()) as u64;
        let Some(nearest) = self.nearest.filter(|nearest| *nearest <= passed) else {
            self.tick = passed.max(self.tick);
            return;
        };
        self.nearest = None;
        let mut later = Vec::new();
        // A slot holds one tick only, so a full turn visits every key there is.
        for tick in nearest..=passed.min(nearest + SLOTS as u64 - 1) {
            let Some(slot) = self.slots.get_mut((tick % SLOTS as u64) as usize) else { continue };
            for key in slot.drain(..) {
                if let Due::Later(deadline) = due(key) {
                    later.push((deadline, key));
                }
            }
        }
        self.tick = passed;
        self.nearest = (1..SLOTS as u64).map(|ahead| passed + ahead).find(|tick| !self.is_empty(*tick));
        for (deadline, key) in later {
            self.enter(deadline, key);
        }
    }

    fn is_empty(&self, tick: u64) -> bool {
        self.slots.get((tick % SLOTS as u64) as usize).is_none_or(Vec::is_empty)
    }

    /// The first tick that is not before `at`.
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
            wheel.enter(start + Duration::from_millis(*delay), key as u64);
        }
        let mut fired = Vec::new();
        for ms in (0..71_000).step_by(7) {
            let now = start + Duration::from_millis(ms);
            wheel.turn(now, |key| {
                let deadline = start + Duration::from_millis(delays[key as usize]);
                if deadline > now {
                    return Due::Later(deadline);
                }
                assert!(ms - delays[key as usize] <= 12, "{key} was late");
                fired.push(key);
                Due::Gone
            });
        }
        assert_eq!(fired, (0..delays.len() as u64).collect::<Vec<_>>());
        assert_eq!(wheel.next(), None);
    }

    /// Were `next` in the past, the worker's timer would fire at once, for ever: a worker that never sleeps.
    #[test]
    fn after_years_deadlines_are_still_met_and_lie_ahead() {
        const DAY: Duration = Duration::from_secs(86_400);
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        for days in [49, 50, 198, 199, 200, 400, 3_650, 36_500] {
            let now = start + DAY * days;
            wheel.turn(now, |key| panic!("{key} came due on day {days}"));
            let deadline = now + Duration::from_millis(100);
            wheel.enter(deadline, 7);
            let next = wheel.next().unwrap();
            assert!(
                next > now && next <= deadline + TICK,
                "day {days}: next in {:?}",
                next.checked_duration_since(now)
            );
            let mut fired = Vec::new();
            let mut turns = 0;
            while let Some(at) = wheel.next() {
                wheel.turn(at, |key| {
                    fired.push(key);
                    Due::Gone
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
        wheel.enter(start + Duration::from_millis(100), 1);
        assert_eq!(wheel.next(), Some(start + Duration::from_millis(100)));
    }
}
