//! The budget of response bytes that are buffered for clients, shared by all workers.
//!
//! Each connection may buffer a fixed part of what is left. So the budget is never used up, connections that buffer much must
//! shrink before it is, and new connections still get a part.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One connection may buffer the rest of the budget divided by this.
const PARTS: u64 = 16;
/// Minimum that a connection may always buffer: about a dozen datagrams, so that no response stalls.
pub(crate) const LEAST: u64 = 16 * 1024;

/// Budget of buffered response bytes.
#[derive(Debug)]
pub struct ResponseBudget {
    used: AtomicU64,
    cap: AtomicU64,
}

impl ResponseBudget {
    /// Creates a budget of `cap` bytes.
    pub fn new(cap: u64) -> Self {
        Self { used: AtomicU64::new(0), cap: AtomicU64::new(cap) }
    }

    /// Sets the cap. Connections above their new part shrink as their clients acknowledge.
    pub fn set_cap(&self, cap: u64) {
        self.cap.store(cap, Relaxed);
    }

    /// The cap, bytes.
    pub fn cap(&self) -> u64 {
        self.cap.load(Relaxed)
    }

    /// Bytes buffered, as of the end of each worker's last turn.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Maximum that one connection may buffer now.
    pub(crate) fn share(&self) -> u64 {
        (self.cap().saturating_sub(self.used()) / PARTS).max(LEAST)
    }

    /// Replaces `before` buffered bytes of a connection by `after`.
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

    #[test]
    fn only_the_difference_is_counted() {
        let budget = ResponseBudget::new(1000);
        budget.change(0, 100);
        budget.change(100, 150);
        assert_eq!(budget.used(), 150);
        budget.change(150, 150);
        budget.change(150, 40);
        assert_eq!(budget.used(), 40);
        budget.set_cap(1 << 30);
        assert_eq!((budget.cap(), budget.share()), (1 << 30, ((1 << 30) - 40) / 16));
    }
}
