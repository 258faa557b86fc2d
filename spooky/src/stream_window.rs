//! How much a backend may send on a stream before it is known how fast the client takes it.
//!
//! A large window brings a response in one piece. A small one bounds what clients that take nothing can make Spooky hold.
//! So the window is large while little of the response budget is used. The worker asks once in each turn.

use spooky_edge::ResponseBudget;
use std::time::{Duration, Instant};

/// The window while little of the budget is used, bytes.
const LARGE: u32 = 128 * 1024;
/// The window otherwise, bytes.
const SMALL: u32 = 32 * 1024;
/// The window becomes small when more than the cap divided by this is used.
const LITTLE: u64 = 32;
/// It becomes large again when less than the cap divided by this is used, after `PAUSE`.
const VERY_LITTLE: u64 = 64;
/// Each change costs every backend connection a SETTINGS frame, and backends limit how many they take.
const PAUSE: Duration = Duration::from_secs(1);

/// The window, and when it last changed.
pub(crate) struct StreamWindow {
    size: u32,
    changed: Instant,
}

impl StreamWindow {
    /// Large: nothing is used yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self { size: LARGE, changed: now }
    }

    /// Bytes, with so much of the budget used.
    pub(crate) fn size(&mut self, budget: &ResponseBudget, now: Instant) -> u32 {
        let (used, cap) = (budget.used(), budget.cap());
        let size = match self.size {
            LARGE if used > cap / LITTLE => SMALL,
            SMALL if used < cap / VERY_LITTLE && now >= self.changed + PAUSE => LARGE,
            _ => return self.size,
        };
        (self.size, self.changed) = (size, now);
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_small_while_much_is_held() {
        let now = Instant::now();
        let (budget, mut window) = (ResponseBudget::new(64 << 20), StreamWindow::new(now));
        assert_eq!(window.size(&budget, now), LARGE);
        budget.change(0, 2 << 20);
        assert_eq!(window.size(&budget, now), LARGE);
        budget.change(0, 1);
        assert_eq!(window.size(&budget, now), SMALL);
        budget.change(2 << 20, 1 << 20);
        assert_eq!(window.size(&budget, now + PAUSE), SMALL, "half of it is left");
        budget.change(1 << 20, 0);
        assert_eq!(window.size(&budget, now + PAUSE / 2), SMALL, "it has just changed");
        assert_eq!(window.size(&budget, now + PAUSE), LARGE);
    }
}
