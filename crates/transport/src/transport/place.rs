//! Which connection a request goes to, whether another one is made, and what a connection is good for after an event.

use std::rc::Rc;

use spooky_bridge::message::RequestHead;

use super::Transport;
use crate::{
    connect::{self, ConnectHints},
    failure::{FailureKind, Processed},
    handle::{RequestHandle, SlotKey},
    pool::{NotTaken, Phase},
    queued::Queued,
    requests::Place,
};

impl Transport {
    /// The open connection of an origin that has the fewest streams and takes another one, and how many it has.
    pub(super) fn least_busy(&self, at: usize) -> Option<(SlotKey, usize)> {
        let mut least: Option<(SlotKey, usize)> = None;
        for key in &self.origins.get(at)?.open {
            let Some(connection) = self.slots.connection(*key) else { continue };
            let busy = connection.active();
            if connection.has_room() && least.is_none_or(|(_, fewest)| busy < fewest) {
                least = Some((*key, busy));
            }
        }
        least
    }

    /// Opens a stream for a request that is in the table.
    pub(super) fn put_on(
        &mut self,
        key: SlotKey,
        handle: RequestHandle,
        head: &RequestHead,
        end: bool,
    ) -> Result<(), NotTaken> {
        let now = self.now;
        let connection = self.slots.connection_mut(key).ok_or(NotTaken::NoRoom)?;
        let (stream, at) = connection.open(head, end, handle, now)?;
        if let Some(entry) = self.requests.get_mut(handle) {
            entry.place = Place::Stream { connection: key, stream, at };
        }
        self.counters.requests += 1;
        self.mark_dirty(key);
        Ok(())
    }

    /// Gives waiting requests of an origin to connections that have room, and asks for another connection if some are left.
    pub(super) fn assign_waiting(&mut self, at: usize) {
        while let Some(handle) = self.origins.get(at).and_then(|origin| origin.waiting.front().copied()) {
            let Some((key, _)) = self.least_busy(at) else { return self.maybe_connect(at) };
            if let Some(origin) = self.origins.get_mut(at) {
                origin.waiting.pop_front();
            }
            let Some(entry) = self.requests.get_mut(handle) else { continue };
            let Place::Waiting(waiting) = std::mem::replace(&mut entry.place, Place::Unplaced) else { continue };
            let waited = self.now.saturating_duration_since(waiting.since);
            match self.put_on(key, handle, &waiting.head, waiting.end) {
                Ok(()) => self.events.push_back(Queued::Sent { handle, waited }),
                Err(NotTaken::HeadersTooLarge) => {
                    self.queue_failure(handle, FailureKind::RequestHeadersTooLarge, Processed::No);
                }
                // The connection had room a moment ago: it cannot happen, but a request must not vanish.
                Err(NotTaken::NoRoom) => self.queue_failure(handle, FailureKind::GoAway, Processed::No),
            }
        }
    }

    /// Enters a connection into the list of those to be flushed.
    pub(super) fn mark_dirty(&mut self, key: SlotKey) {
        if let Some(slot) = self.slots.get_mut(key)
            && !std::mem::replace(&mut slot.dirty, true)
        {
            self.dirty.push(key);
        }
    }

    /// Streams of a connection began or ended: gives its room to waiting requests, or closes it if it is of no more use.
    pub(super) fn on_streams_changed(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let at = slot.origin;
        let Some(connection) = self.slots.connection(key) else { return };
        let (spent, idle) = (connection.is_spent(), connection.active() == 0);
        let open = connection.phase() == Phase::Open;
        let Some(origin) = self.origins.get(at) else { return };
        if !origin.waiting.is_empty() && open {
            self.assign_waiting(at);
        } else if spent || idle && open && (self.draining || origin.backends == 0) {
            self.close(key);
        }
    }

    /// Starts another connection to an origin, if it may have one.
    pub(super) fn maybe_connect(&mut self, at: usize) {
        let most = self.options.connections_per_backend.max(1);
        let Some(origin) = self.origins.get_mut(at) else { return };
        if !origin.may_connect(most, self.now) {
            return;
        }
        let hints =
            ConnectHints { addresses: origin.addresses.clone(), detected: origin.detected, turn: origin.attempts };
        let attempt = connect::establish(Rc::clone(&origin.route), hints);
        let Some(slot) = self.slots.insert(at, Box::pin(attempt), &self.ready) else {
            // Too many connections in this worker. Those that wait go on when one of their own has room.
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
            self.events.push_back(Queued::Failed { handle, kind, processed: Processed::No });
        }
    }
}
