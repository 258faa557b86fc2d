//! Assembly of a field block from HEADERS and CONTINUATION frames (RFC 9113 4.3 and 6.10).

use super::{ConnectionError, flood::MAX_CONTINUATIONS, frame};

/// An incomplete field block. No other frame may arrive until it is complete.
#[derive(Debug)]
pub(super) struct FieldBlock {
    pub(super) stream: u32,
    /// HEADERS had `END_STREAM`.
    pub(super) end: bool,
    pub(super) bytes: Vec<u8>,
    continuations: u32,
}

impl FieldBlock {
    pub(super) fn new(header: frame::Header, fragment: &[u8]) -> Self {
        let end = header.has(frame::flag::END_STREAM);
        Self { stream: header.stream, end, bytes: fragment.to_vec(), continuations: 0 }
    }

    /// Appends the fragment of a CONTINUATION frame. `max_header_list` is the announced limit of the decoded section.
    pub(super) fn extend(&mut self, fragment: &[u8], max_header_list: u32) -> Result<(), ConnectionError> {
        self.continuations += 1;
        if self.continuations > MAX_CONTINUATIONS {
            return Err(ConnectionError::limit("too many CONTINUATION frames", "MAX_CONTINUATIONS"));
        }
        if self.bytes.len() + fragment.len() > max_bytes(max_header_list) {
            return Err(ConnectionError::limit("field block too large", "max_header_list"));
        }
        self.bytes.extend_from_slice(fragment);
        Ok(())
    }
}

/// Returns the largest encoded block accepted for a limit on the decoded section. A good encoder stays below the limit
/// plus a few bytes per field, a poor one uses up to 30 bits per byte, and a section slightly above the limit should
/// fail only its stream.
fn max_bytes(max_header_list: u32) -> usize {
    4 * max_header_list as usize + frame::MIN_MAX_FRAME_SIZE as usize
}
