//! What an exchange asks of its client and of backends, as traits: the worker implements them by its sockets, the tests by a
//! record of the calls.
//!
//! All calls return at once. Once a client's stream is gone they do nothing and return what lets the exchange go on: the
//! last event of the stream ends the exchange.

use bytes::Bytes;
use spooky_bridge::message::{Fields, RequestHead, ResetReason, ResponseHead, rewrite::ClientSubject};
use spooky_edge::{Body, BodyRead, StreamRef};
use spooky_transport::{BackendId, RequestHandle, Unsent};
use std::time::Instant;

/// Names the client's side of an exchange. Another way for clients to come in is another variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientSide {
    /// A stream of a QUIC connection.
    Quic {
        /// The number of the listener.
        listener: usize,
        stream: StreamRef,
    },
}

impl ClientSide {
    /// The connection: its listener, its number there, and the epoch that tells it from earlier ones with this number.
    pub(super) fn connection(self) -> (usize, usize, u32) {
        let Self::Quic { listener, stream } = self;
        let (conn, epoch) = stream.connection();
        (listener, conn, epoch)
    }
}

/// Streams of clients.
pub(crate) trait Clients {
    /// Sets the number that comes with every later event of the stream.
    fn set_tag(&mut self, client: ClientSide, tag: u64);

    /// Reads at most `max` bytes of the request body.
    fn read_body(&mut self, client: ClientSide, max: usize) -> BodyRead;

    /// An upper bound of the body bytes that have arrived and were not read.
    fn unread(&mut self, client: ClientSide) -> u64;

    /// Sends an interim response (1xx).
    fn send_interim(&mut self, client: ClientSide, head: &ResponseHead);

    /// Begins the response, or the tunnel.
    fn send_head(&mut self, client: ClientSide, head: &ResponseHead, body: Body, is_tunnel: bool);

    /// Sends body bytes; returns how many were taken at once, of these and of those that had waited.
    fn send_body(&mut self, client: ClientSide, data: Bytes) -> usize;

    /// Ends the response. Returns true when all of it was taken; otherwise `Sent` follows.
    fn send_end(&mut self, client: ClientSide, trailers: Option<&Fields>) -> bool;

    /// Whether bytes of the response wait for the client to make room.
    fn has_unsent(&mut self, client: ClientSide) -> bool;

    /// Bytes of response that the connection has room for on this stream.
    fn stream_share(&mut self, client: ClientSide) -> Option<usize>;

    /// Ends both directions with an error; no event follows.
    fn reset_client(&mut self, client: ClientSide, reason: ResetReason);

    /// Whether the request belongs to another certificate than the one that the client was shown.
    fn is_misdirected(&mut self, client: ClientSide, authority: &[u8], scratch: &mut Vec<u8>) -> bool;

    /// Identifies the client's connection for balancing.
    fn connection_id(&mut self, client: ClientSide) -> u64;

    /// The backend that the connection keeps in the upstream with this name.
    fn sticky_backend(&mut self, client: ClientSide, upstream: u64) -> Option<u64>;

    /// Makes the connection keep this backend.
    fn set_sticky_backend(&mut self, client: ClientSide, upstream: u64, backend: u64);

    /// The port of the listener.
    fn port(&self, client: ClientSide) -> Option<u16>;

    /// What backends are told of the client's certificate.
    fn subject(&self, client: ClientSide) -> Option<ClientSubject<'_>>;

    /// The field in which they are told.
    fn subject_header(&self, client: ClientSide) -> Option<&[u8]>;
}

/// Requests to backends. The calls are those of [`spooky_transport::Transport`].
pub(crate) trait Backends {
    /// Sends a request, or puts it into the queue for a connection ([`Backends::is_waiting`]). `end`: it has no body.
    fn request(&mut self, backend: BackendId, head: &RequestHead, end: bool, tag: u64)
    -> Result<RequestHandle, Unsent>;

    /// Whether the request is on no connection yet.
    fn is_waiting(&self, request: RequestHandle) -> bool;

    /// Body bytes that the request can take now; after 0 an event follows when it can take some.
    fn want_send(&mut self, request: RequestHandle) -> usize;

    /// Sends what can be sent of `data` and leaves the rest in it. Returns the number of bytes taken.
    fn send_data(&mut self, request: RequestHandle, data: &mut Bytes, end: bool) -> usize;

    /// Ends the request with trailers. Returns false, and sends nothing, if the backend does not accept as many.
    fn send_trailers(&mut self, request: RequestHandle, fields: &Fields) -> bool;

    /// Gives credit for this many further bytes of the response body.
    fn release(&mut self, request: RequestHandle, bytes: usize);

    /// Sets how many bytes of the response may be under way.
    fn resize(&mut self, request: RequestHandle, bytes: usize);

    /// Ends the request; no event of it follows.
    fn reset(&mut self, request: RequestHandle, reason: ResetReason);
}

/// Both sides, and the time of the turn.
pub(crate) trait Io: Clients + Backends {
    /// The time of the event that is being handled.
    fn now(&self) -> Instant;
}
