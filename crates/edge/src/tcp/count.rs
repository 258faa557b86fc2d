//! The limit of connections that the workers of a listener share.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Counts the TCP connections of a listener over all workers.
#[derive(Debug)]
pub struct ConnectionCount {
    open: AtomicUsize,
    max: AtomicUsize,
}

impl ConnectionCount {
    /// Creates a count without connections.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { open: AtomicUsize::new(0), max: AtomicUsize::new(max) })
    }

    /// Sets the limit. Connections above it stay open.
    pub fn set_max(&self, max: usize) {
        self.max.store(max, Relaxed);
    }

    /// Counts a connection. Returns `None`, and counts nothing, if the limit is reached.
    pub(super) fn enter(self: &Arc<Self>) -> Option<CountedConnection> {
        // Counted before the comparison, so that two workers never both take the last place.
        let counted = CountedConnection(self.clone());
        let before = self.open.fetch_add(1, Relaxed);
        (before < self.max.load(Relaxed)).then_some(counted)
    }
}

/// Counts one connection until dropped.
#[derive(Debug)]
pub(super) struct CountedConnection(Arc<ConnectionCount>);

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_up_to_the_limit_and_return() {
        let count = ConnectionCount::new(2);
        let (one, two) = (count.enter().unwrap(), count.enter().unwrap());
        assert!(count.enter().is_none() && count.enter().is_none());
        drop(one);
        let three = count.enter().unwrap();
        count.set_max(1);
        drop(two);
        assert!(count.enter().is_none(), "the lower limit is reached");
        drop(three);
        assert!(count.enter().is_some());
        assert_eq!(count.open.load(Relaxed), 0);
    }
}
