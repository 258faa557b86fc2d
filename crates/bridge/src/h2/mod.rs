//! HTTP/2 client (RFC 9113) as a state machine without I/O.
//!
//! [`Client`] is one connection to a backend. `transport` passes received bytes to [`Client::recv`], calls it for what
//! the exchange wants, and writes [`Client::output`] to the socket once per turn. This module opens no socket, reads no
//! clock and does not decide about retries. A stream error never ends the connection.

mod block;
mod client;
mod code;
mod control;
mod data;
mod flood;
mod flow;
mod frame;
mod payload;
mod receive;
mod section;
mod send;
mod settings;
mod stream;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::message::{Fields, ResponseHead};

pub use client::Client;
pub use code::Code;

/// Limits that the client announces in SETTINGS and enforces.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of response body that a stream may receive before [`Client::release`] (`SETTINGS_INITIAL_WINDOW_SIZE`), at
    /// most 2^31 - 1.
    pub initial_stream_window: u32,
    /// Bytes of DATA in flight over all streams, at least 65 535 and at most 2^31 - 1.
    pub connection_window: u32,
    /// Largest frame payload accepted (`SETTINGS_MAX_FRAME_SIZE`), 16 384 to 2^24 - 1.
    pub max_frame_size: u32,
    /// Size of the dynamic table for responses (`SETTINGS_HEADER_TABLE_SIZE`).
    pub header_table_size: u32,
    /// Largest field section accepted: names, values and 32 bytes for each field (`SETTINGS_MAX_HEADER_LIST_SIZE`). A
    /// larger one ends its stream with [`Event::HeadersTooLarge`].
    pub max_header_list: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            initial_stream_window: 256 * 1024,
            connection_window: 16 * 1024 * 1024,
            max_frame_size: 16_384,
            header_table_size: 4096,
            max_header_list: 65_536,
        }
    }
}

/// Identifies a stream on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u32);

impl StreamId {
    /// Returns the stream identifier on the wire: odd, never reused on a connection.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// A result of [`Client::recv`]. `tag` is the value that the caller passed to [`Client::send_request`].
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
    /// A part of the response body. The caller must call [`Client::release`] once it has consumed the bytes.
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
    /// The head or the trailers of the response exceed [`Config::max_header_list`]. `RST_STREAM` is queued and the
    /// stream is closed.
    HeadersTooLarge {
        /// The caller's value for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
    },
    /// A stream whose [`Client::send_data`] left bytes untaken can take more.
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
    /// The peer changed its limit of concurrent streams; see [`Client::capacity`].
    CapacityChanged,
    /// The acknowledgement of the [`Client::ping`] with this payload.
    Pong(u64),
}

/// A connection error (RFC 9113 5.4.1). GOAWAY is queued and all streams are closed; the caller must flush the output
/// and close the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// The code sent in GOAWAY.
    pub code: Code,
    /// What the peer did.
    pub reason: &'static str,
    /// The clause that it violated, or the name of the limit that it exceeded.
    pub clause: &'static str,
}

impl ConnectionError {
    const fn protocol(reason: &'static str, clause: &'static str) -> Self {
        Self { code: Code::PROTOCOL_ERROR, reason, clause }
    }

    const fn size(reason: &'static str, clause: &'static str) -> Self {
        Self { code: Code::FRAME_SIZE_ERROR, reason, clause }
    }

    const fn flow(reason: &'static str, clause: &'static str) -> Self {
        Self { code: Code::FLOW_CONTROL_ERROR, reason, clause }
    }

    /// The peer exceeded a limit, whose name stands in place of a clause (RFC 9113 10.5).
    const fn limit(reason: &'static str, name: &'static str) -> Self {
        Self { code: Code::ENHANCE_YOUR_CALM, reason, clause: name }
    }
}

impl std::fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {})", self.reason, self.code, self.clause)
    }
}

impl std::error::Error for ConnectionError {}

/// Why [`Client::send_request`] opened no stream. Nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendRequestError {
    /// The peer's limit of concurrent streams is reached.
    StreamLimit,
    /// GOAWAY was received or sent, or the connection failed.
    Closing,
    /// The connection has used all stream identifiers.
    IdsUsedUp,
    /// Too many bytes are unsent because the peer does not read.
    Backlogged,
    /// The head exceeds the `SETTINGS_MAX_HEADER_LIST_SIZE` of the peer.
    HeadersTooLarge,
}
