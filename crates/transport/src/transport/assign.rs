//! Assignment of requests to connections, and the decision to open another connection.

use std::rc::Rc;

use spooky_bridge::message::RequestHead;

use super::Transport;
use crate::{
    connect,
    failure::{FailureKind, Processed},
    handle::{RequestHandle, SlotKey},
    pool::{Connection, Due, OpenError, Phase, Stream},
    queued::QueuedEvent,
    requests::{RequestState, Waiting},
    slots::Link,
};

impl Transport {
    /// Returns the connection that takes the next request, and the number of its requests: the HTTP/2 connection with capacity
    /// that has the fewest, else the HTTP/1.1 connection that became idle last.
    pub(super) fn least_busy(&self, at: usize) -> Option<(SlotKey, usize)> {
        let origin = self.origins.get(at)?;
        let mut least: Option<(SlotKey, usize)> = None;
        for key in &origin.h2 {
            let Some(connection) = self.slots.connection(*key) else { continue };
            let busy = connection.active();
            if connection.has_capacity() && least.is_none_or(|(_, fewest)| busy < fewest) {
                least = Some((*key, busy));
            }
        }
        least.or_else(|| origin.idle.last().map(|key| (key, 0)))
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
        let slot = self.slots.get_mut(key).ok_or(OpenError::NoCapacity)?;
        let Link::Connected(connection) = &mut slot.link else { return Err(OpenError::NoCapacity) };
        let (stream, at) = connection.open(head, end, handle, now)?;
        if matches!(stream, Stream::H1(_))
            && let Some(origin) = self.origins.get_mut(slot.origin)
        {
            origin.idle.remove(key);
        }
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
                Err(OpenError::NoExtendedConnect) => self.wait_for_http1(handle, *waiting),
                Err(OpenError::InvalidHead) => self.queue_failure(handle, FailureKind::InvalidHead, Processed::No),
                // Cannot happen: `least_busy` has just checked the capacity. If it did, the request must not be lost.
                Err(OpenError::NoCapacity) => self.queue_failure(handle, FailureKind::GoAway, Processed::No),
            }
        }
    }

    /// Adds a request to the queue of its origin, and opens a connection if that is needed and allowed. Returns false if the
    /// queue is full.
    pub(super) fn wait(&mut self, handle: RequestHandle, waiting: Waiting) -> bool {
        let (at, max_waiting) = (waiting.origin, self.options.max_waiting);
        let connect_timeout = self.backend(waiting.backend).map(|backend| backend.connect_timeout);
        let Some(origin) = self.origins.get_mut(at).filter(|origin| origin.waiting.len() < max_waiting) else {
            return false;
        };
        origin.waiting.push_back(handle);
        origin.connect_timeout = connect_timeout.unwrap_or(origin.connect_timeout);
        if let Some(entry) = self.requests.get_mut(handle) {
            entry.state = RequestState::Waiting(Box::new(waiting));
        }
        self.counters.requests_waited += 1;
        self.maybe_connect(at);
        true
    }

    /// Lets a WebSocket wait for a connection with HTTP/1.1, after an HTTP/2 connection did not take it.
    fn wait_for_http1(&mut self, handle: RequestHandle, waiting: Waiting) {
        let kind = match self.websocket_origin(waiting.backend) {
            Some(origin) if self.wait(handle, Waiting { origin, ..waiting }) => return,
            Some(_) => FailureKind::Unreachable,
            None => FailureKind::NoExtendedConnect,
        };
        self.queue_failure(handle, kind, Processed::No);
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
        let Some(at) = self.slots.get_mut(key).map(|slot| slot.origin) else { return };
        self.use_capacity(key, at);
        self.publish_connections(at);
    }

    fn use_capacity(&mut self, key: SlotKey, at: usize) {
        let Some(connection) = self.slots.connection(key) else { return };
        let (spent, idle) = (connection.is_finished(), connection.active() == 0);
        let open = connection.phase() == Phase::Open;
        let Some(origin) = self.origins.get(at) else { return };
        let is_waited_for = !origin.waiting.is_empty();
        if spent || idle && open && !is_waited_for && (self.draining || origin.backends == 0) {
            return self.close(key);
        }
        if idle && open {
            // A connection that is about to be used does not count as idle.
            let most = if is_waited_for { usize::MAX } else { self.options.max_idle_per_backend };
            self.pool_if_http1(at, key, most);
        }
        if is_waited_for && open {
            self.assign_waiting(at);
        }
    }

    /// Adds an HTTP/1.1 connection that has become idle to the pool of its origin.
    fn pool_if_http1(&mut self, at: usize, key: SlotKey, most: usize) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let Link::Connected(Connection::H1(connection)) = &mut slot.link else { return };
        if std::mem::replace(&mut connection.is_pooled, true) {
            return;
        }
        let Due::At(until) = connection.due(&self.options, self.now) else { return self.close(key) };
        slot.arm(until, &mut self.deadlines);
        let surplus = self.origins.get_mut(at).and_then(|origin| origin.idle.push(key, most));
        if let Some(surplus) = surplus {
            self.close(surplus);
        }
    }

    /// Starts the connections to an origin that are needed and allowed.
    pub(super) fn maybe_connect(&mut self, at: usize) {
        let most = self.options.connections_per_backend.max(1);
        while self.origins.get(at).is_some_and(|origin| origin.may_connect(most, self.now)) {
            if self.slots.is_full() {
                self.close_idle();
            }
            let Some(origin) = self.origins.get_mut(at) else { return };
            let attempt = connect::establish(Rc::clone(&origin.target), origin.next_attempt(self.now));
            let Some(slot) = self.slots.insert(at, Box::pin(attempt), &self.ready, self.now) else {
                // The worker has too many connections. Waiting requests continue when one of the origin's has capacity.
                if !origin.has_open() {
                    self.fail_waiting(at, usize::MAX, FailureKind::Unreachable);
                }
                return;
            };
            slot.arm(self.now + origin.connect_timeout, &mut self.deadlines);
            origin.connecting.push(slot.key);
            origin.slots += 1;
            self.ready.mark(slot.key.index());
            self.counters.connects += 1;
            self.counts.connects.increment();
        }
    }

    /// Closes an idle HTTP/1.1 connection of any origin, to make room for another.
    fn close_idle(&mut self) {
        if let Some(key) = self.origins.iter().find_map(|(_, origin)| origin.idle.first()) {
            self.close(key);
        }
    }

    /// Fails the `count` requests that have waited longest.
    pub(super) fn fail_waiting(&mut self, at: usize, count: usize, kind: FailureKind) {
        let Some(origin) = self.origins.get_mut(at) else { return };
        let count = count.min(origin.waiting.len());
        for handle in origin.waiting.drain(..count) {
            self.events.push_back(QueuedEvent::Failed { handle, kind, processed: Processed::No });
        }
    }
}
