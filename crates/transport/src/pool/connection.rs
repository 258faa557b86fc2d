//! A connection to a backend. A further protocol is a further variant, with one arm in each operation.

use std::{collections::VecDeque, task::Context, time::Instant};

use bytes::Bytes;
use spooky_bridge::{
    h2::{SendRequestError, StreamId},
    message::{Fields, RequestHead, ResetReason},
};

use super::{
    h2::H2Connection,
    state::{Due, Phase, ReadEnd},
};
use crate::{counters::Counters, failure::FailureKind, handle::RequestHandle, options::Options, queued::QueuedEvent};

pub(crate) enum Connection {
    H2(Box<H2Connection>),
}

/// Identifies a request on its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    H2(StreamId),
}

/// Why a connection does not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// The connection takes no further request; another one may.
    NoCapacity,
    /// The head exceeds what the peer accepts.
    HeadersTooLarge,
    /// The request is an extended CONNECT, which the peer does not accept.
    NoExtendedConnect,
}

impl From<SendRequestError> for OpenError {
    fn from(refused: SendRequestError) -> Self {
        match refused {
            SendRequestError::HeadersTooLarge => Self::HeadersTooLarge,
            SendRequestError::NoExtendedConnect => Self::NoExtendedConnect,
            SendRequestError::StreamLimit
            | SendRequestError::Closing
            | SendRequestError::IdsUsedUp
            | SendRequestError::Backlogged => Self::NoCapacity,
        }
    }
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
            Self::H2(h2) => {
                let (stream, at) = h2.open(head, end, handle, now)?;
                Ok((Stream::H2(stream), at))
            }
        }
    }

    /// Returns how many body bytes a request can take. If 0, registers the stream: `QueuedEvent::Sendable` follows.
    pub(crate) fn want_send(&mut self, stream: Stream) -> usize {
        match (self, stream) {
            (Self::H2(h2), Stream::H2(stream)) => h2.want_send(stream),
        }
    }

    /// Sends as much of `data` as can be sent and leaves the rest in it. Returns the number of bytes taken.
    pub(crate) fn send_data(&mut self, stream: Stream, data: &mut Bytes, end: bool) -> usize {
        match (self, stream) {
            (Self::H2(h2), Stream::H2(stream)) => h2.send_data(stream, data, end),
        }
    }

    /// Ends a request with trailers. Returns false, and sends nothing, if they exceed what the peer accepts.
    pub(crate) fn send_trailers(&mut self, stream: Stream, fields: &Fields) -> bool {
        match (self, stream) {
            (Self::H2(h2), Stream::H2(stream)) => h2.send_trailers(stream, fields),
        }
    }

    /// Returns flow-control credit for `bytes` of a response.
    pub(crate) fn release(&mut self, stream: Stream, bytes: usize) {
        match (self, stream) {
            (Self::H2(h2), Stream::H2(stream)) => h2.release(stream, bytes),
        }
    }

    /// Sets the window of a response.
    pub(crate) fn resize(&mut self, stream: Stream, bytes: u32) {
        match (self, stream) {
            (Self::H2(h2), Stream::H2(stream)) => h2.resize(stream, bytes),
        }
    }

    /// Resets a request. Returns false if it has ended already.
    pub(crate) fn reset(&mut self, stream: Stream, reason: ResetReason) -> bool {
        match (self, stream) {
            (Self::H2(h2), Stream::H2(stream)) => h2.reset(stream, reason),
        }
    }
}

/// The connection as a whole.
impl Connection {
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::H2(h2) => h2.phase,
        }
    }

    /// Returns a text for the log if the peer speaks another protocol.
    pub(crate) fn protocol_mismatch(&self) -> Option<&'static str> {
        match self {
            Self::H2(h2) => h2.protocol_mismatch,
        }
    }

    /// Returns the number of requests on the connection.
    pub(crate) fn active(&self) -> usize {
        match self {
            Self::H2(h2) => h2.active(),
        }
    }

    /// Returns whether the connection takes another request.
    pub(crate) fn has_capacity(&self) -> bool {
        match self {
            Self::H2(h2) => h2.has_capacity(),
        }
    }

    /// Returns whether the connection takes no requests and has none.
    pub(crate) fn is_finished(&self) -> bool {
        self.phase() == Phase::Retiring && self.active() == 0
    }

    pub(crate) fn requests(&self) -> Vec<RequestHandle> {
        match self {
            Self::H2(h2) => h2.requests(),
        }
    }

    /// Returns the failure of its requests when the connection is lost.
    pub(crate) fn failure_on_loss(&self, kind: FailureKind) -> FailureKind {
        match self {
            Self::H2(h2) => h2.failure_on_loss(kind),
        }
    }

    /// Returns whether nothing from this position of the output on was written to the socket.
    pub(crate) fn is_unsent(&self, at: u64) -> bool {
        match self {
            Self::H2(h2) => h2.is_unsent(at),
        }
    }

    pub(crate) fn has_output(&mut self) -> bool {
        match self {
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
            Self::H2(h2) => {
                h2.flush(cx, counters)?;
                h2.process_input(events, counters)
            }
        }
    }

    /// Writes the connection error to the peer, without waiting.
    pub(crate) fn flush_last(&mut self, cx: &mut Context<'_>, counters: &mut Counters) {
        match self {
            // The GOAWAY with the error is queued. Best effort: the connection is dropped next.
            Self::H2(h2) => drop(h2.flush(cx, counters)),
        }
    }

    /// Closes the connection gracefully, without waiting. The caller then drops it.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>, counters: &mut Counters) {
        match self {
            Self::H2(h2) => h2.close(cx, counters),
        }
    }

    /// Starts a new interval of the protocol's limit on useless frames.
    pub(crate) fn tick(&mut self) {
        match self {
            Self::H2(h2) => h2.tick(),
        }
    }

    /// Sets the window of responses that were not resized, as soon as the protocol permits it.
    pub(crate) fn set_initial_window(&mut self, bytes: u32) {
        match self {
            Self::H2(h2) => h2.set_initial_window(bytes),
        }
    }

    /// Returns what is due at `now`.
    pub(crate) fn due(&self, options: &Options, now: Instant) -> Due {
        match self {
            Self::H2(h2) => h2.due(options, now),
        }
    }

    /// Sends a keepalive PING.
    pub(crate) fn ping(&mut self, now: Instant) {
        match self {
            Self::H2(h2) => h2.ping(now),
        }
    }

    /// Frees buffers that are not in use.
    pub(crate) fn free_unused(&mut self) {
        match self {
            Self::H2(h2) => h2.free_unused(),
        }
    }
}
