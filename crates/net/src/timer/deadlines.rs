//! Deadlines of many items in a heap, re-armed lazily. Moving a deadline later, the common case, costs nothing: the
//! item is checked when its first deadline comes, and armed again for the real one.
//!
//! The heap owns the entries; each item stores the time it is armed for. Resolution is one nanosecond, as loss
//! detection and pacing of QUIC need it; for many items that end early see [`super::Wheel`].

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// Deadlines of items with keys `K`.
#[derive(Debug)]
pub struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord> Default for Deadlines<K> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new() }
    }
}

impl<K: Ord> Deadlines<K> {
    /// Arms the item for `at`, unless it is `armed` for an earlier time. Updates `armed`.
    pub fn arm(&mut self, key: K, at: Instant, armed: &mut Option<Instant>) {
        if armed.is_none_or(|armed| at < armed) {
            *armed = Some(at);
            self.heap.push(Reverse((at, key)));
        }
    }

    /// Returns the earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Removes one entry that is due. The item may have ended, or be armed for another time: see [`disarm`].
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

/// Returns whether an entry due at `at` is the current one of its item, and disarms the item if so. An entry superseded
/// by a later arming is not.
pub fn disarm(armed: &mut Option<Instant>, at: Instant) -> bool {
    let counts = *armed == Some(at);
    if counts {
        *armed = None;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn only_an_earlier_deadline_is_entered() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut deadlines, mut armed) = (Deadlines::default(), None);
        deadlines.arm(7, at(20), &mut armed);
        deadlines.arm(7, at(30), &mut armed);
        assert_eq!((deadlines.heap.len(), armed), (1, Some(at(20))));
        deadlines.arm(7, at(10), &mut armed);
        assert_eq!((deadlines.next(), armed), (Some(at(10)), Some(at(10))));
        assert_eq!(deadlines.pop_due(at(9)), None, "not early");
        assert_eq!(deadlines.pop_due(at(25)), Some((at(10), 7)));
        assert!(disarm(&mut armed, at(10)));
        assert_eq!(deadlines.pop_due(at(25)), Some((at(20), 7)));
        assert!(!disarm(&mut armed, at(20)), "overtaken by the entry of 10 ms");
        assert_eq!(deadlines.pop_due(at(25)), None);
    }

    #[test]
    fn due_entries_are_popped_in_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut deadlines = Deadlines::default();
        for (key, ms) in [('a', 30), ('b', 10), ('c', 20)] {
            deadlines.arm(key, at(ms), &mut None);
        }
        let due: String = std::iter::from_fn(|| deadlines.pop_due(at(20))).map(|(_, key)| key).collect();
        assert_eq!((due.as_str(), deadlines.next()), ("bc", Some(at(30))));
    }
}
