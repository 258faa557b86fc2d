//! What a connection reports to its owner.

use bytes::Bytes;

use super::Code;
use crate::message::{Fields, RequestHead, ResponseHead, check::RejectedRequest};

/// Identifies a stream on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(super) u32);

impl StreamId {
    /// Returns the stream identifier on the wire: odd, never reused on a connection.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// A result of [`super::Client::recv`]. `tag` is the value that the caller passed to `send_request`.
#[derive(Debug)]
pub enum Event {
    /// The first SETTINGS of the peer arrived, so its limits are known.
    Ready,
    /// An interim response (1xx); a final response follows.
    Informational {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The interim head.
        head: ResponseHead,
    },
    /// The head of the final response.
    Head {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The head.
        head: ResponseHead,
        /// The response is complete.
        end: bool,
    },
    /// A part of the response body. The caller must call [`super::Connection::release`] once it has consumed the bytes.
    Data {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The bytes; empty only with `end`.
        data: Bytes,
        /// The response is complete and has the announced length.
        end: bool,
    },
    /// Trailers. The response is complete and has the announced length.
    Trailers {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The trailer fields.
        fields: Fields,
    },
    /// The peer reset the stream (`RST_STREAM`), or excluded it by GOAWAY. The stream is closed.
    Reset {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The peer's error code.
        code: Code,
        /// The peer did not process the request (RFC 9113 8.7), so it may be retried whatever its method.
        unprocessed: bool,
    },
    /// The response is malformed. `RST_STREAM` is queued and the stream is closed.
    Malformed {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// Which rule the response violates.
        reason: &'static str,
    },
    /// The head or the trailers of the response exceed [`super::Config::max_header_list`]. `RST_STREAM` is queued and the
    /// stream is closed.
    HeadersTooLarge {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
    },
    /// A stream whose [`super::Connection::send_data`] left bytes untaken can take more.
    Sendable {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
    },
    /// The peer accepts no new streams. A [`Event::Reset`] with `unprocessed` follows for each open stream above
    /// `last`.
    GoAway {
        /// The highest stream identifier that the peer may have processed.
        last: u32,
        /// The peer's error code.
        code: Code,
    },
    /// The peer changed its limit of concurrent streams; see `Client::capacity`.
    CapacityChanged,
    /// The acknowledgement of the [`super::Connection::ping`] with this payload.
    Pong(u64),
}

/// A result of [`super::Server::recv`]. `tag` is the value that the caller passed to `set_tag`, 0 before.
#[derive(Debug)]
pub enum ServerEvent {
    /// A request. The caller must answer or reset it.
    Request {
        /// The stream.
        id: StreamId,
        /// The head, checked.
        head: RequestHead,
        /// The request has no body.
        end: bool,
    },
    /// A head that the caller must answer with an error.
    Refused {
        /// The stream.
        id: StreamId,
        /// Why, with the fields received.
        refusal: Box<RejectedRequest>,
        /// The request has no body.
        end: bool,
    },
    /// A malformed head. Its stream was reset, and nothing can be sent on it.
    MalformedHead {
        /// The stream.
        id: StreamId,
        /// The fields received.
        fields: Box<Fields>,
        /// Which rule the head violates.
        reason: &'static str,
    },
    /// A part of the request body. The caller must call [`super::Connection::release`] once it has consumed the bytes.
    Data {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The bytes; empty only with `end`.
        data: Bytes,
        /// The request is complete and has the announced length.
        end: bool,
    },
    /// Trailers. The request is complete and has the announced length.
    Trailers {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The trailer fields.
        fields: Fields,
    },
    /// The client reset the stream. It is closed.
    Reset {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The client's error code.
        code: Code,
    },
    /// The client violated the protocol on a stream whose head was accepted. `RST_STREAM` is queued and the stream is
    /// closed.
    Malformed {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// Which rule the client violated.
        reason: &'static str,
    },
    /// A stream whose [`super::Connection::send_data`] left bytes untaken can take more.
    Sendable {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
    },
    /// The client is about to close the connection. Open streams continue.
    GoAway {
        /// The client's error code.
        code: Code,
    },
    /// The acknowledgement of the [`super::Connection::ping`] with this payload.
    Pong(u64),
}

/// An event of the code that both roles share.
#[derive(Debug)]
pub enum CoreEvent {
    /// The first SETTINGS of the peer arrived.
    Ready,
    /// The peer changed its limit of concurrent streams.
    CapacityChanged,
    /// See [`Event::Data`].
    Data {
        /// The owner's value for the stream.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The bytes.
        data: Bytes,
        /// The message is complete.
        end: bool,
    },
    /// See [`Event::Reset`].
    Reset {
        /// The owner's value for the stream.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The peer's error code.
        code: Code,
        /// The peer did not process the request.
        unprocessed: bool,
    },
    /// See [`Event::Malformed`].
    Malformed {
        /// The owner's value for the stream.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// Which rule the peer violated.
        reason: &'static str,
    },
    /// See [`Event::Sendable`].
    Sendable {
        /// The owner's value for the stream.
        tag: u64,
        /// The stream.
        id: StreamId,
    },
    /// See [`Event::GoAway`].
    GoAway {
        /// The highest stream identifier that the peer may have processed.
        last: u32,
        /// The peer's error code.
        code: Code,
    },
    /// See [`Event::Pong`].
    Pong(u64),
}
