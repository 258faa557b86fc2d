//! Events for the owner of requests. They wait in a queue until it takes them, and it may have ended their request meanwhile.

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
            if let Some(event) = self.event_of(queued) {
                return Some(event);
            }
        }
        None
    }

    /// Turns a queued event into the event for the owner. `None` if the owner has ended the request meanwhile.
    fn event_of(&mut self, queued: Queued) -> Option<Event> {
        match queued {
            Queued::Informational { handle, protocol, head } => {
                let tag = self.requests.get(handle)?.tag;
                Some(Event::Informational { tag, protocol, head })
            }
            Queued::Head { handle, protocol, head, end } => {
                let tag = self.receive(handle, end)?;
                Some(Event::Head { tag, protocol, head, end })
            }
            Queued::Data { handle, data, end } => {
                let tag = self.receive(handle, end)?;
                Some(Event::Data { tag, data, end })
            }
            Queued::Trailers { handle, fields } => {
                let tag = self.receive(handle, true)?;
                Some(Event::Trailers { tag, fields })
            }
            Queued::Sendable { handle } => {
                let tag = self.requests.get(handle)?.tag;
                Some(Event::Sendable { tag })
            }
            Queued::Sent { handle, waited } => {
                let tag = self.requests.get(handle)?.tag;
                Some(Event::Sent { tag, waited })
            }
            Queued::Failed { handle, kind, processed } => self.failure_event(handle, kind, processed),
            Queued::Backend(event) => Some(event),
        }
    }

    /// Part of a response goes to the owner. Gives its tag; a request that is complete both ways ends here.
    fn receive(&mut self, handle: RequestHandle, end: bool) -> Option<u64> {
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

    /// The request has failed. Returns `None` if the whole response has arrived: only the rest of the upload is lost, and
    /// [`Transport::send_data`] discards that from now on.
    fn failure_event(&mut self, handle: RequestHandle, kind: FailureKind, processed: Processed) -> Option<Event> {
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
