//! Assignment of requests to connections, and the decision to open another connection.

use std::rc::Rc;

use spooky_bridge::message::RequestHead;

use super::Transport;
use crate::{
    connect::{self, ConnectHints},
    failure::{FailureKind, Processed},
    handle::{RequestHandle, SlotKey},
    pool::{OpenError, Phase},
    queued::QueuedEvent,
    requests::RequestState,
};

impl Transport {
    /// Returns the open connection with capacity that has the fewest streams, and their number.
    pub(super) fn least_busy(&self, at: usize) -> Option<(SlotKey, usize)> {
        let mut least: Option<(SlotKey, usize)> = None;
        for key in &self.origins.get(at)?.open {
            let Some(connection) = self.slots.connection(*key) else { continue };
            let busy = connection.active();
            if connection.has_capacity() && least.is_none_or(|(_, fewest)| busy < fewest) {
                least = Some((*key, busy));
            }
        }
        least
    }

    /// Opens a stream for a request of the table.
    pub(super) fn open_stream(
        &mut self,
        key: SlotKey,
        handle: RequestHandle,
        head: &RequestHead,
        end: bool,
    ) -> Result<(), OpenError> {
        let now = self.now;
        let connection = self.slots.connection_mut(key).ok_or(OpenError::NoCapacity)?;
        let (stream, at) = connection.open(head, end, handle, now)?;
        if let Some(entry) = self.requests.get_mut(handle) {
            entry.state = RequestState::Stream { connection: key, stream, at };
        }
        self.counters.requests += 1;
        self.mark_dirty(key);
        Ok(())
    }

    /// Assigns the waiting requests of an origin to connections with capacity. May open a connection if some remain.
    pub(super) fn assign_waiting(&mut self, at: usize) {
        while let Some(handle) = self.origins.get(at).and_then(|origin| origin.waiting.front().copied()) {
            let Some((key, _)) = self.least_busy(at) else { return self.maybe_connect(at) };
            if let Some(origin) = self.origins.get_mut(at) {
                origin.waiting.pop_front();
            }
            let Some(entry) = self.requests.get_mut(handle) else { continue };
            let RequestState::Waiting(waiting) = std::mem::replace(&mut entry.state, RequestState::Unassigned) else {
                continue;
            };
            let waited = self.now.saturating_duration_since(waiting.since);
            match self.open_stream(key, handle, &waiting.head, waiting.end) {
                Ok(()) => self.events.push_back(QueuedEvent::Sent { handle, waited }),
                Err(OpenError::HeadersTooLarge) => {
                    self.queue_failure(handle, FailureKind::RequestHeadersTooLarge, Processed::No);
                }
                Err(OpenError::NoExtendedConnect) => {
                    self.queue_failure(handle, FailureKind::NoExtendedConnect, Processed::No);
                }
                // Cannot happen: `least_busy` has just checked the capacity. If it did, the request must not be lost.
                Err(OpenError::NoCapacity) => self.queue_failure(handle, FailureKind::GoAway, Processed::No),
            }
        }
    }

    /// Adds a connection to the list of those to flush.
    pub(super) fn mark_dirty(&mut self, key: SlotKey) {
        if let Some(slot) = self.slots.get_mut(key)
            && !std::mem::replace(&mut slot.dirty, true)
        {
            self.dirty.push(key);
        }
    }

    /// Assigns waiting requests after a stream has begun or ended, or closes the connection if it is no longer needed.
    pub(super) fn on_streams_changed(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let at = slot.origin;
        let Some(connection) = self.slots.connection(key) else { return };
        let (spent, idle) = (connection.is_finished(), connection.active() == 0);
        let open = connection.phase() == Phase::Open;
        let Some(origin) = self.origins.get(at) else { return };
        if !origin.waiting.is_empty() && open {
            self.assign_waiting(at);
        } else if spent || idle && open && (self.draining || origin.backends == 0) {
            self.close(key);
        }
    }

    /// Starts another connection to an origin, if that is allowed.
    pub(super) fn maybe_connect(&mut self, at: usize) {
        let most = self.options.connections_per_backend.max(1);
        let Some(origin) = self.origins.get_mut(at) else { return };
        if !origin.may_connect(most, self.now) {
            return;
        }
        let hints =
            ConnectHints { addresses: origin.addresses.clone(), detected: origin.detected, turn: origin.attempts };
        let attempt = connect::establish(Rc::clone(&origin.target), hints);
        let Some(slot) = self.slots.insert(at, Box::pin(attempt), &self.ready) else {
            // The worker has too many connections. Waiting requests continue when one of the origin's connections has capacity.
            if origin.open.is_empty() {
                self.fail_waiting(at, FailureKind::Unreachable);
            }
            return;
        };
        slot.arm(self.now + origin.connect_timeout, &mut self.deadlines);
        origin.connecting = Some(slot.key);
        origin.attempts = origin.attempts.wrapping_add(1);
        origin.slots += 1;
        self.ready.mark(slot.key.index());
        self.counters.connects += 1;
    }

    pub(super) fn fail_waiting(&mut self, at: usize, kind: FailureKind) {
        let Some(origin) = self.origins.get_mut(at) else { return };
        for handle in origin.waiting.drain(..) {
            self.events.push_back(QueuedEvent::Failed { handle, kind, processed: Processed::No });
        }
    }
}
