//! One request of a TCP client: what was received of it, and what of its response waits for the connection.

use super::body_queue::BodyQueue;
use crate::{
    backlog::Backlog,
    event::{Event, EventKind, StreamRef},
};
use spooky_bridge::message::Fields;
use spooky_table::Handle;

pub(super) enum SendState {
    Open,
    /// Ended by the exchange; part of it, and then the trailers, wait.
    Ending(Option<Box<Fields>>),
    /// The connection has taken all of it, or it was reset.
    Done,
}

/// `I` identifies the stream in its protocol.
pub(super) struct Stream<I> {
    pub(super) id: I,
    tag: Option<u64>,
    pub(super) body: BodyQueue,
    /// The exchange has read the whole request, or cannot read more.
    pub(super) is_read: bool,
    pub(super) send_state: SendState,
    pub(super) backlog: Backlog,
    /// The directions end one by one.
    pub(super) is_tunnel: bool,
    /// The exchange has not taken the final `Sent` or `Aborted` event, which needs the tag.
    pub(super) is_last_event_waiting: bool,
}

impl<I> Stream<I> {
    /// Creates a stream whose head was received; with `end` there is no body.
    pub(super) fn new(id: I, end: bool) -> Self {
        Self {
            id,
            tag: None,
            body: if end { BodyQueue::none() } else { BodyQueue::default() },
            is_read: end,
            send_state: SendState::Open,
            backlog: Backlog::default(),
            is_tunnel: false,
            is_last_event_waiting: false,
        }
    }

    pub(super) fn set_tag(&mut self, tag: u64) {
        self.tag = Some(tag);
    }

    /// Adds the tag to an event that the exchange takes now. Returns whether the stream can be removed then.
    pub(super) fn on_taken(&mut self, event: &mut Event) -> bool {
        event.tag = self.tag;
        if matches!(event.kind, EventKind::Sent | EventKind::Aborted(_)) {
            self.is_last_event_waiting = false;
        }
        self.is_over()
    }

    /// Returns whether the stream can be removed.
    pub(super) fn is_over(&self) -> bool {
        self.is_read && matches!(self.send_state, SendState::Done) && !self.is_last_event_waiting
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.backlog.is_empty() || matches!(self.send_state, SendState::Ending(_))
    }

    /// Stops both directions.
    pub(super) fn close(&mut self) {
        self.body.clear();
        self.is_read = true;
        self.backlog.clear();
        self.send_state = SendState::Done;
    }
}

/// Refers to a stream of a connection.
pub(super) fn reference(conn: Handle, stream: Handle) -> StreamRef {
    StreamRef { conn, stream }
}
