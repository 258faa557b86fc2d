//! Delivery of queued events. An event whose request the caller has ended meanwhile is dropped.

use super::Transport;
use crate::{
    event::Event,
    failure::{Failure, FailureKind, Processed},
    handle::RequestHandle,
    queued::QueuedEvent,
    requests::RequestState,
};

impl Transport {
    /// Returns the next event. To be called until it returns `None`.
    pub fn next_event(&mut self) -> Option<Event> {
        while let Some(queued) = self.events.pop_front() {
            if let Some(event) = self.event_of(queued) {
                return Some(event);
            }
        }
        None
    }

    /// Converts a queued event. Returns `None` if its request has ended.
    fn event_of(&mut self, queued: QueuedEvent) -> Option<Event> {
        match queued {
            QueuedEvent::Informational { handle, protocol, head } => {
                let tag = self.requests.get(handle)?.tag;
                Some(Event::Informational { tag, protocol, head })
            }
            QueuedEvent::Head { handle, protocol, head, end } => {
                let tag = self.receive(handle, end)?;
                Some(Event::Head { tag, protocol, head, end })
            }
            QueuedEvent::Data { handle, data, end } => {
                let tag = self.receive(handle, end)?;
                Some(Event::Data { tag, data, end })
            }
            QueuedEvent::Trailers { handle, fields } => {
                let tag = self.receive(handle, true)?;
                Some(Event::Trailers { tag, fields })
            }
            QueuedEvent::Sendable { handle } => {
                let tag = self.requests.get(handle)?.tag;
                Some(Event::Sendable { tag })
            }
            QueuedEvent::Sent { handle, waited } => {
                let tag = self.requests.get(handle)?.tag;
                Some(Event::Sent { tag, waited })
            }
            QueuedEvent::Failed { handle, kind, processed } => self.failure_event(handle, kind, processed),
            QueuedEvent::Backend(event) => Some(event),
        }
    }

    /// Records that a part of a response is delivered. Returns the tag. Removes the request if both directions are complete.
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

    /// Removes a failed request. Returns `None` if the whole response was delivered: only the rest of the upload is lost,
    /// which [`Transport::send_data`] discards from now on.
    fn failure_event(&mut self, handle: RequestHandle, kind: FailureKind, processed: Processed) -> Option<Event> {
        let entry = self.requests.remove(handle)?;
        if entry.received_all {
            return None;
        }
        self.counters.requests_failed += 1;
        let connection = match entry.state {
            RequestState::Stream { connection, .. } => u64::from(connection.serial()),
            RequestState::Waiting(_) | RequestState::Unassigned => 0,
        };
        let failure = Failure { kind, processed, head_received: entry.head_received, connection };
        Some(Event::Failed { tag: entry.tag, failure })
    }
}
