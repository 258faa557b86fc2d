//! The budget of request-body bytes held anywhere in the process (docs/reference/behaviour.md#bodies).
//!
//! A byte counts from its arrival until the backend connection took it, or as long as it is kept for another attempt: first as
//! unread, with the client's connection, then as held. Each exchange holds a [`BodyShare`], which gives back whatever is left when it is dropped.

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
        (!self.is_full()).then(|| BodyShare { budget: Arc::clone(self), held: 0, unread: 0 })
    }

    /// Counts so many more bytes, unless they would exceed the cap.
    fn raise(&self, bytes: u64) -> bool {
        let used = self.used.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if used > self.cap.load(Relaxed) {
            self.used.fetch_sub(bytes, Relaxed);
            return false;
        }
        if used > self.high.load(Relaxed) {
            self.high.fetch_max(used, Relaxed);
        }
        true
    }

    fn lower(&self, bytes: u64) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Relaxed);
        }
    }
}

/// What one exchange holds of the budget.
#[derive(Debug)]
pub struct BodyShare {
    budget: Arc<BodyBudget>,
    held: u64,
    unread: u64,
}

impl BodyShare {
    /// So many bytes have arrived and were not read; false if what is more than before would exceed the cap: their stream
    /// fails, nothing is taken.
    #[must_use]
    pub fn set_unread(&mut self, bytes: u64) -> bool {
        let more = bytes.saturating_sub(self.unread);
        if more > 0 && !self.budget.raise(more) {
            return false;
        }
        self.budget.lower(self.unread.saturating_sub(bytes));
        self.unread = bytes;
        true
    }

    /// Takes `bytes` that were read, counted as unread before or not; false if they would exceed the cap: their stream
    /// fails, nothing is taken.
    #[must_use]
    pub fn take(&mut self, bytes: u64) -> bool {
        let counted = bytes.min(self.unread);
        let more = bytes - counted;
        if more > 0 && !self.budget.raise(more) {
            return false;
        }
        self.unread -= counted;
        self.held += bytes;
        true
    }

    /// Gives back `bytes` that the backend took, at most what is held.
    pub fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.held);
        self.held -= bytes;
        self.budget.lower(bytes);
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// How many bytes may be read now: at the cap those that are counted already, so that what came can leave, but the
    /// client gets no credit beyond that.
    pub fn readable(&self) -> u64 {
        if self.budget.is_full() { self.unread } else { u64::MAX }
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.budget.lower(self.held + self.unread);
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

    #[test]
    fn unread_bytes_count_once_and_can_leave_at_the_cap() {
        let budget = Arc::new(BodyBudget::new(100));
        let mut one = budget.open().unwrap();
        let mut two = budget.open().unwrap();
        assert!(one.set_unread(70) && one.set_unread(60) && two.set_unread(40));
        assert_eq!((budget.used(), one.readable(), two.readable()), (100, 60, 40));
        assert!(!two.set_unread(41), "credit given earlier does not break the cap");
        assert!(one.take(50), "they were counted before they were read");
        assert_eq!((budget.used(), one.held(), one.readable()), (100, 50, 10));
        assert!(!one.take(11), "one more than was counted");
        one.give_back(50);
        assert_eq!((budget.used(), one.readable()), (50, u64::MAX));
        drop((one, two));
        assert_eq!((budget.used(), budget.high_watermark()), (0, 100));
    }
}
