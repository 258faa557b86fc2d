//! A connection to a backend. A further protocol is a further variant, with one arm in each operation.

use std::{collections::VecDeque, task::Context, time::Instant};

use bytes::Bytes;
use spooky_bridge::{
    h2::StreamId,
    message::{Fields, RequestHead, ResetReason},
};

use super::{
    h1::{H1Connection, H1Stream},
    h2::H2Connection,
    open_error::OpenError,
    state::{Due, Phase, ReadEnd},
};
use crate::{
    connect::HttpVersion, counters::Counters, failure::FailureKind, handle::RequestHandle, options::Options,
    queued::QueuedEvent,
};

pub(crate) enum Connection {
    H1(Box<H1Connection>),
    H2(Box<H2Connection>),
}

/// Identifies a request on its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    H1(H1Stream),
    H2(StreamId),
}

/// Requests and their bodies. A stream must be of this connection.
impl Connection {
    /// Opens a stream for a request. Returns the stream and the position of its head in the output.
    pub(crate) fn open(
        &mut self,
        head: &RequestHead,
        end: bool,
        handle: RequestHandle,
        now: Instant,
    ) -> Result<(Stream, u64), OpenError> {
        match self {
            Self::H1(h1) => {
                let (stream, at) = h1.open(head, end, handle, now)?;
                Ok((Stream::H1(stream), at))
            }
            Self::H2(h2) => {
                let (stream, at) = h2.open(head, end, handle, now)?;
                Ok((Stream::H2(stream), at))
            }
        }
    }

    /// Returns how many body bytes a request can take. If 0, registers the stream: `QueuedEvent::Sendable` follows.
    pub(crate) fn want_send(&mut self, stream: Stream) -> usize {
        match (self, stream) {
            (Self::H1(h1), Stream::H1(stream)) => h1.want_send(stream),
            (Self::H2(h2), Stream::H2(stream)) => h2.want_send(stream),
            (Self::H1(_) | Self::H2(_), _) => 0,
        }
    }

    /// Sends as much of `data` as can be sent and leaves the rest in it. Returns the number of bytes taken.
    pub(crate) fn send_data(&mut self, stream: Stream, data: &mut Bytes, end: bool) -> usize {
        match (self, stream) {
            (Self::H1(h1), Stream::H1(stream)) => h1.send_data(stream, data, end),
            (Self::H2(h2), Stream::H2(stream)) => h2.send_data(stream, data, end),
            (Self::H1(_) | Self::H2(_), _) => 0,
        }
    }

    /// Ends a request with trailers. Returns false, and sends nothing, if they exceed what the peer accepts.
    pub(crate) fn send_trailers(&mut self, stream: Stream, fields: &Fields) -> bool {
        match (self, stream) {
            (Self::H1(h1), Stream::H1(stream)) => h1.send_trailers(stream, fields),
            (Self::H2(h2), Stream::H2(stream)) => h2.send_trailers(stream, fields),
            (Self::H1(_) | Self::H2(_), _) => true,
        }
    }

    /// Returns flow-control credit for `bytes` of a response.
    pub(crate) fn release(&mut self, stream: Stream, bytes: usize) {
        match (self, stream) {
            (Self::H1(h1), Stream::H1(stream)) => h1.release(stream, bytes),
            (Self::H2(h2), Stream::H2(stream)) => h2.release(stream, bytes),
            (Self::H1(_) | Self::H2(_), _) => {}
        }
    }

    /// Sets the window of a response.
    pub(crate) fn resize(&mut self, stream: Stream, bytes: u32) {
        match (self, stream) {
            (Self::H1(h1), Stream::H1(stream)) => h1.resize(stream, bytes),
            (Self::H2(h2), Stream::H2(stream)) => h2.resize(stream, bytes),
            (Self::H1(_) | Self::H2(_), _) => {}
        }
    }

    /// Resets a request. Returns false if it has ended already.
    pub(crate) fn reset(&mut self, stream: Stream, reason: ResetReason) -> bool {
        match (self, stream) {
            (Self::H1(h1), Stream::H1(stream)) => h1.reset(stream),
            (Self::H2(h2), Stream::H2(stream)) => h2.reset(stream, reason),
            (Self::H1(_) | Self::H2(_), _) => false,
        }
    }
}

/// The connection as a whole.
impl Connection {
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::H1(h1) => h1.phase,
            Self::H2(h2) => h2.phase,
        }
    }

    /// Returns a text for the log if the peer speaks another protocol.
    pub(crate) fn protocol_mismatch(&self) -> Option<&'static str> {
        match self {
            Self::H1(_) => None,
            Self::H2(h2) => h2.protocol_mismatch,
        }
    }

    /// Returns the number of requests on the connection.
    pub(crate) fn active(&self) -> usize {
        match self {
            Self::H1(h1) => h1.active(),
            Self::H2(h2) => h2.active(),
        }
    }

    /// Returns whether an HTTP/2 connection takes another request. On HTTP/1.1, only those in the idle pool do.
    pub(crate) fn has_capacity(&self) -> bool {
        match self {
            Self::H1(h1) => h1.is_pooled,
            Self::H2(h2) => h2.has_capacity(),
        }
    }

    /// Takes no further requests. Those in progress continue.
    pub(crate) fn retire(&mut self) {
        match self {
            Self::H1(h1) => h1.phase = Phase::Retiring,
            Self::H2(h2) => h2.phase = Phase::Retiring,
        }
    }

    pub(crate) fn version(&self) -> HttpVersion {
        match self {
            Self::H1(_) => HttpVersion::Http1,
            Self::H2(_) => HttpVersion::Http2,
        }
    }

    /// Returns whether HTTP/1.1 has to be tried because the peer did not answer the HTTP/2 preface.
    pub(crate) fn may_be_http1(&self) -> bool {
        match self {
            Self::H1(_) => false,
            Self::H2(h2) => h2.may_be_http1(),
        }
    }

    /// Returns whether the peer of an HTTP/1.1 connection failed before its first response head, so that it may speak another
    /// protocol.
    pub(crate) fn refutes_http1(&self) -> bool {
        match self {
            Self::H1(h1) => h1.is_refuted(),
            Self::H2(_) => false,
        }
    }

    /// Returns whether a connection that had stopped reading continues, because bytes were released. The caller must then read.
    pub(crate) fn resumes_reading(&mut self) -> bool {
        match self {
            Self::H1(h1) => h1.resumes_reading(),
            Self::H2(_) => false,
        }
    }

    /// Returns whether the connection takes no requests and has none.
    pub(crate) fn is_finished(&self) -> bool {
        self.phase() == Phase::Retiring && self.active() == 0
    }

    pub(crate) fn requests(&self) -> Vec<RequestHandle> {
        match self {
            Self::H1(h1) => h1.requests(),
            Self::H2(h2) => h2.requests(),
        }
    }

    /// Returns the failure of its requests when the connection is lost.
    pub(crate) fn failure_on_loss(&self, kind: FailureKind) -> FailureKind {
        match self {
            Self::H1(_) => kind,
            Self::H2(h2) => h2.failure_on_loss(kind),
        }
    }

    /// Returns whether nothing from this position of the output on was written to the socket.
    pub(crate) fn is_unsent(&self, at: u64) -> bool {
        match self {
            Self::H1(h1) => h1.is_unsent(at),
            Self::H2(h2) => h2.is_unsent(at),
        }
    }

    pub(crate) fn has_output(&mut self) -> bool {
        match self {
            Self::H1(h1) => h1.has_output(),
            Self::H2(h2) => h2.has_output(),
        }
    }

    /// Reads from the socket, up to the budget of a turn, and queues the events.
    pub(crate) fn read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        events: &mut VecDeque<QueuedEvent>,
        counters: &mut Counters,
    ) -> Result<ReadEnd, FailureKind> {
        match self {
            Self::H1(h1) => h1.read(cx, now, events, counters),
            Self::H2(h2) => h2.read(cx, now, events, counters),
        }
    }

    /// Writes as much as the socket takes, and queues the events of streams that can send again.
    pub(crate) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut VecDeque<QueuedEvent>,
        counters: &mut Counters,
    ) -> Result<(), FailureKind> {
        match self {
            Self::H1(h1) => {
                h1.flush(cx, counters)?;
                h1.process_input(events)
            }
            Self::H2(h2) => {
                h2.flush(cx, counters)?;
                h2.process_input(events, counters)
            }
        }
    }

    /// Writes the connection error to the peer, without waiting.
    pub(crate) fn flush_last(&mut self, cx: &mut Context<'_>, counters: &mut Counters) {
        match self {
            Self::H1(_) => {}
            // The GOAWAY with the error is queued. Best effort: the connection is dropped next.
            Self::H2(h2) => drop(h2.flush(cx, counters)),
        }
    }

    /// Closes the connection gracefully, without waiting. The caller then drops it.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>, counters: &mut Counters) {
        match self {
            Self::H1(h1) => h1.close(cx),
            Self::H2(h2) => h2.close(cx, counters),
        }
    }

    /// Starts a new interval of the protocol's limit on useless frames.
    pub(crate) fn tick(&mut self) {
        match self {
            Self::H1(_) => {}
            Self::H2(h2) => h2.tick(),
        }
    }

    /// Sets the window of responses that were not resized, as soon as the protocol permits it.
    pub(crate) fn set_initial_window(&mut self, bytes: u32) {
        match self {
            Self::H1(h1) => h1.set_initial_window(bytes),
            Self::H2(h2) => h2.set_initial_window(bytes),
        }
    }

    /// Returns what is due at `now`.
    pub(crate) fn due(&self, options: &Options, now: Instant) -> Due {
        match self {
            Self::H1(h1) => h1.due(options, now),
            Self::H2(h2) => h2.due(options, now),
        }
    }

    /// Sends a keepalive PING, which only HTTP/2 has.
    pub(crate) fn ping(&mut self, now: Instant) {
        match self {
            Self::H1(_) => {}
            Self::H2(h2) => h2.ping(now),
        }
    }

    /// Frees buffers that are not in use.
    pub(crate) fn free_unused(&mut self) {
        match self {
            Self::H1(h1) => h1.free_unused(),
            Self::H2(h2) => h2.free_unused(),
        }
    }
}
