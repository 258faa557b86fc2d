//! The operations of an exchange on its client and on backends, as traits. The worker implements them with its listeners and
//! its transport, the tests with a fake.
//!
//! No call blocks. After the end of a client's stream, calls do nothing; the last event of the stream ends the exchange.

use crate::client_side::ClientSide;
use bytes::Bytes;
use spooky_bridge::message::{Fields, RequestHead, ResetReason, ResponseHead, rewrite::ClientSubject};
use spooky_edge::{Body, BodyRead};
use spooky_transport::{BackendId, RequestHandle, Unsent};
use std::time::Instant;

/// Streams of clients.
pub(crate) trait Clients {
    /// Sets the number that is returned with every later event of the stream.
    fn set_tag(&mut self, client: ClientSide, tag: u64);

    /// Reads at most `max` bytes of the request body.
    fn read_body(&mut self, client: ClientSide, max: usize) -> BodyRead;

    /// Returns an upper bound of the body bytes received but not yet read.
    fn unread(&mut self, client: ClientSide) -> u64;

    /// Sends an interim response (1xx).
    fn send_interim(&mut self, client: ClientSide, head: &ResponseHead);

    /// Sends the head of the response; with `is_tunnel`, opens the tunnel.
    fn send_head(&mut self, client: ClientSide, head: &ResponseHead, body: Body, is_tunnel: bool);

    /// Sends body bytes. Returns how many the connection has taken, including bytes that were waiting.
    fn send_body(&mut self, client: ClientSide, data: Bytes) -> usize;

    /// Ends the response. Returns true if the connection has taken all of it; otherwise `Sent` follows.
    fn send_end(&mut self, client: ClientSide, trailers: Option<&Fields>) -> bool;

    /// Returns whether bytes of the response wait for flow-control credit of the client.
    fn has_unsent(&mut self, client: ClientSide) -> bool;

    /// Returns this stream's share of the connection's send capacity, in bytes.
    fn stream_share(&mut self, client: ClientSide) -> Option<usize>;

    /// Resets both directions; no event follows.
    fn reset_client(&mut self, client: ClientSide, reason: ResetReason);

    /// Returns whether the authority belongs to another certificate than the one in use (421).
    fn is_misdirected(&mut self, client: ClientSide, authority: &[u8], scratch: &mut Vec<u8>) -> bool;

    /// Returns whether the request that has just arrived came in TLS early data.
    fn is_early(&mut self, client: ClientSide) -> bool;

    /// Returns the id of the client's connection for balancing.
    fn connection_id(&mut self, client: ClientSide) -> u64;

    /// Returns the sticky backend of the connection for an upstream.
    fn sticky_backend(&mut self, client: ClientSide, upstream: u64) -> Option<u64>;

    /// Sets the sticky backend of the connection for an upstream.
    fn set_sticky_backend(&mut self, client: ClientSide, upstream: u64, backend: u64);

    fn port(&self, client: ClientSide) -> Option<u16>;

    /// Returns the value of `alt-svc` for the final response that is about to be sent, if it must have one
    /// (docs/reference/behaviour.md#header-fields).
    fn alt_svc(&mut self, client: ClientSide) -> Option<&[u8]>;

    /// Returns the field with the subject of the client's certificate.
    fn subject(&self, client: ClientSide) -> Option<ClientSubject<'_>>;

    /// Returns the name of that field.
    fn subject_header(&self, client: ClientSide) -> Option<&[u8]>;
}

/// Requests to backends. The calls are those of [`spooky_transport::Transport`].
pub(crate) trait Backends {
    /// Sends a request or queues it for a connection ([`Backends::is_waiting`]). `end` means that it has no body.
    fn request(&mut self, backend: BackendId, head: &RequestHead, end: bool, tag: u64)
    -> Result<RequestHandle, Unsent>;

    /// Returns whether the request waits for a connection.
    fn is_waiting(&self, request: RequestHandle) -> bool;

    /// Returns how many body bytes the request can take now. After 0, `Sendable` follows.
    fn want_send(&mut self, request: RequestHandle) -> usize;

    /// Sends as much of `data` as possible and leaves the rest in it. Returns the number of bytes taken.
    fn send_data(&mut self, request: RequestHandle, data: &mut Bytes, end: bool) -> usize;

    /// Ends the request with trailers. Returns false, and sends nothing, if they exceed what the backend accepts.
    fn send_trailers(&mut self, request: RequestHandle, fields: &Fields) -> bool;

    /// Returns flow-control credit for bytes of the response body.
    fn release(&mut self, request: RequestHandle, bytes: usize);

    /// Sets the window of the response.
    fn resize(&mut self, request: RequestHandle, bytes: usize);

    /// Ends the request; no event of it follows.
    fn reset(&mut self, request: RequestHandle, reason: ResetReason);
}

/// Both sides, and the time.
pub(crate) trait Io: Clients + Backends {
    /// Returns the time of the current event.
    fn now(&self) -> Instant;
}
