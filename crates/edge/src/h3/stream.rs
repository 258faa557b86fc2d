//! One request stream: the state of its receiving and sending half.

use super::unread::UnreadEstimate;
use crate::{
    backlog::{Backlog, Taken},
    body::Body,
};
use bytes::Bytes;
use quinn_proto::StreamId;
use spooky_bridge::{
    h3::{Code, RecvStream},
    message::check::BodyLength,
};
use std::time::Instant;

pub(crate) enum RecvState {
    /// The head is incomplete; overdue at `until`.
    Head { frames: RecvStream, until: Instant },
    /// The body, also after a refused head.
    Body { frames: RecvStream, rest: Bytes, length: BodyLength },
    /// Complete, or not wanted.
    Done,
}

pub(crate) enum SendState {
    Open,
    /// Ended by the exchange; part of it is in the backlog.
    Ending,
    /// Accepted by quinn-proto completely, or reset.
    Done,
}

pub(crate) struct Stream {
    pub(crate) id: StreamId,
    pub(crate) tag: Option<u64>,
    pub(crate) recv_state: RecvState,
    pub(crate) send_state: SendState,
    pub(crate) body: Body,
    pub(crate) backlog: Backlog,
    /// The upload may go on after the response has ended.
    pub(crate) is_tunnel: bool,
    /// The exchange has not taken the final `Sent` or `Aborted` event, which needs the tag.
    pub(crate) is_last_event_waiting: bool,
    /// Bytes of the body that quinn-proto may buffer.
    pub(crate) unread: UnreadEstimate,
}

impl Stream {
    /// Creates a stream whose request head must be complete at `until`.
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

    /// Returns whether the stream can be removed.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.recv_state, RecvState::Done)
            && matches!(self.send_state, SendState::Done)
            && !self.is_last_event_waiting
    }

    pub(crate) fn has_unsent(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Writes the backlog. Returns how many bytes quinn-proto accepted.
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

    /// Ends the sending half. Except in a tunnel, it also stops an upload that goes on (RFC 9114 section 4.1).
    pub(crate) fn end(&mut self, quic: &mut quinn_proto::Connection) {
        self.send_state = SendState::Done;
        let _stopped = quic.send_stream(self.id).finish(); // fails only if the client has stopped the stream
        if !self.is_tunnel {
            self.stop(quic, Code::NO_ERROR);
        }
    }

    /// Sends `STOP_SENDING` if the request is incomplete.
    pub(crate) fn stop(&mut self, quic: &mut quinn_proto::Connection, code: Code) {
        if !matches!(self.recv_state, RecvState::Done) {
            self.recv_state = RecvState::Done;
            let _closed = quic.recv_stream(self.id).stop(varint(code)); // fails only if its end has been read
        }
    }

    pub(crate) fn reset(&mut self, quic: &mut quinn_proto::Connection, code: Code) {
        self.backlog.clear();
        self.send_state = SendState::Done;
        let _closed = quic.send_stream(self.id).reset(varint(code)); // fails only if it was reset before
        self.stop(quic, code);
    }
}

pub(crate) fn varint(code: Code) -> quinn_proto::VarInt {
    quinn_proto::VarInt::from_u64(code.0).unwrap_or_default()
}
