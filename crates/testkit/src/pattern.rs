//! Pseudo-random bodies and their SHA-256, without keeping them in memory.

use std::fmt::Write as _;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

use crate::rng::Rng;

/// Maximum length of the pieces that [`Pattern::next`] returns.
pub const PIECE_BYTES: usize = 16 * 1024;

/// A body in pieces. The bytes depend only on the seed.
#[derive(Debug, Clone)]
pub struct Pattern {
    rng: Rng,
    left: u64,
}

impl Pattern {
    /// Creates a body of `len` bytes.
    pub fn new(seed: u64, len: u64) -> Self {
        Self { rng: Rng::new(seed), left: len }
    }

    /// Returns the whole body.
    pub fn bytes(seed: u64, len: u64) -> Bytes {
        Self::new(seed, len).flatten().collect::<Vec<u8>>().into()
    }

    /// Returns the SHA-256 of the whole body in hexadecimal.
    pub fn sha256(seed: u64, len: u64) -> String {
        let mut sum = Sum::default();
        Self::new(seed, len).for_each(|piece| sum.add(&piece));
        sum.hex()
    }
}

impl Iterator for Pattern {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let size = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let mut piece = Vec::with_capacity(size + 8);
        while piece.len() < size {
            piece.extend_from_slice(&self.rng.next_u64().to_le_bytes());
        }
        piece.truncate(size);
        self.left -= size as u64;
        Some(piece.into())
    }
}

/// Length and SHA-256 of a stream of bytes.
#[derive(Clone)]
pub struct Sum {
    context: Context,
    /// Number of bytes.
    pub len: u64,
}

impl Default for Sum {
    fn default() -> Self {
        Self { context: Context::new(&SHA256), len: 0 }
    }
}

impl std::fmt::Debug for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sum({} bytes)", self.len)
    }
}

impl Sum {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// Returns the digest in hexadecimal.
    pub fn hex(self) -> String {
        let mut text = String::new();
        for byte in self.context.finish().as_ref() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

/// Returns the SHA-256 of `bytes` in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let mut sum = Sum::default();
    sum.add(bytes);
    sum.hex()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_is_exact_and_the_sum_is_that_of_the_bytes() {
        for len in [0, 1, 8, 9, 16_384, 16_385, 50_001] {
            let body = Pattern::bytes(3, len);
            assert_eq!(body.len() as u64, len);
            assert_eq!(sha256(&body), Pattern::sha256(3, len));
        }
    }

    #[test]
    fn sha256_of_abc() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn seeds_differ() {
        assert_ne!(Pattern::bytes(1, 64), Pattern::bytes(2, 64));
    }
}
