//! The dynamic table (RFC 7541 2.3.2): newest entry first, oldest evicted first.
//!
//! All entries are in one arena, oldest first. New ones are appended, and the evicted start is removed when it has
//! grown to the size of the table. So an insertion costs one copy of its bytes and no allocation.

use std::collections::VecDeque;

use super::ENTRY_OVERHEAD;
use crate::message::{Known, Name};

/// Position of an entry in the arena: the bytes of the name (none for a known name), then of the value.
#[derive(Debug)]
struct Entry {
    known: Option<Known>,
    start: usize,
    name_len: usize,
    value_len: usize,
}

impl Entry {
    /// Returns the size of the entry (RFC 7541 4.1).
    fn size(&self) -> usize {
        self.known.map_or(self.name_len, |known| known.as_bytes().len()) + self.value_len + ENTRY_OVERHEAD
    }
}

#[derive(Debug)]
pub(super) struct Table {
    arena: Vec<u8>,
    /// Oldest first.
    entries: VecDeque<Entry>,
    size: usize,
    max_size: usize,
    /// Number of insertions, modulo 2^32.
    inserted: u32,
}

impl Table {
    pub(super) fn new(max_size: usize) -> Self {
        Self { arena: Vec::new(), entries: VecDeque::new(), size: 0, max_size, inserted: 0 }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.arena.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    pub(super) fn max_size(&self) -> usize {
        self.max_size
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the number of insertions modulo 2^32, which is the number of the next entry.
    pub(super) fn inserted(&self) -> u32 {
        self.inserted
    }

    /// Returns the entry at this index, 0 being the newest.
    pub(super) fn get(&self, index: usize) -> Option<(Name<'_>, &[u8])> {
        let entry = self.entries.get(self.entries.len().checked_sub(index + 1)?)?;
        let middle = entry.start + entry.name_len;
        let name = match entry.known {
            Some(known) => Name::Known(known),
            None => Name::Other(self.arena.get(entry.start..middle)?),
        };
        Some((name, self.arena.get(middle..middle + entry.value_len)?))
    }

    /// Changes the maximum size and evicts entries that no longer fit (RFC 7541 4.3).
    pub(super) fn resize(&mut self, max_size: usize) {
        self.max_size = max_size;
        self.evict(max_size);
        if max_size == 0 {
            self.arena = Vec::new();
        }
    }

    /// Inserts an entry. An entry larger than the table empties it (RFC 7541 4.4).
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

    /// Evicts all entries.
    pub(super) fn clear(&mut self) {
        self.evict(0);
    }

    /// Evicts the oldest entries until the size is at most `size`.
    fn evict(&mut self, size: usize) {
        while self.size > size {
            let Some(oldest) = self.entries.pop_front() else { return };
            self.size -= oldest.size();
        }
    }

    /// Removes the evicted start of the arena once it is as long as the table may be, so that the arena stays below
    /// twice `max_size`.
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
    fn the_oldest_are_evicted_and_the_arena_stays_bounded() {
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
    fn known_names_take_no_space_but_count() {
        let mut table = Table::new(100);
        table.insert(Name::Known(Known::UserAgent), b"abc");
        assert_eq!((table.size, table.arena.len()), (10 + 3 + 32, 3));
        assert_eq!(table.get(0), Some((Name::Known(Known::UserAgent), &b"abc"[..])));
    }
}
