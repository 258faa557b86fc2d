//! The bound on work that a peer can cause without purpose: more than 500 useless events within 10 seconds, when they are
//! more than half of all events in that time.

use std::time::Duration;

/// Useless events that are always forgiven within [`SLOTS`] seconds.
pub(super) const MAX_USELESS: u32 = 500;
/// The seconds over which events count.
const SLOTS: usize = 10;

/// Counts of the last ten seconds. An event that is older never counts; one of the tenth second may not any more.
#[derive(Clone, Debug, Default)]
pub(super) struct Flood {
    /// The second that the newest slot stands for.
    second: u64,
    slots: [Slot; SLOTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    useless: u32,
    all: u32,
}

impl Flood {
    /// Counts events, the useless ones among them; says whether the bound is exceeded now. `now` counts from any fixed
    /// point and does not go back.
    pub(super) fn note(&mut self, useless: u32, all: u32, now: Duration) -> bool {
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
        let mut flood = Flood::default();
        let at = |event: u32| Duration::from_millis(u64::from(event) * 10);
        assert!((0..MAX_USELESS).all(|event| !flood.note(1, 1, at(event))));
        assert!(flood.note(1, 1, at(MAX_USELESS)));
    }

    #[test]
    fn not_when_spread_over_longer_or_outweighed() {
        let mut slow = Flood::default();
        assert!((0..5000).all(|event| !slow.note(1, 1, Duration::from_millis(event * 21))));
        let mut busy = Flood::default();
        for _ in 0..5000 {
            assert!(!busy.note(0, 1, WINDOW));
            assert!(!busy.note(1, 1, WINDOW));
        }
        let mut again = Flood::default();
        assert!((0..MAX_USELESS).all(|_| !again.note(1, 1, Duration::ZERO)));
        assert!((0..MAX_USELESS).all(|_| !again.note(1, 1, WINDOW)), "what is ten seconds old is forgotten");
        assert!(again.note(1, 1, WINDOW));
    }
}
