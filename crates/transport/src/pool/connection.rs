//! A connection to a backend, whatever it speaks. Another protocol is another variant, and an arm in each operation.

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
use crate::{counters::Counters, failure::FailureKind, handle::RequestHandle, options::Options, queued::Queued};

/// A connection to a backend.
pub(crate) enum Connection {
    /// It speaks HTTP/2.
    H2(Box<H2Connection>),
}

/// Names a request on its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    /// A stream of HTTP/2.
    H2(StreamId),
}

/// Why a connection does not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// Another connection may take it.
    NoRoom,
    /// Its head exceeds what the peer accepts.
    HeadersTooLarge,
}

impl From<SendRequestError> for NotTaken {
    fn from(refused: SendRequestError) -> Self {
        match refused {
            SendRequestError::HeadersTooLarge => Self::HeadersTooLarge,
            SendRequestError::StreamLimit
            | SendRequestError::Closing
            | SendRequestError::IdsUsedUp
            | SendRequestError::Backlogged => Self::NoRoom,
        }
    }
}

/// Requests and their bodies. A stream must be of this connection.
impl Connection {
    /// Puts a request on the connection. Returns the stream and the position of its head in the output.
    pub(crate) fn open(
        &mut self,
        head: &RequestHead,
        end: bool,
        handle: RequestHandle,
        now: Instant,
    ) -> Result<(Stream, u64), NotTaken> {
        match self {
            Self::H2(h2) => {
                let (stream, at) = h2.open(head, end, handle, now)?;
                Ok((Stream::H2(stream), at))
            }
        }
    }

    /// Bytes of body that a request can take. If none, `Queued::Sendable` follows when that has changed.
    pub(crate) fn sendable(&mut self, stream: Stream) -> usize {
        match (self, stream) {
            (Self::H2(h2), Stream::H2(stream)) => h2.sendable(stream),
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

    /// Gives credit for so many further bytes of a response.
    pub(crate) fn release(&mut self, stream: Stream, bytes: usize) {
        match (self, stream) {
            (Self::H2(h2), Stream::H2(stream)) => h2.release(stream, bytes),
        }
    }

    /// Sets how many bytes of a response may be under way.
    pub(crate) fn resize(&mut self, stream: Stream, bytes: u32) {
        match (self, stream) {
            (Self::H2(h2), Stream::H2(stream)) => h2.resize(stream, bytes),
        }
    }

    /// Ends a request early. Returns false if it had ended already.
    pub(crate) fn reset(&mut self, stream: Stream, reason: ResetReason) -> bool {
        match (self, stream) {
            (Self::H2(h2), Stream::H2(stream)) => h2.reset(stream, reason),
        }
    }
}

/// The connection as a whole.
impl Connection {
    /// What it is good for.
    pub(crate) fn phase(&self) -> Phase {
        match self {
            Self::H2(h2) => h2.phase,
        }
    }

    /// What the peer speaks instead of what was expected, in the operator's words.
    pub(crate) fn foreign(&self) -> Option<&'static str> {
        match self {
            Self::H2(h2) => h2.foreign,
        }
    }

    /// Number of requests on it.
    pub(crate) fn active(&self) -> usize {
        match self {
            Self::H2(h2) => h2.active(),
        }
    }

    /// Whether it takes another request.
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Self::H2(h2) => h2.has_room(),
        }
    }

    /// Whether it has become useless: it takes no requests and has none.
    pub(crate) fn is_spent(&self) -> bool {
        self.phase() == Phase::Retiring && self.active() == 0
    }

    /// The requests on it.
    pub(crate) fn requests(&self) -> Vec<RequestHandle> {
        match self {
            Self::H2(h2) => h2.requests(),
        }
    }

    /// What the loss of the connection means to its requests.
    pub(crate) fn loss(&self, kind: FailureKind) -> FailureKind {
        match self {
            Self::H2(h2) => h2.loss(kind),
        }
    }

    /// Whether no byte of what was queued at this position was given to the socket.
    pub(crate) fn is_unsent(&self, at: u64) -> bool {
        match self {
            Self::H2(h2) => h2.is_unsent(at),
        }
    }

    /// Whether it has something to write.
    pub(crate) fn has_output(&mut self) -> bool {
        match self {
            Self::H2(h2) => h2.has_output(),
        }
    }

    /// Reads what the socket has, as far as the budget of a turn goes, and queues what it means.
    pub(crate) fn read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        events: &mut VecDeque<Queued>,
        counters: &mut Counters,
    ) -> Result<ReadEnd, FailureKind> {
        match self {
            Self::H2(h2) => h2.read(cx, now, events, counters),
        }
    }

    /// Writes as much as the socket takes, and queues what the room that this made means.
    pub(crate) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        events: &mut VecDeque<Queued>,
        counters: &mut Counters,
    ) -> Result<(), FailureKind> {
        match self {
            Self::H2(h2) => {
                h2.flush(cx, counters)?;
                h2.digest(events, counters)
            }
        }
    }

    /// Writes the reason for which it is given up, as far as the socket takes it at once.
    pub(crate) fn flush_last(&mut self, cx: &mut Context<'_>, counters: &mut Counters) {
        match self {
            // The GOAWAY that says why is queued; whether it arrives is up to the peer.
            Self::H2(h2) => drop(h2.flush(cx, counters)),
        }
    }

    /// Ends the connection in order, as far as the socket takes that at once. It is dropped afterwards.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>, counters: &mut Counters) {
        match self {
            Self::H2(h2) => h2.close(cx, counters),
        }
    }

    /// A deadline of the connection has come.
    pub(crate) fn tick(&mut self) {
        match self {
            Self::H2(h2) => h2.tick(),
        }
    }

    /// Sets how many bytes of each response may be under way that was not resized. Returns false if that is not possible yet,
    /// and has to be tried again.
    pub(crate) fn set_initial_window(&mut self, bytes: u32) -> bool {
        match self {
            Self::H2(h2) => h2.set_initial_window(bytes),
        }
    }

    /// What is due at `now`.
    pub(crate) fn due(&self, options: &Options, now: Instant) -> Due {
        match self {
            Self::H2(h2) => h2.due(options, now),
        }
    }

    /// Asks the peer for a sign of life.
    pub(crate) fn ping(&mut self, now: Instant) {
        match self {
            Self::H2(h2) => h2.ping(now),
        }
    }

    /// Frees what it holds and does not need while it is idle.
    pub(crate) fn free_unused(&mut self) {
        match self {
            Self::H2(h2) => h2.free_unused(),
        }
    }
}
