//! A read-only hash index, looked up by a rolling hash that the caller computes.
//!
//! The standard map would hash the whole key again at each segment of a path; here one pass over the path yields the hash of
//! every prefix, eight bytes at a time. Keys come from the configuration, so an attacker cannot cause collisions.

use crate::rng::fold;

/// State of a hash after some pieces of a key. The same pieces in the same order give the same state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct RollingHash(u64);

impl RollingHash {
    pub(super) const START: Self = Self(0x51_7C_C1_B7_27_22_0A_95);

    pub(super) const fn word(self, word: u64) -> Self {
        Self(fold(self.0 ^ word))
    }

    /// Adds the separator of two pieces.
    pub(super) const fn separator(self) -> Self {
        Self(self.0.rotate_left(23).wrapping_add(0xA076_1D64_78BD_642F))
    }

    pub(super) fn piece(self, piece: &[u8]) -> Self {
        self.words(piece, |word| word)
    }

    /// Adds a piece in lower case.
    pub(super) fn piece_ignoring_case(self, piece: &[u8]) -> Self {
        self.words(piece, to_lower)
    }

    fn words(self, piece: &[u8], read: impl Fn(u64) -> u64) -> Self {
        let (words, rest) = piece.as_chunks::<8>();
        let state = words.iter().fold(self, |state, word| state.word(read(u64::from_le_bytes(*word))));
        if rest.is_empty() {
            return state;
        }
        // The length in the top byte distinguishes a short piece from one that ends in zeros.
        let last = rest.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
        state.word(read(last) | (rest.len() as u64) << 56)
    }
}

/// Converts eight bytes to ASCII lower case at once.
const fn to_lower(word: u64) -> u64 {
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let low = word & !HIGH;
    // The high bit of a byte of these sums says "at least 'A'" and "above 'Z'".
    let from_a = low + 0x3F3F_3F3F_3F3F_3F3F;
    let above_z = low + 0x2525_2525_2525_2525;
    let upper = (from_a ^ above_z) & !word & HIGH;
    word | upper >> 2
}

/// Open addressing with linear probing and a load of at most one half; slots hold `id + 1`, 0 is empty.
pub(super) struct Index<K> {
    slots: Box<[u32]>,
    keys: Vec<K>,
}

impl<K> Index<K> {
    /// Builds an index of distinct `keys`, whose ids are their positions. Lookups must hash as `hash` does.
    pub(super) fn build(keys: Vec<K>, hash: impl Fn(&K) -> RollingHash) -> Self {
        let size = (keys.len().max(1) * 2).next_power_of_two();
        let mut slots = vec![0_u32; size].into_boxed_slice();
        for (id, key) in keys.iter().enumerate() {
            let mut at = first_slot(hash(key), size);
            while slots.get(at).is_some_and(|&slot| slot != 0) {
                at = (at + 1) & (size - 1);
            }
            if let Some(slot) = slots.get_mut(at) {
                *slot = u32::try_from(id + 1).unwrap_or(0);
            }
        }
        Self { slots, keys }
    }

    /// Returns the id of the key with this hash that `equal` accepts.
    pub(super) fn find(&self, hash: RollingHash, equal: impl Fn(&K) -> bool) -> Option<u32> {
        let size = self.slots.len();
        let mut at = first_slot(hash, size);
        loop {
            let id = self.slots.get(at)?.checked_sub(1)?;
            if self.keys.get(id as usize).is_some_and(&equal) {
                return Some(id);
            }
            at = (at + 1) & (size - 1);
        }
    }
}

/// `size` is a power of two.
fn first_slot(hash: RollingHash, size: usize) -> usize {
    hash.0 as usize & (size - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lower_case_by_words_is_that_by_bytes() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                let mut bytes = [b'~'; 8];
                bytes[at] = byte;
                let expected = u64::from_le_bytes(bytes.map(|b| b.to_ascii_lowercase()));
                assert_eq!(to_lower(u64::from_le_bytes(bytes)), expected, "{byte} at {at}");
            }
        }
    }

    /// A lookup of one key looks at as many slots with many keys as with few, whatever the keys have in common.
    #[test]
    fn chains_stay_short_however_many_keys_there_are() {
        for count in [10, 10_000] {
            let key = |n: usize| format!("/api/v{}/service{n}/", n % 7).into_bytes();
            let hash = |key: &Vec<u8>| {
                key.split(|&byte| byte == b'/').fold(RollingHash::START, |hash, part| hash.separator().piece(part))
            };
            let index = Index::build((0..count).map(key).collect(), hash);
            let looks = |n: usize| {
                let (looked, wanted) = (std::cell::Cell::new(0_u32), key(n));
                let found = index.find(hash(&wanted), |stored| {
                    looked.set(looked.get() + 1);
                    *stored == wanted
                });
                assert_eq!(found, Some(n as u32));
                looked.get()
            };
            let looked: Vec<u32> = (0..count).map(looks).collect();
            assert!(looked.iter().sum::<u32>() <= 2 * count as u32, "more than two looks for a key on average");
            assert!(looked.iter().all(|&looks| looks <= 24), "{:?}", looked.iter().max());
        }
    }

    #[test]
    fn pieces_of_any_length_differ() {
        let states: std::collections::HashSet<u64> =
            (0..64).map(|len| RollingHash::START.piece(&vec![0; len]).0).collect();
        assert_eq!(states.len(), 64);
    }
}
