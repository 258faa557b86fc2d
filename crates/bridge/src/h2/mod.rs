//! The client side of HTTP/2 (RFC 9113) as a state machine: bytes in, events out, bytes out.
//!
//! [`Client`] is one connection to a backend. `transport` feeds it what the socket brought ([`Client::recv`]), calls it for
//! what the exchange wants, and writes [`Client::output`] to the socket, once per turn. Nothing here opens a socket, reads
//! a clock or decides whether a request is repeated; a fault of one stream stays a fault of that stream.

mod block;
mod client;
mod code;
mod control;
mod data;
mod flow;
mod frame;
mod guard;
mod output;
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
pub use output::Output;

/// What this endpoint announces and holds the peer to.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of response body that a stream may have unreleased (`SETTINGS_INITIAL_WINDOW_SIZE`), at most 2^31 - 1.
    pub initial_stream_window: u32,
    /// Bytes of DATA that may be on the wire over all streams, at least 65 535 and at most 2^31 - 1.
    pub connection_window: u32,
    /// Largest frame payload accepted (`SETTINGS_MAX_FRAME_SIZE`), 16 384 to 2^24 - 1.
    pub max_frame_size: u32,
    /// Bytes of dynamic table that the peer may use for responses (`SETTINGS_HEADER_TABLE_SIZE`).
    pub header_table_size: u32,
    /// Largest field section accepted: names, values and 32 bytes for each field (`SETTINGS_MAX_HEADER_LIST_SIZE`). A larger
    /// one ends its stream with [`Event::HeadersTooLarge`].
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
    /// The number on the wire: odd, never used twice on a connection.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// What the peer did. `tag` is the number given to [`Client::send_request`].
#[derive(Debug)]
pub enum Event {
    /// The peer's first SETTINGS came: it speaks HTTP/2 and its limits are known.
    Ready,
    /// An interim response (1xx); the response proper is still to come.
    Informational {
        /// The owner's number for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The interim head.
        head: ResponseHead,
    },
    /// The head of the response.
    Head {
        /// The owner's number for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The head.
        head: ResponseHead,
        /// The response is complete.
        end: bool,
    },
    /// A part of the response body, to be given back by [`Client::release`] once consumed.
    Data {
        /// The owner's number for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The bytes; empty only together with `end`.
        data: Bytes,
        /// The response is complete, and its length is what was announced.
        end: bool,
    },
    /// Trailers: the response is complete, and its length is what was announced.
    Trailers {
        /// The owner's number for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The trailer fields.
        fields: Fields,
    },
    /// The peer ended the stream (`RST_STREAM`), or will never process it (GOAWAY). The stream is gone.
    Reset {
        /// The owner's number for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// The peer's reason.
        code: Code,
        /// The peer says that it did nothing for the request (RFC 9113 8.7), so any method may be repeated.
        unprocessed: bool,
    },
    /// The response broke the rules. `RST_STREAM` is queued and the stream is gone.
    Malformed {
        /// The owner's number for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
        /// What was wrong.
        reason: &'static str,
    },
    /// The head or the trailers of the response exceed [`Config::max_header_list`]. `RST_STREAM` is queued and the stream is
    /// gone.
    HeadersTooLarge {
        /// The owner's number for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
    },
    /// A stream whose [`Client::send_data`] left something can take bytes again.
    Sendable {
        /// The owner's number for the request.
        tag: u64,
        /// The stream.
        id: StreamId,
    },
    /// The peer takes no new streams. Those above `last` follow as [`Event::Reset`] with `unprocessed`.
    GoAway {
        /// The highest stream that the peer may have processed.
        last: u32,
        /// The peer's reason.
        code: Code,
    },
    /// The peer changed how many streams may be open; see [`Client::capacity`].
    CapacityChanged,
    /// The answer to [`Client::ping`] with this payload.
    Pong(u64),
}

/// The connection is beyond repair (RFC 9113 5.4.1). GOAWAY is queued: flush, then close; all streams are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// The code sent in GOAWAY.
    pub code: Code,
    /// What the peer did.
    pub reason: &'static str,
    /// The clause that it broke, or the name of the limit.
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

    /// The peer went over one of our limits, named instead of a clause (RFC 9113 10.5).
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

/// Why [`Client::send_request`] opened no stream. Nothing of the request was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The peer allows no more concurrent streams now.
    StreamLimit,
    /// GOAWAY was received or sent, or the connection failed.
    Closing,
    /// All stream identifiers of this connection are used up.
    IdsUsedUp,
    /// Too much output is unsent: the peer does not read.
    Backlogged,
    /// The head exceeds the `SETTINGS_MAX_HEADER_LIST_SIZE` of the peer.
    HeadersTooLarge,
}
