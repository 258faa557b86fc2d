//! The table of running requests: from the handle of the exchange to the stream on a connection, and back by tag.
//!
//! An entry lives from `request` until the owner was told the end of it, or ended it itself; an old handle then finds
//! nothing. Used by `transport` and `pool`.

use std::time::Instant;

use slab::Slab;
use spooky_bridge::{h2::StreamId, message::RequestHead};

use crate::handle::{RequestHandle, SlotKey};

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
        stream: StreamId,
        /// Position of its head in the output of the connection.
        at: u64,
    },
}

/// A running request.
#[derive(Debug)]
pub(crate) struct Entry {
    generation: u32,
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
    entries: Slab<Entry>,
    generation: u32,
}

impl Requests {
    /// Adds a request.
    pub(crate) fn insert(&mut self, tag: u64, place: Place, sent_all: bool) -> RequestHandle {
        self.generation = self.generation.wrapping_add(1);
        let entry =
            Entry { generation: self.generation, tag, place, sent_all, head_received: false, received_all: false };
        RequestHandle { index: self.entries.insert(entry) as u32, generation: self.generation }
    }

    /// The request, unless it has ended.
    pub(crate) fn get(&self, handle: RequestHandle) -> Option<&Entry> {
        self.entries.get(handle.index as usize).filter(|entry| entry.generation == handle.generation)
    }

    /// The request, unless it has ended.
    pub(crate) fn get_mut(&mut self, handle: RequestHandle) -> Option<&mut Entry> {
        self.entries.get_mut(handle.index as usize).filter(|entry| entry.generation == handle.generation)
    }

    /// Ends the request.
    pub(crate) fn remove(&mut self, handle: RequestHandle) -> Option<Entry> {
        self.get(handle)?;
        self.entries.try_remove(handle.index as usize)
    }

    /// Number of running requests.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_handle_does_not_find_the_next_request() {
        let mut requests = Requests::default();
        let first = requests.insert(1, Place::Unplaced, true);
        assert_eq!(RequestHandle::from_wire(first.to_wire()), first);
        assert!(requests.remove(first).is_some());
        let second = requests.insert(2, Place::Unplaced, true);
        assert_eq!(first.index, second.index);
        assert!(requests.get(first).is_none() && requests.remove(first).is_none());
        assert_eq!(requests.get(second).map(|entry| entry.tag), Some(2));
        assert_eq!(requests.len(), 1);
    }
}
