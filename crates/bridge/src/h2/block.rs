//! Assembly of a field block from HEADERS and CONTINUATION frames (RFC 9113 4.3 and 6.10).

use super::{Code, ConnectionError, flood::MAX_CONTINUATIONS, frame};
use crate::{
    hpack::{self, Decoder, SkipState},
    message::Fields,
};

/// A complete field block.
#[derive(Debug)]
pub struct Block<'a> {
    bytes: &'a [u8],
    /// The block was too large to be kept, so its start was skipped.
    skipped: Option<SkipState>,
}

impl<'a> Block<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, skipped: None }
    }

    /// Decodes the block. Returns false if the section exceeds `limit`; `fields` is then incomplete.
    pub(super) fn decode(
        self,
        decoder: &mut Decoder,
        fields: &mut Fields,
        limit: usize,
    ) -> Result<bool, ConnectionError> {
        let fits = match self.skipped {
            None => decoder.decode(self.bytes, fields, limit),
            Some(mut state) => decoder.skip_last(&mut state, self.bytes).map(|()| false),
        };
        fits.map_err(compression_error)
    }
}

/// An incomplete field block. No other frame may arrive until it is complete.
#[derive(Debug)]
pub(super) struct FieldBlock {
    pub(super) stream: u32,
    /// HEADERS had `END_STREAM`.
    pub(super) end: bool,
    bytes: Vec<u8>,
    skipped: Option<SkipState>,
    continuations: u32,
}

impl FieldBlock {
    pub(super) fn new(header: frame::Header, fragment: &[u8]) -> Self {
        let end = header.has(frame::flag::END_STREAM);
        Self { stream: header.stream, end, bytes: fragment.to_vec(), skipped: None, continuations: 0 }
    }

    /// Appends the fragment of a CONTINUATION frame. If the block becomes too large, its section exceeds
    /// `max_header_list`: it is then skipped as far as possible.
    pub(super) fn extend(
        &mut self,
        fragment: &[u8],
        max_header_list: u32,
        decoder: &mut Decoder,
    ) -> Result<(), ConnectionError> {
        self.continuations += 1;
        // Large limits need more frames.
        let whole_frames = max_bytes(max_header_list) / frame::MIN_MAX_FRAME_SIZE as usize;
        if self.continuations > MAX_CONTINUATIONS && self.continuations as usize > whole_frames {
            return Err(ConnectionError::limit("too many CONTINUATION frames", "MAX_CONTINUATIONS"));
        }
        self.bytes.extend_from_slice(fragment);
        if self.bytes.len() > max_bytes(max_header_list) {
            let state = self.skipped.get_or_insert_default();
            let read = decoder.skip(state, &self.bytes).map_err(compression_error)?;
            self.bytes.drain(..read);
        }
        Ok(())
    }

    pub(super) fn complete(&mut self) -> Block<'_> {
        Block { bytes: &self.bytes, skipped: self.skipped.take() }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity()
    }
}

fn compression_error(error: hpack::Error) -> ConnectionError {
    ConnectionError { code: Code::COMPRESSION_ERROR, reason: error.as_str(), clause: "RFC 9113 4.3" }
}

/// Returns the largest encoded block that is kept for a limit on the decoded section. A good encoder stays below the
/// limit plus a few bytes per field, a poor one uses up to 30 bits per byte, so a larger block exceeds the limit.
fn max_bytes(max_header_list: u32) -> usize {
    4 * max_header_list as usize + frame::MIN_MAX_FRAME_SIZE as usize
}
