//! The idle HTTP/1.1 connections of an origin. The most recently used one is used next: it is the least likely to be closed
//! by the backend, and the others can reach their idle timeout.

use std::sync::Arc;

use crate::{handle::SlotKey, options::IdleCount};

pub(crate) struct IdlePool {
    /// Longest idle first.
    keys: Vec<SlotKey>,
    /// Includes the connections of the other workers.
    count: Arc<IdleCount>,
}

impl IdlePool {
    pub(crate) fn new(count: Arc<IdleCount>) -> Self {
        Self { keys: Vec::new(), count }
    }

    /// Adds a connection. Returns the one that must be closed if there are more than `most` idle connections to the backend:
    /// the longest idle one of this worker, or `key` itself.
    pub(crate) fn push(&mut self, key: SlotKey, most: usize) -> Option<SlotKey> {
        if self.count.add(most) {
            self.keys.push(key);
            return None;
        }
        if self.keys.is_empty() {
            return Some(key);
        }
        self.keys.push(key);
        Some(self.keys.remove(0))
    }

    /// Returns the most recently used connection.
    pub(crate) fn last(&self) -> Option<SlotKey> {
        self.keys.last().copied()
    }

    /// Returns the longest idle connection.
    pub(crate) fn first(&self) -> Option<SlotKey> {
        self.keys.first().copied()
    }

    /// Returns the number of connections.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Takes out a connection, if it is idle.
    pub(crate) fn remove(&mut self, key: SlotKey) {
        if let Some(at) = self.keys.iter().rposition(|other| *other == key) {
            self.keys.remove(at);
            self.count.subtract(1);
        }
    }
}

impl Drop for IdlePool {
    fn drop(&mut self) {
        self.count.subtract(self.keys.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spooky_table::Table;

    #[test]
    fn the_most_recently_used_is_next_and_the_limit_holds_over_workers() {
        let mut table = Table::default();
        let keys: Vec<SlotKey> = (0..6).map(|_| table.insert(())).collect();
        let count = Arc::new(IdleCount::default());
        let (mut one, mut two) = (IdlePool::new(count.clone()), IdlePool::new(count.clone()));
        assert_eq!((one.last(), one.first()), (None, None));
        assert_eq!([0, 1, 2].map(|at| one.push(keys[at], 3)), [None; 3]);
        assert_eq!((one.first(), one.last()), (Some(keys[0]), Some(keys[2])));
        assert_eq!(two.push(keys[3], 3), Some(keys[3]), "the other worker has them all");
        assert_eq!(one.push(keys[4], 3), Some(keys[0]), "the longest idle one goes");
        one.remove(keys[4]);
        one.remove(keys[4]);
        assert_eq!(one.last(), Some(keys[2]));
        assert_eq!(two.push(keys[3], 3), None);
        assert_eq!(two.push(keys[5], 3), Some(keys[3]));
        drop(one);
        assert_eq!([0, 1].map(|at| two.push(keys[at], 3)), [None; 2], "a worker that ends returns its share");
    }
}
