//! What the edge tells the exchange, and the handle by which the exchange answers.

use bytes::Bytes;
use spooky_bridge::message::{Fields, Protocol, RequestHead, check::RejectedRequest};
use spooky_table::Handle;
use std::net::{IpAddr, SocketAddr};

/// A client's request stream. Copyable and safe to keep: once the stream is gone every call with it does nothing. The
/// default refers to no stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamRef {
    pub(crate) conn: Handle,
    pub(crate) stream: Handle,
}

impl StreamRef {
    /// The number of its connection, small and given to another connection later, and what tells the two apart.
    pub fn connection(&self) -> (usize, u32) {
        (self.conn.index(), self.conn.serial())
    }
}

/// Something that happened on a request stream.
#[derive(Debug)]
pub struct Event {
    /// The stream.
    pub stream: StreamRef,
    /// What the exchange has set for it by [`crate::Edge::set_tag`].
    pub tag: Option<u64>,
    /// What happened.
    pub kind: EventKind,
}

impl Event {
    /// An event that waits to be taken; the tag is filled in then, since it may be set until then.
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
        /// The request has no body: its end came with the head.
        end: bool,
        /// The client's address.
        peer: SocketAddr,
        /// The address that the client used to reach us, where the kernel tells.
        local_ip: Option<IpAddr>,
    },
    /// A head that must be answered with an error before anything else is done with it.
    Refused {
        /// What the client speaks.
        protocol: Protocol,
        /// Why, with all that was received.
        refusal: Box<RejectedRequest>,
    },
    /// A complete head that is malformed; its stream was reset.
    Malformed {
        /// What the client speaks.
        protocol: Protocol,
        /// All that was received.
        fields: Box<Fields>,
        /// What is wrong, for the log.
        reason: &'static str,
    },
    /// There may be more of the request body to read.
    Readable,
    /// QUIC took this many body bytes that had been waiting.
    Accepted(usize),
    /// The whole response, its end included, was handed to QUIC.
    Sent,
    /// The stream has failed; nothing more will come of it.
    Aborted(Abort),
}

/// Why a request stream failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abort {
    /// The client reset its sending side with this code.
    Reset(u64),
    /// The client wants no more of the response, with this code.
    Stopped(u64),
    /// The client broke the protocol on this stream, which was reset; the reason for the log.
    Malformed(&'static str),
    /// The connection is gone.
    Lost,
    /// The connection was closed by [`crate::Edge::close`].
    Closed,
}

/// What reading a request body gives.
#[derive(Debug)]
pub enum BodyRead {
    /// Body bytes.
    Data(Bytes),
    /// The trailers; only the end follows.
    Trailers(Box<Fields>),
    /// The body is complete, and as long as it was announced to be.
    End,
    /// Nothing now; [`EventKind::Readable`] says when to try again.
    Pending,
    /// The stream failed.
    Aborted(Abort),
}
