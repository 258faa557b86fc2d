//! One deadline per connection slot, in a heap with lazy re-arming: activity moves no timer, an early expiry looks again.
//!
//! Reads no clock. Used by `transport` alone.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

use crate::slots::SlotKey;

/// All armed deadlines. Keys that are gone or were armed anew are left in and skipped by the owner.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, SlotKey)>>,
}

impl Timers {
    /// Adds a deadline.
    pub(crate) fn arm(&mut self, at: Instant, key: SlotKey) {
        self.heap.push(Reverse((at, key)));
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the earliest deadline if it is due.
    pub(crate) fn expire(&mut self, now: Instant) -> Option<(Instant, SlotKey)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn deadlines_expire_in_order_and_not_early() {
        let start = Instant::now();
        let key = |slot| SlotKey { index: slot, generation: 0 };
        let mut timers = Timers::default();
        for (slot, seconds) in [(1, 3), (2, 1), (3, 2)] {
            timers.arm(start + Duration::from_secs(seconds), key(slot));
        }
        assert_eq!(timers.next(), Some(start + Duration::from_secs(1)));
        let now = start + Duration::from_secs(2);
        let due: Vec<_> = std::iter::from_fn(|| timers.expire(now)).map(|(_, key)| key.index).collect();
        assert_eq!(due, [2, 3]);
    }
}
