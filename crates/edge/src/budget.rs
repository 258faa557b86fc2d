//! The budget of response bytes that wait for clients anywhere in the process, shared by all workers.
//!
//! It is not handed out in order of arrival: a connection may hold a fixed part of what is left. So the budget never runs
//! out, those who hold much give way before it does, and whoever comes late still gets something.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is left of the budget, divided by this, is what one connection may hold.
const PARTS: u64 = 16;
/// A connection may hold this much whatever is left: about a dozen datagrams, so that nobody's answers stop.
pub(crate) const LEAST: u64 = 16 * 1024;

/// The budget.
#[derive(Debug)]
pub struct ResponseBudget {
    used: AtomicU64,
    cap: AtomicU64,
}

impl ResponseBudget {
    /// A budget of `cap` bytes.
    pub fn new(cap: u64) -> Self {
        Self { used: AtomicU64::new(0), cap: AtomicU64::new(cap) }
    }

    /// Sets the cap. Connections that hold more than it leaves them give way as their clients acknowledge.
    pub fn set_cap(&self, cap: u64) {
        self.cap.store(cap, Relaxed);
    }

    /// The cap, bytes.
    pub fn cap(&self) -> u64 {
        self.cap.load(Relaxed)
    }

    /// Bytes that wait now, as far as each worker knew at the end of its last turn.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// The most that one connection may hold now.
    pub(crate) fn share(&self) -> u64 {
        (self.cap().saturating_sub(self.used()) / PARTS).max(LEAST)
    }

    /// A connection that held `before` holds `after`.
    pub fn change(&self, before: u64, after: u64) {
        if after > before {
            self.used.fetch_add(after - before, Relaxed);
        } else if before > after {
            self.used.fetch_sub(before - after, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_comes_late_gets_less_but_never_nothing() {
        let budget = ResponseBudget::new(64 << 20);
        let mut held = Vec::new();
        for _ in 0..200 {
            let share = budget.share();
            budget.change(0, share);
            held.push(share);
        }
        assert_eq!(held.first(), Some(&(4 << 20)));
        assert!(held.is_sorted_by(|one, next| one >= next));
        assert_eq!(held.last(), Some(&LEAST));
        assert!(budget.used() <= (64 << 20) + 200 * LEAST, "{}", budget.used());
        for share in held {
            budget.change(share, 0);
        }
        assert_eq!(budget.used(), 0);
    }
}
