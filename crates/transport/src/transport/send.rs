//! The calls of the exchange: a request, its body, credit for the response, and its early end.

use std::time::Instant;

use bytes::Bytes;
use spooky_bridge::message::{Fields, RequestHead, ResetReason};

use super::Transport;
use crate::{
    failure::Unsent,
    handle::{BackendId, RequestHandle, SlotKey},
    pool::{Connection, NotTaken, Stream},
    requests::{Place, Waiting},
};

impl Transport {
    /// Sends a request, on the least busy connection of the backend. `end`: it has neither body nor trailers. `tag` comes
    /// back with every event of it. Without a connection that can take it the request waits ([`Transport::is_waiting`]) for
    /// one to be made or for a stream to end, until [`crate::Event::Sent`] or [`crate::Event::Failed`]; `head` is copied then.
    pub fn request(
        &mut self,
        backend: BackendId,
        head: &RequestHead,
        end: bool,
        tag: u64,
        now: Instant,
    ) -> Result<RequestHandle, Unsent> {
        self.now = now;
        let target = self.target(backend).ok_or(Unsent::UnknownBackend)?;
        let (at, connect_timeout) = (target.origin, target.connect_timeout);
        let least = self.least_busy(at);
        if let Some((key, _)) = least {
            let handle = self.requests.insert(tag, Place::Unplaced, end);
            let put = self.put_on(key, handle, head, end);
            if put.is_ok() {
                if self.options.spread_at.is_some_and(|spread_at| least.is_some_and(|(_, busy)| busy >= spread_at)) {
                    self.maybe_connect(at);
                }
                return Ok(handle);
            }
            self.requests.remove(handle);
            if put == Err(NotTaken::HeadersTooLarge) {
                return Err(Unsent::HeadersTooLarge);
            }
        }
        let max_waiting = self.options.max_waiting;
        let Some(origin) = self.origins.get_mut(at) else { return Err(Unsent::UnknownBackend) };
        if origin.waiting.len() >= max_waiting {
            self.counters.requests_refused += 1;
            return Err(Unsent::QueueFull);
        }
        let waiting = Waiting { origin: at, head: head.clone(), end, since: now };
        let handle = self.requests.insert(tag, Place::Waiting(Box::new(waiting)), end);
        origin.waiting.push_back(handle);
        origin.connect_timeout = connect_timeout;
        self.counters.requests_waited += 1;
        self.maybe_connect(at);
        Ok(handle)
    }

    /// Whether the request is on no connection yet.
    pub fn is_waiting(&self, request: RequestHandle) -> bool {
        self.requests.get(request).is_some_and(|entry| matches!(entry.place, Place::Waiting(_)))
    }

    /// Bytes of body that the request can take now. After 0, [`crate::Event::Sendable`] (or [`crate::Event::Sent`]) tells
    /// when that has changed.
    pub fn sendable(&mut self, request: RequestHandle) -> usize {
        self.stream(request).map_or(0, |(_, connection, stream)| connection.sendable(stream))
    }

    /// Sends as much of `data` as windows and the socket permit and leaves the rest in it. With `end`, the last byte (or an
    /// empty `data`) ends the request. Returns the number of bytes taken. If something is left, [`crate::Event::Sendable`]
    /// tells when to try again. A request that has ended takes everything and sends nothing.
    pub fn send_data(&mut self, request: RequestHandle, data: &mut Bytes, end: bool) -> usize {
        let Some((key, connection, stream)) = self.stream(request) else {
            if self.is_waiting(request) {
                return 0;
            }
            let all = data.len();
            data.clear();
            return all;
        };
        let taken = connection.send_data(stream, data, end);
        self.mark_dirty(key);
        if end && data.is_empty() {
            self.finish_sending(key, request);
        }
        taken
    }

    /// Ends the request with trailers; its body was sent completely. Does nothing for one that has ended. Returns false, and
    /// sends nothing, if they exceed what the backend accepts; the caller must then reset the request.
    pub fn send_trailers(&mut self, request: RequestHandle, fields: &Fields) -> bool {
        let Some((key, connection, stream)) = self.stream(request) else { return true };
        if !connection.send_trailers(stream, fields) {
            return false;
        }
        self.mark_dirty(key);
        self.finish_sending(key, request);
        true
    }

    /// The owner consumed `n` bytes of the response body: the backend may send as many more.
    pub fn release(&mut self, request: RequestHandle, n: usize) {
        if let Some((key, connection, stream)) = self.stream(request) {
            connection.release(stream, n);
            if connection.has_output() {
                self.mark_dirty(key);
            }
        }
    }

    /// The response may have `size` bytes on the way and not released, at most what [`crate::Options::max_stream_window`]
    /// says. It grows at once, and shrinks as bytes are released.
    pub fn resize(&mut self, request: RequestHandle, size: usize) {
        let size = u32::try_from(size).unwrap_or(u32::MAX).min(self.options.max_stream_window);
        if let Some((key, connection, stream)) = self.stream(request) {
            connection.resize(stream, size);
            if connection.has_output() {
                self.mark_dirty(key);
            }
        }
    }

    /// Response bytes that a backend may send on a stream before it is known how fast the client takes them, at most
    /// [`crate::Options::max_stream_window`]. Streams that are open become larger or smaller by the difference, until they are
    /// resized. Cheap while nothing changes: to be called in every turn.
    pub fn set_stream_window(&mut self, size: u32) {
        let size = size.min(self.options.max_stream_window);
        if size == self.h2.initial_stream_window && !self.is_window_due {
            return;
        }
        self.h2.initial_stream_window = size;
        self.is_window_due = false;
        for key in self.slots.keys() {
            if let Some(connection) = self.slots.connection_mut(key) {
                self.is_window_due |= !connection.set_initial_window(size);
                if connection.has_output() {
                    self.mark_dirty(key);
                }
            }
        }
    }

    /// Ends the request; no event of it follows. The backend hears `reason` unless it never heard of the request, or both
    /// sides were complete.
    pub fn reset(&mut self, request: RequestHandle, reason: ResetReason) {
        let Some(entry) = self.requests.remove(request) else { return };
        match entry.place {
            Place::Unplaced => {}
            Place::Waiting(waiting) => {
                if let Some(origin) = self.origins.get_mut(waiting.origin) {
                    origin.waiting.retain(|other| *other != request);
                    self.forget_unused(waiting.origin);
                }
            }
            Place::Stream { connection: key, stream, .. } => {
                if let Some(connection) = self.slots.connection_mut(key) {
                    self.counters.resets_sent += u64::from(connection.reset(stream, reason));
                    self.mark_dirty(key);
                    self.on_streams_changed(key);
                }
            }
        }
    }

    /// The request is complete. If the response is too, it ends here.
    fn finish_sending(&mut self, key: SlotKey, request: RequestHandle) {
        if let Some(entry) = self.requests.get_mut(request) {
            entry.sent_all = true;
            if entry.received_all {
                self.requests.remove(request);
                self.on_streams_changed(key);
            }
        }
    }

    /// The connection and stream of a request.
    fn stream(&mut self, request: RequestHandle) -> Option<(SlotKey, &mut Connection, Stream)> {
        match self.requests.get(request)?.place {
            Place::Stream { connection, stream, .. } => {
                Some((connection, self.slots.connection_mut(connection)?, stream))
            }
            Place::Waiting(_) | Place::Unplaced => None,
        }
    }
}
