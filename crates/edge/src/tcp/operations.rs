//! What the exchange asks of a stream. Calls with a stream that is gone do nothing.

use super::{
    conn::{Conn, Phase},
    edge::{TcpEdge, mark},
    protocol::Protocol,
};
use crate::{
    body::Body,
    event::{Abort, BodyRead, StreamRef},
    identity,
};
use bytes::Bytes;
use spooky_bridge::message::{Fields, ResetReason, ResponseHead};
use spooky_table::Handle;

impl TcpEdge {
    fn conn(&self, stream: StreamRef) -> Option<&Conn> {
        self.conns.get(stream.conn).map(|conn| &**conn)
    }

    fn protocol(&self, stream: StreamRef) -> Option<&dyn Protocol> {
        match &self.conn(stream)?.phase {
            Phase::Open(open) => Some(open.session.protocol()),
            _ => None,
        }
    }

    /// Returns the session of a stream, whose connection is then flushed in this turn.
    fn changed(&mut self, stream: StreamRef) -> Option<(&mut dyn Protocol, Handle)> {
        let Self { conns, dirty, .. } = self;
        let conn = conns.get_mut(stream.conn)?;
        mark(dirty, conn);
        match &mut conn.phase {
            Phase::Open(open) => Some((open.session.protocol_mut(), stream.stream)),
            _ => None,
        }
    }

    /// Number of the stream's connection, for balancing; 0 if the connection is gone.
    pub fn connection_id(&self, stream: StreamRef) -> u64 {
        self.conn(stream).map_or(0, |conn| conn.id)
    }

    /// Subject (RFC 4514) of the client's verified certificate: ASCII, valid as a field value, not empty. Parsed once for a
    /// connection, at the first call.
    pub fn client_subject(&self, stream: StreamRef) -> Option<&str> {
        self.conn(stream)?.subject()
    }

    /// Returns whether `authority` needs another certificate than the one of the handshake (RFC 9110 section 15.5.20). False
    /// if the client sent no SNI. `scratch` is a buffer that the caller reuses.
    pub fn is_misdirected(&self, stream: StreamRef, authority: &[u8], scratch: &mut Vec<u8>) -> bool {
        let Some(conn) = self.conn(stream) else { return false };
        conn.server_name().is_some_and(|name| identity::is_misdirected(&conn.certificates, name, authority, scratch))
    }

    /// Returns the backend that the stream's connection uses for an upstream (sticky-cid).
    pub fn sticky_backend(&self, stream: StreamRef, upstream: u64) -> Option<u64> {
        self.conn(stream)?.sticky.get(upstream)
    }

    /// Sets the backend that the stream's connection uses for an upstream until it ends. Does nothing if the connection
    /// already has too many.
    pub fn set_sticky_backend(&mut self, stream: StreamRef, upstream: u64, backend: u64) {
        if let Some(conn) = self.conns.get_mut(stream.conn) {
            conn.sticky.set(upstream, backend);
        }
    }

    /// Sets the number that every event of a stream carries from now on, queued events included.
    pub fn set_tag(&mut self, stream: StreamRef, tag: u64) {
        if let Some((protocol, handle)) = self.changed(stream) {
            protocol.set_tag(handle, tag);
        }
    }

    /// Reads at most `max` bytes of the request body. Lets the client send as many more.
    pub fn read_body(&mut self, stream: StreamRef, max: usize) -> BodyRead {
        match self.changed(stream) {
            Some((protocol, handle)) => protocol.read_body(handle, max),
            None => BodyRead::Aborted(Abort::Lost),
        }
    }

    /// Body bytes of this stream that have been received but not read.
    pub fn unread(&self, stream: StreamRef) -> u64 {
        self.protocol(stream).map_or(0, |protocol| protocol.unread(stream.stream) as u64)
    }

    /// Returns whether response bytes of earlier turns wait for the client.
    pub fn has_unsent(&self, stream: StreamRef) -> bool {
        self.protocol(stream).is_some_and(|protocol| protocol.has_unsent(stream.stream))
    }

    /// Bytes of one response that may be buffered between its backend and this client.
    pub fn stream_share(&self, stream: StreamRef) -> usize {
        let streams = self.protocol(stream).map_or(1, Protocol::open_streams);
        self.conn(stream).map_or(0, |conn| conn.outgoing.stream_share(streams))
    }

    /// Sends an interim response (1xx).
    pub fn interim(&mut self, stream: StreamRef, head: &ResponseHead) {
        if let Some((protocol, handle)) = self.changed(stream) {
            protocol.interim(handle, head);
        }
    }

    /// Sends the response head. `body` says how the body will be framed. With `is_tunnel` the directions of the stream end
    /// independently.
    pub fn respond(&mut self, stream: StreamRef, head: &ResponseHead, body: Body, is_tunnel: bool) {
        if let Some((protocol, handle)) = self.changed(stream) {
            protocol.respond(handle, head, body, is_tunnel);
        }
    }

    /// Sends body bytes. Returns how many the connection has taken at once; [`crate::EventKind::Accepted`] reports the
    /// others.
    pub fn send_body(&mut self, stream: StreamRef, data: Bytes) -> usize {
        let length = data.len();
        self.changed(stream).map_or(length, |(protocol, handle)| protocol.send_body(handle, data))
    }

    /// Ends the response, with trailers if there are any. Returns true if the connection has taken all of it; otherwise
    /// [`crate::EventKind::Sent`] follows.
    pub fn finish(&mut self, stream: StreamRef, trailers: Option<&Fields>) -> bool {
        self.changed(stream).is_none_or(|(protocol, handle)| protocol.finish(handle, trailers))
    }

    /// Resets the stream in both directions. No event of it follows.
    pub fn reset(&mut self, stream: StreamRef, reason: ResetReason) {
        if let Some((protocol, handle)) = self.changed(stream) {
            protocol.reset(handle, reason);
        }
    }
}
