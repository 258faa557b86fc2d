//! The part of an upload that is kept until the response head, so that another backend can be tried.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Body bytes up to this many are kept.
const MAX_REPLAY: usize = 64 * 1024;

/// The bytes of an upload that were read so far, unless they are no longer needed or too many. They are copied: a slice of
/// what arrived would keep all of the datagrams in memory that it arrived in.
#[derive(Default)]
pub(super) struct Replay {
    /// What was sent again before, in the pieces in which that was done.
    again: Vec<Bytes>,
    kept: BytesMut,
    bytes: usize,
    is_lost: bool,
}

impl Replay {
    /// Keeps a chunk that was just read.
    pub(super) fn keep(&mut self, chunk: &Bytes) {
        self.bytes += chunk.len();
        if self.bytes > MAX_REPLAY {
            self.forget();
        } else if !self.is_lost {
            self.kept.extend_from_slice(chunk);
        }
    }

    /// Returns all that was read so far.
    pub(super) fn rewind(&mut self) -> VecDeque<Bytes> {
        if !self.kept.is_empty() {
            self.again.push(self.kept.split().freeze());
        }
        self.again.iter().cloned().collect()
    }

    /// Whether the upload can never be sent again.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// Frees the memory. No attempt may follow.
    pub(super) fn forget(&mut self) {
        self.is_lost = true;
        self.again = Vec::new();
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
        replay.keep(&Bytes::from_static(b"one "));
        replay.keep(&Bytes::from_static(b"two "));
        assert_eq!(replay.rewind(), [Bytes::from_static(b"one two ")]);
        replay.keep(&Bytes::from_static(b"three"));
        for _ in 0..2 {
            assert_eq!(replay.rewind().into_iter().flatten().collect::<Vec<u8>>(), b"one two three");
        }
        assert!(!replay.is_lost());
    }

    #[test]
    fn a_long_upload_is_lost_with_the_first_byte_over_the_limit() {
        let mut replay = Replay::default();
        replay.keep(&Bytes::from(vec![0; MAX_REPLAY]));
        assert!(!replay.is_lost());
        replay.keep(&Bytes::from_static(b"."));
        assert!(replay.is_lost() && replay.rewind().is_empty());
    }
}
