//! The initial window of backend streams, which depends on the use of the response budget.
//!
//! With a large window, most responses arrive without a round trip for credit. With a small one, clients that do not read
//! make Spooky buffer less. So the window is large while little of the budget is used.

use spooky_edge::ResponseBudget;
use std::time::{Duration, Instant};

/// The window in bytes while little of the budget is used.
pub(crate) const LARGE: u32 = 128 * 1024;
/// The window in bytes otherwise.
const SMALL: u32 = 32 * 1024;
/// The window becomes small when more than 1/32 of the budget is used.
const SHRINK_DIVISOR: u64 = 32;
/// The window becomes large again when less than 1/64 of the budget is used, after `PAUSE`.
const GROW_DIVISOR: u64 = 64;
/// Each change sends a SETTINGS frame on every backend connection, and backends limit their number.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) struct StreamWindow {
    size: u32,
    changed: Instant,
}

impl StreamWindow {
    pub(crate) fn new(now: Instant) -> Self {
        Self { size: LARGE, changed: now }
    }

    /// Returns the window for the current use of the budget.
    pub(crate) fn size(&mut self, budget: &ResponseBudget, now: Instant) -> u32 {
        let (used, cap) = (budget.used(), budget.cap());
        let size = match self.size {
            LARGE if used > cap / SHRINK_DIVISOR => SMALL,
            SMALL if used < cap / GROW_DIVISOR && now >= self.changed + PAUSE => LARGE,
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
