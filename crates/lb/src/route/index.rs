//! A read-only hash index over byte strings: built once, probed with a hash that the caller rolled itself.
//!
//! The standard map would hash the whole key again at each segment of a path; here one pass over the path yields the hash
//! of every prefix. Keys come from the configuration, never from peers, so chains cannot be grown by an attacker.

/// FNV-1a, one byte at a time: its state after `n` bytes is the hash of that prefix.
#[derive(Clone, Copy)]
pub(super) struct Rolling(u64);

impl Rolling {
    pub(super) const START: Self = Self(0xCBF2_9CE4_8422_2325);

    pub(super) const fn push(self, byte: u8) -> Self {
        Self((self.0 ^ byte as u64).wrapping_mul(0x0000_0100_0000_01B3))
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        bytes.iter().fold(Self::START, |hash, &byte| hash.push(byte))
    }

    /// The hash of the bytes from last to first in lower case, so that one pass from the right meets every suffix.
    pub(super) fn of_reversed(bytes: &[u8]) -> Self {
        bytes.iter().rev().fold(Self::START, |hash, byte| hash.push(byte.to_ascii_lowercase()))
    }

    /// FNV leaves its low bits weak; the index takes its slot from them.
    const fn finish(self) -> u64 {
        let folded = self.0 ^ (self.0 >> 32);
        folded.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// Open addressing with linear probing at no more than half load; slots hold `id + 1`, 0 is empty.
pub(super) struct Index {
    slots: Box<[u32]>,
    keys: Vec<Box<[u8]>>,
}

impl Index {
    /// An index of distinct `keys`, whose ids are their positions; probes must hash as `hash` does.
    pub(super) fn build(keys: Vec<Box<[u8]>>, hash: fn(&[u8]) -> Rolling) -> Self {
        let size = (keys.len().max(1) * 2).next_power_of_two();
        let mut slots = vec![0_u32; size].into_boxed_slice();
        for (id, key) in keys.iter().enumerate() {
            let mut at = Self::first_slot(hash(key), size);
            while slots.get(at).is_some_and(|&slot| slot != 0) {
                at = (at + 1) & (size - 1);
            }
            if let Some(slot) = slots.get_mut(at) {
                *slot = u32::try_from(id + 1).unwrap_or(0);
            }
        }
        Self { slots, keys }
    }

    /// The id of `key`, whose hash is `hash`.
    pub(super) fn find(&self, hash: Rolling, key: &[u8]) -> Option<u32> {
        self.find_by(hash, |stored| stored == key)
    }

    /// The id of `key` without regard to ASCII case; the stored keys and `hash` are lower case.
    pub(super) fn find_ignore_case(&self, hash: Rolling, key: &[u8]) -> Option<u32> {
        self.find_by(hash, |stored| stored.eq_ignore_ascii_case(key))
    }

    fn find_by(&self, hash: Rolling, equal: impl Fn(&[u8]) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = Self::first_slot(hash, self.slots.len());
        loop {
            let id = self.slots.get(at)?.checked_sub(1)?;
            if self.keys.get(id as usize).is_some_and(|key| equal(key)) {
                return Some(id);
            }
            at = (at + 1) & mask;
        }
    }

    fn first_slot(hash: Rolling, size: usize) -> usize {
        // `size` is a power of two: the top bits of the product, which are its best ones.
        (hash.finish() >> 32) as usize & (size - 1)
    }
}
