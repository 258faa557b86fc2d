//! How much one client connection uses of the limits that all clients share, so that no client can use all of a limit.
//!
//! Belongs to one worker, like the connection, so the counters need no lock. [`super::Queue`] counts permits of upstreams
//! here, and the attempts count leases of backends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Returns the largest part of `limit` that one client connection may hold; at least 1. 100 percent is no bound.
pub fn client_limit(limit: u32, percent: u32) -> u32 {
    if percent >= 100 {
        return u32::MAX;
    }
    let share = u64::from(limit) * u64::from(percent) / 100;
    u32::try_from(share).unwrap_or(u32::MAX).max(1)
}

/// The permits and leases that one client connection holds.
#[derive(Clone, Debug)]
pub struct ClientShare(Rc<Counts>);

#[derive(Debug)]
struct Counts {
    /// One entry for each limit in use; entries with a count of zero are reused.
    held: RefCell<Vec<Held>>,
    /// Sum over all limits.
    total: Cell<u32>,
    /// Set when the count decreases: a waiting request of this connection may be admitted.
    freed: Rc<Cell<bool>>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    of: LimitId,
    count: u32,
}

/// Identifies a limit by the address of its shared counters, which live as long as a permit or lease of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LimitId(usize);

impl LimitId {
    pub(crate) fn of<T>(counters: &std::sync::Arc<T>) -> Self {
        Self(std::sync::Arc::as_ptr(counters) as usize)
    }
}

impl ClientShare {
    /// Creates the share of a connection that holds nothing; sets `freed` whenever the count decreases.
    pub(super) fn new(freed: Rc<Cell<bool>>) -> Self {
        Self(Rc::new(Counts { held: RefCell::new(Vec::new()), total: Cell::new(0), freed }))
    }

    /// Number of permits and leases held, of all limits together.
    pub fn held(&self) -> u32 {
        self.0.total.get()
    }

    /// Returns whether it holds `limit` or more of the limit `of`.
    pub(crate) fn is_at(&self, of: LimitId, limit: u32) -> bool {
        self.may_be_at(limit) && self.count(of) >= limit
    }

    /// Returns false only if [`ClientShare::is_at`] is false for every limit of this size. Costs less.
    pub(crate) fn may_be_at(&self, limit: u32) -> bool {
        self.held() >= limit
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// Counts one of the limit `of` until the result is dropped.
    pub(crate) fn take(&self, of: LimitId) -> ClientShareGuard {
        let mut held = self.0.held.borrow_mut();
        let known = held.iter().position(|entry| entry.of == of && entry.count > 0);
        match known.or_else(|| held.iter().position(|entry| entry.count == 0)).and_then(|at| held.get_mut(at)) {
            Some(entry) => *entry = Held { of, count: entry.count + 1 },
            None => held.push(Held { of, count: 1 }),
        }
        self.0.total.set(self.0.total.get() + 1);
        ClientShareGuard { client: self.clone(), of }
    }

    fn count(&self, of: LimitId) -> u32 {
        self.0.held.borrow().iter().find(|entry| entry.of == of && entry.count > 0).map_or(0, |entry| entry.count)
    }

    fn give_back(&self, of: LimitId) {
        let mut held = self.0.held.borrow_mut();
        if let Some(entry) = held.iter_mut().find(|entry| entry.of == of && entry.count > 0) {
            entry.count -= 1;
        }
        self.0.total.set(self.0.total.get().saturating_sub(1));
        self.0.freed.set(true);
    }
}

/// Counts one permit or lease for its client until dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the count"]
pub(crate) struct ClientShareGuard {
    client: ClientShare,
    of: LimitId,
}

impl ClientShareGuard {
    pub(super) fn client(&self) -> &ClientShare {
        &self.client
    }
}

impl Drop for ClientShareGuard {
    fn drop(&mut self) {
        self.client.give_back(self.of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_share_is_rounded_down_and_at_least_one() {
        for (limit, percent, share) in
            [(256, 50, 128), (3, 50, 1), (1, 50, 1), (1, 1, 1), (0, 50, 1), (u32::MAX, 99, 4_252_017_622)]
        {
            assert_eq!(client_limit(limit, percent), share, "{percent} % of {limit}");
        }
        assert_eq!(client_limit(5, 100), u32::MAX);
    }

    #[test]
    fn places_count_for_their_own_limit_until_they_are_dropped() {
        let freed = Rc::new(Cell::new(false));
        let client = ClientShare::new(Rc::clone(&freed));
        let (one, other) = (Arc::new(1), Arc::new(1));
        let (one, other) = (LimitId::of(&one), LimitId::of(&other));
        let held = [client.take(one), client.take(one), client.take(other)];
        assert!(client.is_at(one, 2) && !client.is_at(one, 3) && !client.is_at(other, 2));
        assert!(!freed.get());
        drop(held);
        assert!(freed.get() && !client.is_at(one, 1) && !client.is_at(other, 1));
        // What was held before takes no room.
        for _ in 0..100 {
            let counters = Arc::new(1);
            drop(client.take(LimitId::of(&counters)));
        }
        assert_eq!(client.0.held.borrow().len(), 2);
    }
}
