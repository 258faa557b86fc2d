//! The client's side of an exchange: a few operations, whichever protocol the client speaks. A second way for clients to
//! come in is a second variant here.
//!
//! All of them do nothing, and give what lets the exchange go on, once the stream or its listener is gone: its last event
//! ends the exchange.

use crate::listener::Listeners;
use bytes::Bytes;
use spooky_bridge::message::{Fields, ResetReason, ResponseHead, rewrite::Subject};
use spooky_edge::{Body, BodyRead, Edge, StreamRef};

/// Where the client of an exchange is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientSide {
    /// A stream of a QUIC connection.
    Quic {
        /// The number of the listener.
        listener: usize,
        stream: StreamRef,
    },
}

impl ClientSide {
    fn edge(self, listeners: &mut Listeners) -> Option<(&mut Edge, StreamRef)> {
        let Self::Quic { listener, stream } = self;
        Some((&mut listeners.get_mut(listener)?.edge, stream))
    }

    /// The connection: its listener, its number there, and what tells it from others that have had this number.
    pub(super) fn connection(self) -> (usize, usize, u32) {
        let Self::Quic { listener, stream } = self;
        let (conn, epoch) = stream.connection();
        (listener, conn, epoch)
    }

    /// Sets the number that comes with every event of it.
    pub(super) fn set_tag(self, listeners: &mut Listeners, tag: u64) {
        if let Some((edge, stream)) = self.edge(listeners) {
            edge.set_tag(stream, tag);
        }
    }

    /// Reads at most `max` bytes of the request body.
    pub(super) fn read_body(self, listeners: &mut Listeners, max: usize) -> BodyRead {
        self.edge(listeners).map_or(BodyRead::Pending, |(edge, stream)| edge.read_body(stream, max))
    }

    /// An upper bound of the body bytes that have arrived and were not read.
    pub(super) fn unread(self, listeners: &mut Listeners) -> u64 {
        self.edge(listeners).map_or(0, |(edge, stream)| edge.unread(stream))
    }

    /// Sends an interim response (1xx).
    pub(super) fn send_interim(self, listeners: &mut Listeners, head: &ResponseHead) {
        if let Some((edge, stream)) = self.edge(listeners) {
            edge.interim(stream, head);
        }
    }

    /// Begins the response, or the tunnel.
    pub(super) fn send_head(self, listeners: &mut Listeners, head: &ResponseHead, body: Body, is_tunnel: bool) {
        if let Some((edge, stream)) = self.edge(listeners) {
            edge.respond(stream, head, body);
            if is_tunnel {
                edge.open_tunnel(stream);
            }
        }
    }

    /// Sends body bytes; returns how many were taken at once, of these and of those that had waited.
    pub(super) fn send_body(self, listeners: &mut Listeners, data: Bytes) -> usize {
        let length = data.len();
        self.edge(listeners).map_or(length, |(edge, stream)| edge.send_body(stream, data))
    }

    /// Ends the response. Returns true when all of it was taken; otherwise `Sent` follows.
    pub(super) fn send_end(self, listeners: &mut Listeners, trailers: Option<&Fields>) -> bool {
        self.edge(listeners).is_none_or(|(edge, stream)| edge.finish(stream, trailers))
    }

    /// Whether bytes of the response wait for the client to make room.
    pub(super) fn has_unsent(self, listeners: &mut Listeners) -> bool {
        self.edge(listeners).is_some_and(|(edge, stream)| edge.has_unsent(stream))
    }

    /// Bytes of response that the connection has room for on this stream.
    pub(super) fn stream_share(self, listeners: &mut Listeners) -> Option<usize> {
        self.edge(listeners).map(|(edge, stream)| edge.stream_share(stream))
    }

    /// Ends both directions with an error; no event follows.
    pub(super) fn reset(self, listeners: &mut Listeners, reason: ResetReason) {
        if let Some((edge, stream)) = self.edge(listeners) {
            edge.reset(stream, reason);
        }
    }

    /// Whether the request belongs to another certificate than the one that the client was shown.
    pub(super) fn is_misdirected(self, listeners: &mut Listeners, authority: &[u8], scratch: &mut Vec<u8>) -> bool {
        self.edge(listeners).is_some_and(|(edge, stream)| edge.is_misdirected(stream, authority, scratch))
    }

    /// What tells the client's connection from others, for balancing.
    pub(super) fn connection_id(self, listeners: &mut Listeners) -> u64 {
        self.edge(listeners).map_or(0, |(edge, stream)| edge.connection_id(stream))
    }

    /// The backend that the connection keeps in the upstream with this name.
    pub(super) fn sticky_backend(self, listeners: &mut Listeners, upstream: u64) -> Option<u64> {
        let (edge, stream) = self.edge(listeners)?;
        edge.kept(stream, upstream)
    }

    /// The connection keeps this backend.
    pub(super) fn set_sticky_backend(self, listeners: &mut Listeners, upstream: u64, backend: u64) {
        if let Some((edge, stream)) = self.edge(listeners) {
            edge.keep(stream, upstream, backend);
        }
    }

    /// The port of the listener.
    pub(super) fn port(self, listeners: &Listeners) -> Option<u16> {
        let Self::Quic { listener, .. } = self;
        Some(listeners.get(listener)?.port)
    }

    /// What backends are told of the client's certificate.
    pub(super) fn subject(self, listeners: &Listeners) -> Option<Subject<'_>> {
        let Self::Quic { listener, stream } = self;
        listeners.get(listener)?.subject(stream)
    }

    /// The field in which they are told.
    pub(super) fn subject_header(self, listeners: &Listeners) -> Option<&[u8]> {
        let Self::Quic { listener, .. } = self;
        Some(listeners.get(listener)?.subject_header.as_deref()?.as_bytes())
    }
}
