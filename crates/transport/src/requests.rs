//! The table of running requests: from the handle of the exchange to the stream on a connection, and back by tag.
//!
//! An entry lives from `request` until the owner was told the end of it, or ended it itself; an old handle then finds
//! nothing. Used by `transport` and `pool`.

use std::time::Instant;

use spooky_bridge::message::RequestHead;
use spooky_table::Table;

use crate::{
    handle::{RequestHandle, SlotKey},
    pool::Stream,
};

/// A request that is on no connection yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    /// The origin in whose queue it stands.
    pub(crate) origin: usize,
    pub(crate) head: RequestHead,
    /// The request has no body.
    pub(crate) end: bool,
    pub(crate) since: Instant,
}

/// Where a request is.
#[derive(Debug)]
pub(crate) enum Place {
    /// Nowhere, for the moment of its being moved.
    Unplaced,
    /// In the queue of its origin.
    Waiting(Box<Waiting>),
    /// On a connection, which may be gone while the failure is on its way to the owner.
    Stream {
        connection: SlotKey,
        stream: Stream,
        /// Position of its head in the output of the connection.
        at: u64,
    },
}

/// A running request.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The owner's number.
    pub(crate) tag: u64,
    pub(crate) place: Place,
    /// The request is complete.
    pub(crate) sent_all: bool,
    /// The owner has the head of the response.
    pub(crate) head_received: bool,
    /// The owner has the whole response.
    pub(crate) received_all: bool,
}

/// All running requests of a worker.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    entries: Table<Entry>,
}

impl Requests {
    /// Adds a request.
    pub(crate) fn insert(&mut self, tag: u64, place: Place, sent_all: bool) -> RequestHandle {
        let entry = Entry { tag, place, sent_all, head_received: false, received_all: false };
        RequestHandle(self.entries.insert(entry))
    }

    /// The request, unless it has ended.
    pub(crate) fn get(&self, handle: RequestHandle) -> Option<&Entry> {
        self.entries.get(handle.0)
    }

    /// The request, unless it has ended.
    pub(crate) fn get_mut(&mut self, handle: RequestHandle) -> Option<&mut Entry> {
        self.entries.get_mut(handle.0)
    }

    /// Ends the request.
    pub(crate) fn remove(&mut self, handle: RequestHandle) -> Option<Entry> {
        self.entries.remove(handle.0)
    }

    /// Number of running requests.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
