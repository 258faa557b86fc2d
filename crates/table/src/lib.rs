//! Tables with reused slots, and handles that never find a later entry in the slot of an earlier one.
//!
//! Used by `edge` for streams, by `spooky` for exchanges and by `transport` for backends, connections and requests.

#![forbid(unsafe_code)]

use slab::Slab;

/// Refers to one entry of a [`Table`]. After the entry is removed the handle finds nothing. The default refers to no entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    index: u32,
    serial: u32,
}

impl Handle {
    /// A handle for a table whose slots something else assigns. `serial` must differ between two users of a slot.
    pub fn new(index: usize, serial: u32) -> Self {
        Self { index: index as u32, serial }
    }

    /// The slot, which later entries reuse.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Distinguishes the entries of one slot. Never 0 in a [`Table`].
    pub fn serial(self) -> u32 {
        self.serial
    }

    /// Packs the handle into the tag that a protocol state machine carries.
    pub fn to_bits(self) -> u64 {
        (u64::from(self.serial) << 32) | u64::from(self.index)
    }

    /// Reverses [`Handle::to_bits`].
    pub fn from_bits(bits: u64) -> Self {
        Self { index: bits as u32, serial: (bits >> 32) as u32 }
    }
}

/// A slab whose entries are found by [`Handle`].
#[derive(Debug)]
pub struct Table<T> {
    slots: Slab<(u32, T)>,
    serial: u32,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { slots: Slab::new(), serial: 0 }
    }
}

impl<T> Table<T> {
    /// Adds an entry.
    pub fn insert(&mut self, entry: T) -> Handle {
        self.insert_with(|_| entry)
    }

    /// Adds an entry that is built from its own handle.
    pub fn insert_with(&mut self, build: impl FnOnce(Handle) -> T) -> Handle {
        self.serial = self.serial.wrapping_add(1).max(1);
        let slot = self.slots.vacant_entry();
        let handle = Handle::new(slot.key(), self.serial);
        slot.insert((self.serial, build(handle)));
        handle
    }

    /// Returns the entry, unless it was removed.
    pub fn get(&self, handle: Handle) -> Option<&T> {
        let (serial, entry) = self.slots.get(handle.index())?;
        (*serial == handle.serial).then_some(entry)
    }

    /// Returns the entry, unless it was removed.
    pub fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let (serial, entry) = self.slots.get_mut(handle.index())?;
        (*serial == handle.serial).then_some(entry)
    }

    /// Returns the handle of the entry that is in a slot now.
    pub fn at(&self, index: usize) -> Option<Handle> {
        self.slots.get(index).map(|(serial, _)| Handle::new(index, *serial))
    }

    /// Removes the entry, unless it was removed before.
    pub fn remove(&mut self, handle: Handle) -> Option<T> {
        self.get(handle)?;
        self.slots.try_remove(handle.index()).map(|(_, entry)| entry)
    }

    /// All entries, by slot.
    pub fn iter(&self) -> impl Iterator<Item = (Handle, &T)> {
        self.slots.iter().map(|(index, (serial, entry))| (Handle::new(index, *serial), entry))
    }

    /// All entries, by slot.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Handle, &mut T)> {
        self.slots.iter_mut().map(|(index, (serial, entry))| (Handle::new(index, *serial), entry))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Frees the memory of the slots behind the last entry.
    pub fn shrink_to_fit(&mut self) {
        self.slots.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_does_not_find_the_next_entry_of_its_slot() {
        let mut table = Table::default();
        let first = table.insert('a');
        assert_eq!((table.get(first).copied(), table.get_mut(first).copied()), (Some('a'), Some('a')));
        assert_eq!((table.remove(first), table.remove(first), table.is_empty()), (Some('a'), None, true));
        let second = table.insert('b');
        assert_eq!((first.index(), table.at(first.index())), (second.index(), Some(second)));
        assert!(table.get(first).is_none() && table.get_mut(first).is_none() && table.remove(first).is_none());
        assert_eq!((table.get(second), table.len(), table.is_empty()), (Some(&'b'), 1, false));
    }

    #[test]
    fn the_default_finds_nothing_even_after_the_serials_wrap() {
        let mut table = Table { serial: u32::MAX, ..Table::default() };
        let handle = table.insert('a');
        assert_eq!((handle.index(), handle.serial()), (0, 1));
        assert_eq!(table.get(Handle::default()), None);
        assert_eq!(table.at(1), None);
    }

    #[test]
    fn entries_come_with_their_handles() {
        let mut table = Table::default();
        let handles = [table.insert(1), table.insert_with(|handle| handle.index() + 1), table.insert(3)];
        table.remove(handles[0]);
        table.iter_mut().for_each(|(_, entry)| *entry *= 10);
        assert_eq!(table.iter().collect::<Vec<_>>(), [(handles[1], &20), (handles[2], &30)]);
    }

    #[test]
    fn tags_carry_handles_whole() {
        let handle = Handle::new(7, 0x8000_0001);
        assert_eq!(handle.to_bits(), 0x8000_0001_0000_0007);
        assert_eq!(Handle::from_bits(handle.to_bits()), handle);
    }

    #[test]
    fn slots_behind_the_last_entry_are_freed() {
        let mut table = Table::default();
        let handles: Vec<_> = (0..100).map(|entry| table.insert(entry)).collect();
        assert!(handles.into_iter().all(|handle| table.remove(handle).is_some()));
        table.shrink_to_fit();
        assert_eq!(table.slots.capacity(), 0);
    }
}
