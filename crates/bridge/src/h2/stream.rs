//! The open streams of a connection and how to find them by number without hashing.

use super::{
    StreamId,
    flow::{ReceiveWindow, SendWindow},
};
use crate::message::{Method, check::BodyLength};

/// How far the response is.
#[derive(Debug)]
pub(super) enum Response {
    /// The head is still to come; so many interim ones came.
    Head { interim: u8 },
    /// The head came, the body is under way.
    Body(BodyLength),
    /// The head came and is all of the message (RFC 9110 6.4.1): only its end, or trailers, may follow.
    Bodiless,
    /// It is complete.
    Done,
}

/// How far the request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// More may be sent.
    Open,
    /// `END_STREAM` was sent.
    Done,
}

/// Whether the owner waits to send more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// It does not.
    No,
    /// For the window of the stream.
    Window,
    /// In the queue for the connection's window and room in the output.
    Turn,
}

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) tag: u64,
    pub(super) method: Method,
    pub(super) request: Request,
    pub(super) response: Response,
    pub(super) waiting: Waiting,
    pub(super) send_window: SendWindow,
    pub(super) receive_window: ReceiveWindow,
}

impl Stream {
    /// Whether the window has room for all that is missing of a body of known length. The peer then needs no more credit.
    pub(super) fn rest_fits(&self) -> bool {
        matches!(self.response, Response::Body(BodyLength::Missing(rest)) if rest <= u64::from(self.receive_window.left()))
    }

    /// Whether both sides are done.
    pub(super) fn is_complete(&self) -> bool {
        self.request == Request::Done && matches!(self.response, Response::Done)
    }
}

/// A place in the index: the stream's number, 0 for none, and where it lies.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    id: u32,
    at: u32,
}

/// Fewest slots of the index; a power of two.
const MIN_SLOTS: usize = 32;

/// The open streams, in no order. The index is an open-addressed table; as numbers grow by two, `id / 2` spreads
/// them perfectly until some streams live long.
#[derive(Debug)]
pub(super) struct Streams {
    streams: Vec<Stream>,
    /// At most half full, its length a power of two.
    index: Vec<Slot>,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { streams: Vec::new(), index: vec![Slot::default(); MIN_SLOTS] }
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

    /// Adds a stream whose number is not there yet.
    pub(super) fn insert(&mut self, stream: Stream) {
        if (self.streams.len() + 1) * 2 > self.index.len() {
            self.grow();
        }
        place(&mut self.index, Slot { id: stream.id.0, at: self.streams.len() as u32 });
        self.streams.push(stream);
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let (slot, at) = self.find(id.0)?;
        self.vacate(slot);
        let removed = (at < self.streams.len()).then(|| self.streams.swap_remove(at));
        if let Some(moved) = self.streams.get(at).map(|stream| stream.id.0)
            && let Some((slot, _)) = self.find(moved)
            && let Some(slot) = self.index.get_mut(slot)
        {
            slot.at = at as u32;
        }
        removed
    }

    /// The slot of a number, and where its stream lies.
    fn find(&self, id: u32) -> Option<(usize, usize)> {
        let mask = self.index.len() - 1;
        let mut slot = home(id, mask);
        for distance in 0.. {
            let found = self.index.get(slot)?;
            if found.id == id && id != 0 {
                return Some((slot, found.at as usize));
            }
            if found.id == 0 || distance_of(found.id, slot, mask) < distance {
                return None; // it would be here
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// Empties a slot and moves those behind it that are not at home one nearer.
    fn vacate(&mut self, mut hole: usize) {
        let mask = self.index.len() - 1;
        loop {
            let next = (hole + 1) & mask;
            let candidate = self.index.get(next).copied().unwrap_or_default();
            let stays = candidate.id == 0 || distance_of(candidate.id, next, mask) == 0;
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
            place(&mut index, Slot { id: stream.id.0, at: at as u32 });
        }
        self.index = index;
    }
}

fn home(id: u32, mask: usize) -> usize {
    (id >> 1) as usize & mask
}

/// How far behind its home a number lies.
fn distance_of(id: u32, slot: usize, mask: usize) -> usize {
    slot.wrapping_sub(home(id, mask)) & mask
}

/// Puts a slot at its home or behind it, before those that are nearer to theirs: so runs stay in the order of homes, and
/// neither a search nor a removal has to walk a whole run, which here is all streams in flight.
fn place(index: &mut [Slot], mut slot: Slot) {
    let mask = index.len() - 1;
    let mut at = home(slot.id, mask);
    let mut distance = 0;
    while let Some(there) = index.get_mut(at) {
        if there.id == 0 {
            *there = slot;
            return;
        }
        let theirs = distance_of(there.id, at, mask);
        if theirs < distance {
            std::mem::swap(there, &mut slot);
            distance = theirs;
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
            request: Request::Done,
            response: Response::Head { interim: 0 },
            waiting: Waiting::No,
            send_window: SendWindow::new(0),
            receive_window: ReceiveWindow::new(0),
        }
    }

    /// Against a plain map, with streams that live long and so make the index collide.
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
