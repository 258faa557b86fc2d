//! Deadlines of connections: one heap per worker, re-armed lazily.
//!
//! A connection's deadline moves later with almost every packet. Only an earlier one is entered; a later one is found when
//! the entered one comes due, so that the ordinary packet costs nothing here.

use std::{cmp::Reverse, collections::BinaryHeap, time::Instant};

/// The deadlines of all connections of one edge.
#[derive(Default)]
pub(crate) struct Deadlines {
    heap: BinaryHeap<Reverse<(Instant, u32)>>,
}

impl Deadlines {
    /// Enters a deadline of a connection whose earliest entered one is `armed`, which is updated.
    pub(crate) fn arm(&mut self, conn: u32, deadline: Instant, armed: &mut Option<Instant>) {
        if armed.is_none_or(|at| deadline < at) {
            *armed = Some(deadline);
            self.heap.push(Reverse((deadline, conn)));
        }
    }

    /// The earliest entered deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one entry that is due. The connection may be another by now, or its deadline later: the caller looks.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, u32)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
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
        assert_eq!(deadlines.pop_due(at(9)), None);
        assert_eq!(deadlines.pop_due(at(25)), Some((at(10), 7)));
        assert_eq!(deadlines.pop_due(at(25)), Some((at(20), 7)));
        assert_eq!(deadlines.pop_due(at(25)), None);
    }
}
