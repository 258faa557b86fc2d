//! Limit on useless events of a peer: more than 500 within 10 seconds that are more than half of all events in that
//! time. [`crate::h3`] and [`crate::h2`] count the frames and requests of clients with it.

use std::time::Duration;

/// Useless events that are always tolerated within [`SLOTS`] seconds.
pub(crate) const MAX_USELESS: u32 = 500;
/// Length of the window in seconds.
const SLOTS: usize = 10;

/// Counts of the last ten seconds, one slot for each. Older events never count; those of the oldest second may be
/// dropped early.
#[derive(Clone, Debug, Default)]
pub(crate) struct FloodCounter {
    /// The second of the newest slot.
    second: u64,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    useless: u32,
    all: u32,
}

impl FloodCounter {
    /// Counts events and returns whether the limit is exceeded. `all` includes `useless`. `now` is the time since any
    /// fixed point and must not decrease.
    pub(crate) fn note(&mut self, useless: u32, all: u32, now: Duration) -> bool {
        let second = now.as_secs();
        if second > self.second {
            let passed = (second - self.second).min(SLOTS as u64) as usize;
            self.slots.rotate_right(passed % SLOTS);
            for slot in self.slots.iter_mut().take(passed) {
                *slot = Slot::default();
            }
            self.second = second;
        }
        if let Some(slot) = self.slots.first_mut() {
            slot.all = slot.all.saturating_add(all);
            slot.useless = slot.useless.saturating_add(useless);
        }
        useless > 0 && self.is_exceeded()
    }

    fn is_exceeded(&self) -> bool {
        let (useless, all) = self
            .slots
            .iter()
            .fold((0u64, 0u64), |(useless, all), slot| (useless + u64::from(slot.useless), all + u64::from(slot.all)));
        useless > u64::from(MAX_USELESS) && 2 * useless > all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(SLOTS as u64);

    #[test]
    fn more_than_the_bound_within_the_window() {
        let mut flood = FloodCounter::default();
        let at = |event: u32| Duration::from_millis(u64::from(event) * 10);
        assert!((0..MAX_USELESS).all(|event| !flood.note(1, 1, at(event))));
        assert!(flood.note(1, 1, at(MAX_USELESS)));
    }

    #[test]
    fn not_when_spread_over_longer_or_outweighed() {
        let mut slow = FloodCounter::default();
        assert!((0..5000).all(|event| !slow.note(1, 1, Duration::from_millis(event * 21))));
        let mut busy = FloodCounter::default();
        for _ in 0..5000 {
            assert!(!busy.note(0, 1, WINDOW));
            assert!(!busy.note(1, 1, WINDOW));
        }
        let mut again = FloodCounter::default();
        assert!((0..MAX_USELESS).all(|_| !again.note(1, 1, Duration::ZERO)));
        assert!((0..MAX_USELESS).all(|_| !again.note(1, 1, WINDOW)), "what is ten seconds old is forgotten");
        assert!(again.note(1, 1, WINDOW));
    }
}
