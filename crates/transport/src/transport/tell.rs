//! What the owner hears: events wait in a queue until it takes them, and it may have ended their request meanwhile.

use spooky_bridge::{h2, message::Protocol};

use super::Transport;
use crate::{
    event::Event,
    failure::{Failure, FailureKind, Processed},
    handle::RequestHandle,
    queued::Queued,
    requests::Place,
};

impl Transport {
    /// The next event, in the order of their causes. Call it until it gives none.
    pub fn next_event(&mut self) -> Option<Event> {
        while let Some(queued) = self.events.pop_front() {
            if let Some(event) = self.tell(queued) {
                return Some(event);
            }
        }
        None
    }

    /// Turns a queued event into what the owner hears of it: nothing, if it has ended the request meanwhile.
    fn tell(&mut self, queued: Queued) -> Option<Event> {
        match queued {
            Queued::Stream(event) => self.tell_stream(event),
            Queued::Sent { handle, waited } => {
                let tag = self.requests.get(handle)?.tag;
                Some(Event::Sent { tag, waited })
            }
            Queued::Failed { handle, kind, processed } => self.tell_failure(handle, kind, processed),
            Queued::Backend(event) => Some(event),
        }
    }

    fn tell_stream(&mut self, event: h2::Event) -> Option<Event> {
        match event {
            h2::Event::Informational { tag, head, .. } => {
                let tag = self.requests.get(RequestHandle::from_bits(tag))?.tag;
                Some(Event::Informational { tag, protocol: Protocol::Http2, head })
            }
            h2::Event::Head { tag, head, end, .. } => {
                let tag = self.receive(tag, end)?;
                Some(Event::Head { tag, protocol: Protocol::Http2, head, end })
            }
            h2::Event::Data { tag, data, end, .. } => {
                let tag = self.receive(tag, end)?;
                Some(Event::Data { tag, data, end })
            }
            h2::Event::Trailers { tag, fields, .. } => {
                let tag = self.receive(tag, true)?;
                Some(Event::Trailers { tag, fields })
            }
            h2::Event::Sendable { tag, .. } => {
                let tag = self.requests.get(RequestHandle::from_bits(tag))?.tag;
                Some(Event::Sendable { tag })
            }
            h2::Event::Reset { tag, code, unprocessed, .. } => {
                self.counters.resets_received += 1;
                let processed = if unprocessed { Processed::No } else { Processed::Unknown };
                self.tell_failure(RequestHandle::from_bits(tag), FailureKind::Reset(code), processed)
            }
            h2::Event::Malformed { tag, reason, .. } => {
                self.counters.resets_sent += 1;
                let kind = FailureKind::Malformed(reason);
                self.tell_failure(RequestHandle::from_bits(tag), kind, Processed::Unknown)
            }
            h2::Event::HeadersTooLarge { tag, .. } => {
                self.counters.resets_sent += 1;
                let kind = FailureKind::ResponseHeadersTooLarge;
                self.tell_failure(RequestHandle::from_bits(tag), kind, Processed::Unknown)
            }
            // Of the connection; `pool::h2` keeps them to itself.
            h2::Event::Ready | h2::Event::GoAway { .. } | h2::Event::CapacityChanged | h2::Event::Pong(_) => None,
        }
    }

    /// Part of a response goes to the owner. Gives its tag; a request that is complete both ways ends here.
    fn receive(&mut self, wire: u64, end: bool) -> Option<u64> {
        let handle = RequestHandle::from_bits(wire);
        let entry = self.requests.get_mut(handle)?;
        entry.head_received = true;
        let tag = entry.tag;
        if end {
            entry.received_all = true;
            if entry.sent_all {
                self.requests.remove(handle);
            }
        }
        Some(tag)
    }

    /// The request is over. A loss after the whole response concerns only what was still being uploaded: the exchange has
    /// all that it wanted, so it hears that nothing more can be sent by having its bytes swallowed.
    fn tell_failure(&mut self, handle: RequestHandle, kind: FailureKind, processed: Processed) -> Option<Event> {
        let entry = self.requests.remove(handle)?;
        if entry.received_all {
            return None;
        }
        self.counters.requests_failed += 1;
        let connection = match entry.place {
            Place::Stream { connection, .. } => u64::from(connection.serial()),
            Place::Waiting(_) | Place::Unplaced => 0,
        };
        let failure = Failure { kind, processed, head_received: entry.head_received, connection };
        Some(Event::Failed { tag: entry.tag, failure })
    }
}
