//! The budget of request-body bytes held anywhere in the process (behaviour 5.3).
//!
//! A byte counts from its arrival until the backend connection took it. Each exchange holds a [`BodyShare`], which gives
//! back whatever is left when it is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The budget, shared by all workers.
#[derive(Debug)]
pub struct BodyBudget {
    used: AtomicU64,
    cap: AtomicU64,
    high: AtomicU64,
}

impl BodyBudget {
    /// A budget of `cap` bytes.
    pub fn new(cap: u64) -> Self {
        Self { used: AtomicU64::new(0), cap: AtomicU64::new(cap), high: AtomicU64::new(0) }
    }

    /// Sets the cap; bytes that are held already stay.
    pub fn set_cap(&self, cap: u64) {
        self.cap.store(cap, Relaxed);
    }

    /// Bytes held now.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// The most bytes that were ever held.
    pub fn high_watermark(&self) -> u64 {
        self.high.load(Relaxed)
    }

    /// At the cap no new upload begins and running ones get no further credit.
    pub fn is_full(&self) -> bool {
        self.used() >= self.cap.load(Relaxed)
    }

    /// A share for a new request with a body; `None` at the cap.
    pub fn open(self: &Arc<Self>) -> Option<BodyShare> {
        (!self.is_full()).then(|| BodyShare { budget: Arc::clone(self), held: 0 })
    }
}

/// What one exchange holds of the budget.
#[derive(Debug)]
pub struct BodyShare {
    budget: Arc<BodyBudget>,
    held: u64,
}

impl BodyShare {
    /// Takes `bytes` that arrived; false if they would exceed the cap: their stream fails, nothing is taken.
    #[must_use]
    pub fn take(&mut self, bytes: u64) -> bool {
        let budget = &*self.budget;
        let used = budget.used.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if used > budget.cap.load(Relaxed) {
            budget.used.fetch_sub(bytes, Relaxed);
            return false;
        }
        self.held += bytes;
        if used > budget.high.load(Relaxed) {
            budget.high.fetch_max(used, Relaxed);
        }
        true
    }

    /// Gives back `bytes` that the backend took, at most what is held.
    pub fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.held);
        self.held -= bytes;
        if bytes > 0 {
            self.budget.used.fetch_sub(bytes, Relaxed);
        }
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.held
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.give_back(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_return_exactly_once_and_the_cap_holds() {
        let budget = Arc::new(BodyBudget::new(100));
        let mut one = budget.open().unwrap();
        let mut two = budget.open().unwrap();
        assert!(one.take(60) && two.take(40));
        assert!(budget.is_full() && budget.open().is_none());
        assert!(!two.take(1), "credit given earlier does not break the cap");
        one.give_back(50);
        one.give_back(50);
        assert_eq!((budget.used(), one.held()), (40, 0));
        drop((one, two));
        assert_eq!((budget.used(), budget.high_watermark()), (0, 100));
    }
}
