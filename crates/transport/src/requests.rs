//! The table of active requests. Maps a handle to the stream on a connection and to the caller's tag.
//!
//! An entry is removed when the event that ends the request is delivered, or when the caller resets the request.

use std::time::Instant;

use spooky_bridge::message::RequestHead;
use spooky_table::Table;

use crate::{
    handle::{BackendId, RequestHandle, SlotKey},
    pool::Stream,
};

/// A request in the queue of an origin.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) backend: BackendId,
    pub(crate) origin: usize,
    pub(crate) head: RequestHead,
    /// True if the request has no body.
    pub(crate) end: bool,
    pub(crate) since: Instant,
}

#[derive(Debug)]
pub(crate) enum RequestState {
    /// Neither queued nor sent; only within one call.
    Unassigned,
    Waiting(Box<Waiting>),
    /// Sent on a connection, which may be gone before the failure is delivered.
    Stream {
        connection: SlotKey,
        stream: Stream,
        /// Position of its head in the output of the connection.
        at: u64,
    },
}

#[derive(Debug)]
pub(crate) struct Entry {
    /// The caller's number for the request.
    pub(crate) tag: u64,
    pub(crate) state: RequestState,
    /// The whole request was sent.
    pub(crate) sent_all: bool,
    /// The head of the response was delivered.
    pub(crate) head_received: bool,
    /// The whole response was delivered.
    pub(crate) received_all: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Requests {
    entries: Table<Entry>,
}

impl Requests {
    pub(crate) fn insert(&mut self, tag: u64, state: RequestState, sent_all: bool) -> RequestHandle {
        let entry = Entry { tag, state, sent_all, head_received: false, received_all: false };
        RequestHandle(self.entries.insert(entry))
    }

    pub(crate) fn get(&self, handle: RequestHandle) -> Option<&Entry> {
        self.entries.get(handle.0)
    }

    pub(crate) fn get_mut(&mut self, handle: RequestHandle) -> Option<&mut Entry> {
        self.entries.get_mut(handle.0)
    }

    pub(crate) fn remove(&mut self, handle: RequestHandle) -> Option<Entry> {
        self.entries.remove(handle.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
