//! Unidirectional streams of which data was received, but not the type, with their deadlines.
//!
//! A client could send data without the first byte; it would be buffered for ever. A stream without data costs nothing and has
//! no deadline.

use quinn_proto::StreamId;
use std::{collections::VecDeque, time::Instant};

/// At most as many as streams may be open. All have the same timeout, so they are in the order of their deadlines.
#[derive(Default)]
pub(super) struct Untyped(VecDeque<(StreamId, Instant)>);

impl Untyped {
    /// Sets the deadline of a stream that has none yet.
    pub(super) fn expect(&mut self, id: StreamId, until: Instant) {
        if self.0.iter().all(|entry| entry.0 != id) {
            self.0.push_back((id, until));
        }
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        self.0.retain(|entry| entry.0 != id);
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.0.front().map(|entry| entry.1)
    }

    /// Removes a stream that is overdue.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<StreamId> {
        if self.due()? > now {
            return None;
        }
        self.0.pop_front().map(|entry| entry.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quinn_proto::{Dir, Side};
    use std::time::Duration;

    #[test]
    fn only_what_is_overdue_is_taken() {
        let (mut untyped, start) = (Untyped::default(), Instant::now());
        let id = |index| StreamId::new(Side::Client, Dir::Uni, index);
        for (index, after) in [(0, 10), (1, 10), (2, 20), (3, 30)] {
            untyped.expect(id(index), start + Duration::from_millis(after));
        }
        untyped.expect(id(1), start + Duration::from_millis(40)); // more data delays nothing
        untyped.remove(id(0));
        let at = |after| start + Duration::from_millis(after);
        assert_eq!((untyped.due(), untyped.take_due(at(9))), (Some(at(10)), None));
        let taken: Vec<_> = std::iter::from_fn(|| untyped.take_due(at(20))).collect();
        assert_eq!((taken, untyped.due()), (vec![id(1), id(2)], Some(at(30))));
    }
}
