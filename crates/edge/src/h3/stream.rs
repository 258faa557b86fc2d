//! One request stream: the receiving half with its head and body, the sending half with what QUIC has not taken yet.

use super::{
    backlog::{Backlog, Taken},
    unread::UnreadEstimate,
};
use bytes::Bytes;
use quinn_proto::StreamId;
use spooky_bridge::{
    h3::{Code, RecvStream},
    message::check::BodyLength,
};
use std::time::Instant;

/// How the body of a response is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    None,
    /// Exactly so many bytes: one DATA frame is announced with the head and the bytes follow as they come.
    Known(u64),
    /// Unknown: each chunk is a DATA frame.
    Chunked,
}

/// The longest payload that a frame can announce (RFC 9000 16).
const MAX_FRAME: u64 = (1 << 62) - 1;

impl Body {
    /// A body of which `content-length` is known, or not. One that no frame can announce goes in several.
    pub fn of(content_length: Option<u64>) -> Self {
        match content_length {
            Some(length @ ..=MAX_FRAME) => Self::Known(length),
            Some(_) | None => Self::Chunked,
        }
    }
}

/// Where the request is.
pub(crate) enum RecvState {
    /// The head is not complete; when it is overdue.
    Head { frames: RecvStream, until: Instant },
    /// The body, or what follows a head that was refused.
    Body { frames: RecvStream, rest: Bytes, length: BodyLength },
    /// Its end was seen, or it is not wanted.
    Done,
}

/// Where the response is.
pub(crate) enum SendState {
    /// Not ended yet.
    Open,
    /// Ended by the exchange; QUIC has not taken all of it.
    Ending,
    /// QUIC has all of it, or the stream was reset.
    Done,
}

/// A request stream.
pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) tag: Option<u64>,
    pub(crate) recv_state: RecvState,
    pub(crate) send_state: SendState,
    pub(crate) body: Body,
    pub(super) backlog: Backlog,
    /// The end of the response does not end the upload.
    pub(crate) is_tunnel: bool,
    /// `Sent` or `Aborted` waits to be taken, and must then find the tag.
    pub(crate) is_last_event_waiting: bool,
    /// What QUIC may hold of the body.
    pub(crate) unread: UnreadEstimate,
}

impl Stream {
    /// A stream whose request head must be complete at `until`.
    pub(crate) fn new(id: StreamId, until: Instant) -> Self {
        Self {
            id,
            tag: None,
            recv_state: RecvState::Head { frames: RecvStream::new(), until },
            send_state: SendState::Open,
            body: Body::None,
            backlog: Backlog::default(),
            is_tunnel: false,
            is_last_event_waiting: false,
            unread: UnreadEstimate::default(),
        }
    }

    /// Nothing more can happen on it, and nothing of it waits to be told.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.recv_state, RecvState::Done)
            && matches!(self.send_state, SendState::Done)
            && !self.is_last_event_waiting
    }

    /// Whether bytes wait for QUIC to take them.
    pub(crate) fn has_unsent(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Gives QUIC what waits, and says how much it took.
    pub(super) fn write_backlog(&mut self, quic: &mut quinn_proto::Connection) -> Taken {
        let taken = self.backlog.write(|bytes| {
            // Blocked: `Writable` follows. Stopped: its own event follows.
            quic.send_stream(self.id).write_chunks(std::slice::from_mut(bytes)).ok().map(|written| written.bytes)
        });
        if self.backlog.is_empty() && matches!(self.send_state, SendState::Ending) {
            self.end(quic);
        }
        taken
    }

    /// Ends the sending half: all is with QUIC. An upload that goes on is not wanted any more (RFC 9114 4.1), save in a
    /// tunnel.
    pub(crate) fn end(&mut self, quic: &mut quinn_proto::Connection) {
        self.send_state = SendState::Done;
        let _stopped = quic.send_stream(self.id).finish(); // fails only if the client has stopped the stream
        if !self.is_tunnel {
            self.stop(quic, Code::NO_ERROR);
        }
    }

    /// Asks the client to send no more.
    pub(crate) fn stop(&mut self, quic: &mut quinn_proto::Connection, code: Code) {
        if !matches!(self.recv_state, RecvState::Done) {
            self.recv_state = RecvState::Done;
            let _closed = quic.recv_stream(self.id).stop(varint(code)); // fails only if its end has been read
        }
    }

    /// Resets both halves.
    pub(crate) fn reset(&mut self, quic: &mut quinn_proto::Connection, code: Code) {
        self.backlog.clear();
        self.send_state = SendState::Done;
        let _closed = quic.send_stream(self.id).reset(varint(code)); // fails only if it was reset before
        self.stop(quic, code);
    }
}

/// An error code as QUIC carries it.
pub(crate) fn varint(code: Code) -> quinn_proto::VarInt {
    quinn_proto::VarInt::from_u64(code.0).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_what_a_frame_can_say_is_not_said() {
        for (length, body) in [
            (None, Body::Chunked),
            (Some(0), Body::Known(0)),
            (Some(MAX_FRAME), Body::Known(MAX_FRAME)),
            (Some(MAX_FRAME + 1), Body::Chunked),
            (Some(u64::MAX), Body::Chunked),
        ] {
            assert_eq!(Body::of(length), body);
        }
    }
}
