//! The dynamic table (RFC 7541 2.3.2): newest entry first, the oldest leave when room is needed.
//!
//! All entries lie in one arena, oldest first. New ones are appended, the dead start is cut off when it has grown to the
//! size of the table, so that an insertion costs one copy of its bytes and no allocation.

use std::collections::VecDeque;

use super::ENTRY_OVERHEAD;
use crate::message::{Known, Name};

/// Where an entry lies in the arena: the name's bytes (none for a known name), then the value's.
#[derive(Debug)]
struct Entry {
    known: Option<Known>,
    start: usize,
    name_len: usize,
    value_len: usize,
}

impl Entry {
    /// What it counts (RFC 7541 4.1).
    fn size(&self) -> usize {
        self.known.map_or(self.name_len, |known| known.as_bytes().len()) + self.value_len + ENTRY_OVERHEAD
    }
}

/// A dynamic table.
#[derive(Debug)]
pub(super) struct Table {
    arena: Vec<u8>,
    /// Oldest first.
    entries: VecDeque<Entry>,
    size: usize,
    max_size: usize,
    /// Entries inserted since the beginning, modulo 2^32.
    inserted: u32,
}

impl Table {
    pub(super) fn new(max_size: usize) -> Self {
        Self { arena: Vec::new(), entries: VecDeque::new(), size: 0, max_size, inserted: 0 }
    }

    pub(super) fn max_size(&self) -> usize {
        self.max_size
    }

    /// Number of entries.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Entries inserted since the beginning, modulo 2^32: the number of the next one.
    pub(super) fn inserted(&self) -> u32 {
        self.inserted
    }

    /// The entry at this place, 0 being the newest.
    pub(super) fn get(&self, place: usize) -> Option<(Name<'_>, &[u8])> {
        let entry = self.entries.get(self.entries.len().checked_sub(place + 1)?)?;
        let middle = entry.start + entry.name_len;
        let name = match entry.known {
            Some(known) => Name::Known(known),
            None => Name::Other(self.arena.get(entry.start..middle)?),
        };
        Some((name, self.arena.get(middle..middle + entry.value_len)?))
    }

    /// Changes the size and drops what no longer fits (RFC 7541 4.3).
    pub(super) fn resize(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.evict(max_size);
        if max_size == 0 {
            self.arena = Vec::new();
        }
    }

    /// Inserts an entry; one that is larger than the table empties it (RFC 7541 4.4).
    pub(super) fn insert(&mut self, name: Name<'_>, value: &[u8]) {
        let size = name.as_bytes().len() + value.len() + ENTRY_OVERHEAD;
        self.evict(self.max_size.saturating_sub(size));
        if size > self.max_size {
            return;
        }
        self.compact(size);
        let start = self.arena.len();
        let (known, name_len) = match name {
            Name::Known(known) => (Some(known), 0),
            Name::Other(bytes) => {
                self.arena.extend_from_slice(bytes);
                (None, bytes.len())
            }
        };
        self.arena.extend_from_slice(value);
        self.entries.push_back(Entry { known, start, name_len, value_len: value.len() });
        self.size += size;
        self.inserted = self.inserted.wrapping_add(1);
    }

    /// Drops the oldest entries until the size is at most `size`.
    fn evict(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.size -= oldest.size();
        }
    }

    /// Cuts off the dead start of the arena once it is as long as the table may be, so that the arena stays below twice
    /// `max_size`.
    fn compact(&mut self, incoming: usize) {
        let dead = self.entries.front().map_or(self.arena.len(), |oldest| oldest.start);
        if dead == 0 || self.arena.len() + incoming <= 2 * self.max_size {
            return;
        }
        self.arena.drain(..dead);
        for entry in &mut self.entries {
            entry.start -= dead;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leave_and_the_arena_stays_bounded() {
        let mut table = Table::new(200);
        for round in 0..1000_u32 {
            let value = round.to_string();
            table.insert(Name::Other(b"x-round-n"), value.as_bytes());
            assert_eq!(table.get(0), Some((Name::Other(b"x-round-n"), value.as_bytes())));
            if round >= 4 {
                assert_eq!(table.len(), 4);
                assert_eq!(table.get(3).map(|entry| entry.1), Some((round - 3).to_string().as_bytes()));
            }
            assert!(table.arena.len() <= 400 && table.size <= 200);
        }
        assert_eq!(table.get(4), None);
        table.resize(50);
        assert_eq!(table.len(), 1);
        table.insert(Name::Known(Known::Accept), &[b'a'; 13]);
        assert_eq!((table.len(), table.size), (0, 0), "6 + 13 + 32 is more than 50");
    }

    #[test]
    fn known_names_take_no_room_but_count() {
        let mut table = Table::new(100);
        table.insert(Name::Known(Known::UserAgent), b"abc");
        assert_eq!((table.size, table.arena.len()), (10 + 3 + 32, 3));
        assert_eq!(table.get(0), Some((Name::Known(Known::UserAgent), &b"abc"[..])));
    }
}
