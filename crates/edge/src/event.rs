//! Events from the edge to the exchange, and the handle of a request stream.

use bytes::Bytes;
use spooky_bridge::message::{Fields, Protocol, RequestHead, check::RejectedRequest};
use spooky_table::Handle;
use std::net::SocketAddr;

/// Handle of a client's request stream. Calls with it do nothing once the stream is gone. The default refers to no stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamRef {
    pub(crate) conn: Handle,
    pub(crate) stream: Handle,
}

impl StreamRef {
    /// Index of its connection, which is reused, and the serial number that distinguishes the uses.
    pub fn connection(&self) -> (usize, u32) {
        (self.conn.index(), self.conn.serial())
    }
}

/// Something that happened on a request stream.
#[derive(Debug)]
pub struct Event {
    /// The stream.
    pub stream: StreamRef,
    /// The number set by [`crate::Edge::set_tag`] or [`crate::TcpEdge::set_tag`].
    pub tag: Option<u64>,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// Creates an event without tag, which is filled in when the exchange takes the event.
    pub(crate) fn new(stream: StreamRef, kind: EventKind) -> Self {
        Self { stream, tag: None, kind }
    }
}

/// The kinds of [`Event`].
#[derive(Debug)]
pub enum EventKind {
    /// A complete, well-formed request head.
    Request {
        /// What the client speaks.
        protocol: Protocol,
        /// The head.
        head: RequestHead,
        /// The request has no body.
        end: bool,
        /// The client's address.
        peer: SocketAddr,
    },
    /// A head that must be answered with an error.
    Refused {
        /// What the client speaks.
        protocol: Protocol,
        /// Why, with the fields received.
        refusal: Box<RejectedRequest>,
        /// The client's address.
        peer: SocketAddr,
    },
    /// A request head was not complete in time. It must be answered with 408.
    TimedOut {
        /// What the client speaks.
        protocol: Protocol,
        /// The client's address.
        peer: SocketAddr,
    },
    /// A malformed head; its stream was reset.
    Malformed {
        /// What the client speaks.
        protocol: Protocol,
        /// The fields received.
        fields: Box<Fields>,
        /// What is wrong, for the log.
        reason: &'static str,
        /// The client's address.
        peer: SocketAddr,
    },
    /// More of the request body may be readable.
    Readable,
    /// The connection has taken this many body bytes of the backlog.
    Accepted(usize),
    /// The connection has taken the whole response.
    Sent,
    /// The stream failed; no event follows.
    Aborted(Abort),
}

/// Why a request stream failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// The client reset its sending side with this code.
    Reset(u64),
    /// The client sent `STOP_SENDING` with this code.
    Stopped(u64),
    /// The client violated the protocol on this stream, which was reset; with the reason for the log.
    Malformed(&'static str),
    /// The connection was lost.
    Lost,
    /// The connection was closed by [`crate::Edge::close`] or [`crate::TcpEdge::close`].
    Closed,
}

/// Result of reading a request body.
#[derive(Debug)]
pub enum BodyRead {
    /// Body bytes.
    Data(Bytes),
    /// The trailers; only the end follows.
    Trailers(Box<Fields>),
    /// The body is complete and matches `content-length`.
    End,
    /// Nothing to read until [`EventKind::Readable`].
    Pending,
    /// The rest of the body is malformed; with the reason for the log. The request can still be answered.
    Malformed(&'static str),
    /// The stream failed.
    Aborted(Abort),
}
