//! The calls of the exchange: a request, its body, credit for the response, and its early end.

use std::time::Instant;

use bytes::Bytes;
use spooky_bridge::message::{Fields, RequestHead, ResetReason};

use super::Transport;
use crate::{
    failure::Unsent,
    handle::{BackendId, RequestHandle, SlotKey},
    origin::Origin,
    pool::{Connection, OpenError, Stream},
    requests::{RequestState, Waiting},
};

impl Transport {
    /// Sends a request on the least busy connection of the backend, on HTTP/1.1 on an idle one. `end` means that it has neither
    /// body nor trailers. `tag` is returned with every event of the request. If no connection has capacity, the request waits
    /// ([`Transport::is_waiting`]) until [`crate::Event::Sent`] or [`crate::Event::Failed`]; only then `head` is copied.
    ///
    /// A WebSocket for a backend that speaks HTTP/2 without extended CONNECT uses HTTP/1.1, unless HTTP/2 is configured.
    pub fn request(
        &mut self,
        backend: BackendId,
        head: &RequestHead,
        end: bool,
        tag: u64,
        now: Instant,
    ) -> Result<RequestHandle, Unsent> {
        self.now = now;
        let target = self.backend(backend).ok_or(Unsent::UnknownBackend)?;
        let mut at = target.origin;
        if let Some(websockets) = target.websockets
            && head.is_websocket()
        {
            at = websockets;
        }
        let least = self.least_busy(at);
        if let Some((key, busy)) = least {
            let handle = self.requests.insert(tag, RequestState::Unassigned, end);
            let put = self.open_stream(key, handle, head, end);
            if put.is_ok() {
                self.spread(at, key, busy);
                return Ok(handle);
            }
            self.requests.remove(handle);
            match put {
                Err(OpenError::HeadersTooLarge) => return Err(Unsent::HeadersTooLarge),
                Err(OpenError::NoExtendedConnect) => {
                    at = self.websocket_origin(backend).ok_or(Unsent::NoExtendedConnect)?;
                }
                Err(OpenError::InvalidHead) => return Err(Unsent::InvalidHead),
                Ok(()) | Err(OpenError::NoCapacity) => {}
            }
        }
        let handle = self.requests.insert(tag, RequestState::Unassigned, end);
        let waiting = Waiting { backend, origin: at, head: head.clone(), end, since: now };
        if self.wait(handle, waiting) {
            return Ok(handle);
        }
        self.requests.remove(handle);
        self.counters.requests_refused += 1;
        Err(Unsent::QueueFull)
    }

    /// Opens another HTTP/2 connection before the others are full, if that is configured, or to use all addresses of a name.
    fn spread(&mut self, at: usize, key: SlotKey, busy: usize) {
        let is_busy = self.options.spread_at.is_some_and(|spread_at| busy >= spread_at);
        let is_h2 = self.slots.connection(key).is_some_and(|connection| matches!(connection, Connection::H2(_)));
        let has_unused_addresses = || self.origins.get(at).is_some_and(Origin::has_unused_addresses);
        if is_h2 && (is_busy || busy > 0 && has_unused_addresses()) {
            self.maybe_connect(at);
        }
    }

    /// Returns whether the request waits for a connection.
    pub fn is_waiting(&self, request: RequestHandle) -> bool {
        self.requests.get(request).is_some_and(|entry| matches!(entry.state, RequestState::Waiting(_)))
    }

    /// Returns how many body bytes the request can take now. After 0, [`crate::Event::Sendable`] follows (for a waiting request
    /// [`crate::Event::Sent`]).
    pub fn want_send(&mut self, request: RequestHandle) -> usize {
        self.stream(request).map_or(0, |(_, connection, stream)| connection.want_send(stream))
    }

    /// Sends as much of `data` as the windows and the output buffer permit, and leaves the rest in it. Returns the number of
    /// bytes taken. With `end`, the last byte (or empty `data`) ends the request. If bytes are left, [`crate::Event::Sendable`]
    /// follows. For a request that has ended, takes and discards everything.
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
            self.on_request_sent(key, request);
        }
        taken
    }

    /// Ends the request with trailers, after its whole body. Does nothing for a request that has ended. Returns false, and
    /// sends nothing, if the trailers exceed what the backend accepts; the caller must then reset the request.
    pub fn send_trailers(&mut self, request: RequestHandle, fields: &Fields) -> bool {
        let Some((key, connection, stream)) = self.stream(request) else { return true };
        if !connection.send_trailers(stream, fields) {
            return false;
        }
        self.mark_dirty(key);
        self.on_request_sent(key, request);
        true
    }

    /// Returns flow-control credit for `n` bytes of the response body that the caller has consumed.
    pub fn release(&mut self, request: RequestHandle, n: usize) {
        if let Some((key, connection, stream)) = self.stream(request) {
            connection.release(stream, n);
            self.after_credit(key);
        }
    }

    /// Sets the window of the response to `size` bytes, at most [`crate::Options::max_stream_window`]. The window grows at once
    /// and shrinks as bytes are released.
    pub fn resize(&mut self, request: RequestHandle, size: usize) {
        let size = u32::try_from(size).unwrap_or(u32::MAX).min(self.options.max_stream_window);
        if let Some((key, connection, stream)) = self.stream(request) {
            connection.resize(stream, size);
            self.after_credit(key);
        }
    }

    /// Sends what more credit has queued, and reads again from a connection that was waiting for credit.
    fn after_credit(&mut self, key: SlotKey) {
        let Some(connection) = self.slots.connection_mut(key) else { return };
        if connection.resumes_reading() {
            self.ready.mark(key.index());
        }
        if connection.has_output() {
            self.mark_dirty(key);
        }
    }

    /// Sets the window of responses that were not resized, at most [`crate::Options::max_stream_window`]; open streams change
    /// by the difference. Cheap if nothing changes, so it may be called in every turn.
    pub fn set_initial_window(&mut self, size: u32) {
        let size = size.min(self.options.max_stream_window);
        if size == self.h2.initial_stream_window {
            return;
        }
        self.h2.initial_stream_window = size;
        for key in self.slots.keys() {
            if let Some(connection) = self.slots.connection_mut(key) {
                connection.set_initial_window(size);
                self.after_credit(key);
            }
        }
    }

    /// Ends the request; no event of it follows. The stream is reset with `reason` if the request was sent and is not complete.
    pub fn reset(&mut self, request: RequestHandle, reason: ResetReason) {
        let Some(entry) = self.requests.remove(request) else { return };
        match entry.state {
            RequestState::Unassigned => {}
            RequestState::Waiting(waiting) => {
                if let Some(origin) = self.origins.get_mut(waiting.origin) {
                    origin.waiting.retain(|other| *other != request);
                    self.remove_if_unused(waiting.origin);
                }
            }
            RequestState::Stream { connection: key, stream, .. } => {
                if let Some(connection) = self.slots.connection_mut(key) {
                    self.counters.resets_sent += u64::from(connection.reset(stream, reason));
                    self.mark_dirty(key);
                    self.on_streams_changed(key);
                }
            }
        }
    }

    /// Records that the whole request was sent. Removes the request if the response is complete too.
    fn on_request_sent(&mut self, key: SlotKey, request: RequestHandle) {
        if let Some(entry) = self.requests.get_mut(request) {
            entry.sent_all = true;
            if entry.received_all {
                self.requests.remove(request);
                self.on_streams_changed(key);
            }
        }
    }

    fn stream(&mut self, request: RequestHandle) -> Option<(SlotKey, &mut Connection, Stream)> {
        match self.requests.get(request)?.state {
            RequestState::Stream { connection, stream, .. } => {
                Some((connection, self.slots.connection_mut(connection)?, stream))
            }
            RequestState::Waiting(_) | RequestState::Unassigned => None,
        }
    }
}
