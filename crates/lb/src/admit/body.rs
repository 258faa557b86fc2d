//! The budget of buffered request-body bytes of the process (docs/reference/behaviour.md#bodies).
//!
//! A byte counts from its arrival until the backend connection has accepted it and it is not buffered for a retry: as unread
//! in the client's connection, then as held by the exchange. Dropping the [`BodyShare`] of an exchange releases its bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Budget of buffered request-body bytes, shared by all workers.
#[derive(Debug)]
pub struct BodyBudget {
    used: AtomicU64,
    most: AtomicU64,
    cap: AtomicU64,
}

impl BodyBudget {
    /// Creates an unused budget of `cap` bytes.
    pub fn new(cap: u64) -> Self {
        Self { used: AtomicU64::new(0), most: AtomicU64::new(0), cap: AtomicU64::new(cap) }
    }

    /// Sets the cap. Bytes that are counted already stay.
    pub fn set_cap(&self, cap: u64) {
        self.cap.store(cap, Relaxed);
    }

    /// Bytes counted now.
    pub fn used(&self) -> u64 {
        self.used.load(Relaxed)
    }

    /// Most bytes counted at a time so far.
    pub fn most(&self) -> u64 {
        self.most.load(Relaxed)
    }

    /// Returns whether the cap is reached: new uploads are refused and running ones get no more credit.
    pub fn is_full(&self) -> bool {
        self.used() >= self.cap.load(Relaxed)
    }

    /// Creates the share of a new request with a body; `None` at the cap.
    pub fn open(self: &Arc<Self>) -> Option<BodyShare> {
        (!self.is_full()).then(|| BodyShare { budget: Arc::clone(self), held: 0, unread: 0 })
    }

    /// Adds bytes. Returns false, adding nothing, if they would exceed the cap.
    fn raise(&self, bytes: u64) -> bool {
        let used = self.used.fetch_add(bytes, Relaxed).saturating_add(bytes);
        if used > self.cap.load(Relaxed) {
            self.used.fetch_sub(bytes, Relaxed);
            return false;
        }
        // Read first: it changes rarely, and a read does not disturb other workers.
        if used > self.most.load(Relaxed) {
            self.most.fetch_max(used, Relaxed);
        }
        true
    }

    fn lower(&self, bytes: u64) {
        if bytes > 0 {
            self.used.fetch_sub(bytes, Relaxed);
        }
    }
}

/// The bytes of one exchange.
#[derive(Debug)]
pub struct BodyShare {
    budget: Arc<BodyBudget>,
    held: u64,
    unread: u64,
}

impl BodyShare {
    /// Sets the number of bytes received but not yet read. Returns false, changing nothing, if the increase would exceed the
    /// cap; the caller must then fail the stream.
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

    /// Counts `bytes` that were read as held; they need not have been counted as unread. Returns false, changing nothing, if
    /// they would exceed the cap; the caller must then fail the stream.
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

    /// Releases `bytes` that the backend connection accepted, at most those that are held.
    pub fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.held);
        self.held -= bytes;
        self.budget.lower(bytes);
    }

    /// Bytes that were read and not released.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// How many bytes may be read now. At the cap only those that are counted as unread, so that they can be forwarded
    /// while the client gets no further credit.
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
        assert_eq!(budget.used(), 0);
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
        assert_eq!(budget.used(), 0);
    }
}
