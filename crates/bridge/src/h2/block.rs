//! A field block that comes in pieces: HEADERS without `END_HEADERS`, then CONTINUATION (RFC 9113 4.3 and 6.10).

use super::{ConnectionError, frame, guard::MAX_CONTINUATIONS};

/// A block under way. Until it is complete no other frame may come.
#[derive(Debug)]
pub(super) struct Block {
    /// The stream's number.
    pub(super) stream: u32,
    /// HEADERS had `END_STREAM`.
    pub(super) end: bool,
    pub(super) bytes: Vec<u8>,
    continuations: u32,
}

impl Block {
    /// The first piece, from HEADERS.
    pub(super) fn new(header: frame::Header, fragment: &[u8]) -> Self {
        let end = header.has(frame::flag::END_STREAM);
        Self { stream: header.stream, end, bytes: fragment.to_vec(), continuations: 0 }
    }

    /// A further piece; `max` bounds the whole block in bytes.
    pub(super) fn extend(&mut self, fragment: &[u8], max: usize) -> Result<(), ConnectionError> {
        self.continuations += 1;
        if self.continuations > MAX_CONTINUATIONS {
            return Err(ConnectionError::limit("too many CONTINUATION frames", "MAX_CONTINUATIONS"));
        }
        if self.bytes.len() + fragment.len() > max {
            return Err(ConnectionError::limit("field block too large", "max_header_list"));
        }
        self.bytes.extend_from_slice(fragment);
        Ok(())
    }
}

/// The largest encoded block accepted for a limit on the decoded section: a good encoder stays below the limit plus a few
/// bytes per field, a poor one takes up to 30 bits per byte, and a section somewhat over the limit should still fail
/// its stream alone.
pub(super) fn max_bytes(max_header_list: u32) -> usize {
    4 * max_header_list as usize + frame::MIN_MAX_FRAME_SIZE as usize
}
