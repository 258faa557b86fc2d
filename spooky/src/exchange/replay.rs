//! The request body kept until the response head, for retries.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Maximum number of bytes kept.
const MAX_REPLAY: usize = 64 * 1024;

/// The body bytes read so far, unless they are too many or no longer needed. They are copied, because a slice would keep
/// whole datagrams in memory.
#[derive(Default)]
pub(super) struct Replay {
    /// Chunks returned by earlier rewinds.
    returned: Vec<Bytes>,
    kept: BytesMut,
    bytes: usize,
    is_discarded: bool,
}

impl Replay {
    /// Copies a chunk; discards everything if there is too much.
    pub(super) fn push(&mut self, chunk: &Bytes) {
        self.bytes += chunk.len();
        if self.bytes > MAX_REPLAY {
            self.discard();
        } else if !self.is_discarded {
            self.kept.extend_from_slice(chunk);
        }
    }

    /// Returns all bytes read so far.
    pub(super) fn rewind(&mut self) -> VecDeque<Bytes> {
        if !self.kept.is_empty() {
            self.returned.push(self.kept.split().freeze());
        }
        self.returned.iter().cloned().collect()
    }

    /// Returns whether the bytes were discarded.
    pub(super) fn is_discarded(&self) -> bool {
        self.is_discarded
    }

    /// Discards the bytes. No further attempt may follow.
    pub(super) fn discard(&mut self) {
        self.is_discarded = true;
        self.returned = Vec::new();
        self.kept = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_was_read_comes_back_each_time() {
        let mut replay = Replay::default();
        assert!(replay.rewind().is_empty());
        replay.push(&Bytes::from_static(b"one "));
        replay.push(&Bytes::from_static(b"two "));
        assert_eq!(replay.rewind(), [Bytes::from_static(b"one two ")]);
        replay.push(&Bytes::from_static(b"three"));
        for _ in 0..2 {
            assert_eq!(replay.rewind().into_iter().flatten().collect::<Vec<u8>>(), b"one two three");
        }
        assert!(!replay.is_discarded());
    }

    #[test]
    fn a_long_upload_is_lost_with_the_first_byte_over_the_limit() {
        let mut replay = Replay::default();
        replay.push(&Bytes::from(vec![0; MAX_REPLAY]));
        assert!(!replay.is_discarded());
        replay.push(&Bytes::from_static(b"."));
        assert!(replay.is_discarded() && replay.rewind().is_empty());
    }
}
