//! The open streams of a connection, found by identifier without hashing.

use super::{
    StreamId,
    flow::{ReceiveWindow, SendWindow},
};
use crate::message::{Method, check::BodyLength};

/// What was received of the peer's message.
#[derive(Debug)]
pub(super) enum RecvState {
    /// Waiting for the head, after this number of interim heads. A server's streams begin with the head.
    Head {
        interim: u8,
    },
    Body(BodyLength),
    /// The response ends with its head (RFC 9110 6.4.1): only an empty DATA frame with `END_STREAM`, or trailers, may
    /// follow.
    Bodiless,
    /// CONNECT: only DATA may follow (RFC 9113 8.5).
    Tunnel,
    /// The response has ended before the request. What still arrives of the request is dropped.
    Unwanted,
    Done,
}

/// What was sent of this side's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendState {
    /// A server has not sent its final head.
    Head,
    Body,
    /// The response has no body (RFC 9110 6.4.1): its bytes are dropped.
    Bodiless,
    /// `END_STREAM` was sent.
    Done,
}

/// What a stream waits for whose owner has more to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SendWait {
    None,
    StreamWindow,
    /// The connection window and space in the output; the stream is in the send queue.
    Queued,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) tag: u64,
    pub(super) method: Method,
    pub(super) send: SendState,
    pub(super) recv: RecvState,
    pub(super) waiting: SendWait,
    pub(super) send_window: SendWindow,
    pub(super) receive_window: ReceiveWindow,
}

impl Stream {
    /// Returns whether the window covers the rest of a body of known length. The peer then needs no more credit.
    pub(super) fn window_covers_rest(&self) -> bool {
        matches!(self.recv, RecvState::Body(BodyLength::Missing(rest)) if rest <= u64::from(self.receive_window.left()))
    }
}

/// A slot of the index: a stream identifier (0 if empty) and the position of its stream.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    id: u32,
    at: u32,
}

/// Number of slots above which an empty table is freed.
const KEEP_SLOTS: usize = 256;
/// Minimum number of slots, a power of two.
const MIN_SLOTS: usize = 32;

/// The open streams, unordered. The index is an open-addressing hash table with Robin Hood insertion; as identifiers
/// grow by two, `id / 2` avoids collisions until some streams live long.
#[derive(Debug)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    /// At most half full; its length is a power of two.
    index: Vec<Slot>,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { streams: Vec::new(), index: vec![Slot::default(); MIN_SLOTS] }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.streams.capacity() * size_of::<Stream>() + self.index.capacity() * size_of::<Slot>()
    }

    pub(super) fn len(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Stream> {
        self.streams.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Stream> {
        self.streams.iter_mut()
    }

    pub(super) fn get(&self, id: StreamId) -> Option<&Stream> {
        let (_, at) = self.find(id.0)?;
        self.streams.get(at)
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        let (_, at) = self.find(id.0)?;
        self.streams.get_mut(at)
    }

    /// Adds a stream, whose identifier must be new.
    pub(super) fn insert(&mut self, stream: Stream) {
        if (self.streams.len() + 1) * 2 > self.index.len() {
            self.grow();
        }
        insert_slot(&mut self.index, Slot { id: stream.id.0, at: self.streams.len() as u32 });
        self.streams.push(stream);
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let (slot, at) = self.find(id.0)?;
        self.clear_slot(slot);
        let removed = (at < self.streams.len()).then(|| self.streams.swap_remove(at));
        if self.streams.is_empty() && self.index.len() > KEEP_SLOTS {
            *self = Self::new();
            return removed;
        }
        if let Some(moved) = self.streams.get(at).map(|stream| stream.id.0)
            && let Some((slot, _)) = self.find(moved)
            && let Some(slot) = self.index.get_mut(slot)
        {
            slot.at = at as u32;
        }
        removed
    }

    /// Returns the slot of an identifier and the position of its stream.
    fn find(&self, id: u32) -> Option<(usize, usize)> {
        let mask = self.index.len() - 1;
        let mut slot = ideal_slot(id, mask);
        for distance in 0.. {
            let found = self.index.get(slot)?;
            if found.id == id && id != 0 {
                return Some((slot, found.at as usize));
            }
            if found.id == 0 || probe_distance(found.id, slot, mask) < distance {
                return None; // it would be here
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// Empties a slot and moves each following entry that is not in its ideal slot one back.
    fn clear_slot(&mut self, mut hole: usize) {
        let mask = self.index.len() - 1;
        loop {
            let next = (hole + 1) & mask;
            let candidate = self.index.get(next).copied().unwrap_or_default();
            let stays = candidate.id == 0 || probe_distance(candidate.id, next, mask) == 0;
            if let Some(slot) = self.index.get_mut(hole) {
                *slot = if stays { Slot::default() } else { candidate };
            }
            if stays {
                return;
            }
            hole = next;
        }
    }

    fn grow(&mut self) {
        let mut index = vec![Slot::default(); self.index.len() * 2];
        for (at, stream) in self.streams.iter().enumerate() {
            insert_slot(&mut index, Slot { id: stream.id.0, at: at as u32 });
        }
        self.index = index;
    }
}

fn ideal_slot(id: u32, mask: usize) -> usize {
    (id >> 1) as usize & mask
}

/// Returns the distance of an entry from its ideal slot.
fn probe_distance(id: u32, slot: usize, mask: usize) -> usize {
    slot.wrapping_sub(ideal_slot(id, mask)) & mask
}

/// Inserts an entry at or after its ideal slot, before entries that are closer to theirs. Runs stay ordered by ideal
/// slot, so neither a search nor a removal walks a whole run, which here would be all streams in flight.
fn insert_slot(index: &mut [Slot], mut slot: Slot) {
    let mask = index.len() - 1;
    let mut at = ideal_slot(slot.id, mask);
    let mut distance = 0;
    while let Some(occupant) = index.get_mut(at) {
        if occupant.id == 0 {
            *occupant = slot;
            return;
        }
        let occupant_distance = probe_distance(occupant.id, at, mask);
        if occupant_distance < distance {
            std::mem::swap(occupant, &mut slot);
            distance = occupant_distance;
        }
        at = (at + 1) & mask;
        distance += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(id: u32) -> Stream {
        Stream {
            id: StreamId(id),
            tag: u64::from(id) * 10,
            method: Method::Get,
            send: SendState::Done,
            recv: RecvState::Head { interim: 0 },
            waiting: SendWait::None,
            send_window: SendWindow::new(0),
            receive_window: ReceiveWindow::new(0),
        }
    }

    /// Compares with a `BTreeMap`; long-lived streams make the index collide.
    #[test]
    fn streams_are_found_whatever_was_removed() {
        let mut seed = 0x1234_5678_9abc_def1_u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let mut model = std::collections::BTreeMap::new();
        let mut streams = Streams::new();
        let mut next = 1;
        for _ in 0..20_000 {
            if model.len() < 70 && random() % 2 == 0 {
                streams.insert(stream(next));
                model.insert(next, u64::from(next) * 10);
                next += 2;
            } else if let Some(id) = model.keys().copied().nth(random() as usize % model.len().max(1)) {
                assert_eq!(streams.remove(StreamId(id)).map(|stream| stream.tag), model.remove(&id));
                assert!(streams.remove(StreamId(id)).is_none());
            }
            assert_eq!(streams.len(), model.len());
            let probe = (random() % u64::from(next + 2)) as u32;
            assert_eq!(streams.get(StreamId(probe)).map(|stream| stream.tag), model.get(&probe).copied());
        }
        for (id, tag) in model {
            assert_eq!(streams.get_mut(StreamId(id)).map(|stream| stream.tag), Some(tag));
        }
        assert!(streams.index.len() <= 256);
    }
}
