//! HEADERS and CONTINUATION (RFC 9113 6.2, 6.10): assembly of field blocks and their decoding. What a section means
//! depends on the role.

use super::{
    Code, ConnectionError, StreamId,
    block::{Block, FieldBlock},
    connection::{Connection, EventResult, Role},
    frame::{self, Header, flag},
};
use crate::message::{
    Fields,
    check::{BodyLength, LengthError},
};

/// CONTINUATION frames with less that do not end their block are useless.
const MIN_FRAGMENT: usize = 1024;

impl<R: Role> Connection<R> {
    pub(super) fn on_headers(&mut self, header: Header, payload: &[u8]) -> EventResult<R> {
        // Only a client opens streams, and only odd ones (RFC 9113 5.1.1).
        if self.is_idle(header.stream) && (!R::IS_SERVER || header.stream.is_multiple_of(2)) {
            return Err(ConnectionError::protocol("HEADERS on an idle stream", "RFC 9113 5.1"));
        }
        let fragment = frame::strip(header, payload)
            .ok_or_else(|| ConnectionError::protocol("padding or priority longer than its frame", "RFC 9113 6.2"))?;
        if header.has(flag::END_HEADERS) {
            return R::on_block(self, header.stream, header.has(flag::END_STREAM), Block::new(fragment));
        }
        self.block = Some(FieldBlock::new(header, fragment));
        Ok(None)
    }

    /// Handles CONTINUATION. The caller has checked that a block of the same stream is incomplete.
    pub(super) fn on_continuation(&mut self, header: Header, payload: &[u8]) -> EventResult<R> {
        let Some(mut block) = self.block.take() else { return Ok(None) };
        block.extend(payload, self.config.max_header_list, &mut self.decoder)?;
        if header.has(flag::END_HEADERS) {
            return R::on_block(self, block.stream, block.end, block.complete());
        }
        if payload.len() < MIN_FRAGMENT {
            self.flood.useless_frame()?;
        }
        self.block = Some(block);
        Ok(None)
    }

    /// Decodes and drops the section of a closed stream.
    pub(super) fn drop_block(&mut self, block: Block<'_>) -> EventResult<R> {
        block.decode(&mut self.decoder, &mut Fields::default(), 0)?;
        self.flood.useless_frame()?;
        Ok(None)
    }

    /// Resets a stream whose message is malformed (RFC 9113 8.1.1).
    pub(super) fn malformed_message(&mut self, id: StreamId, reason: &'static str) -> EventResult<R> {
        self.malformed(id, Code::PROTOCOL_ERROR, reason)
    }
}

/// Checks that trailers end the stream and follow a complete body (RFC 9113 8.1).
pub(super) fn check_end(body: BodyLength, end: bool) -> Result<(), &'static str> {
    if !end {
        return Err("trailers that do not end the stream");
    }
    body.finish().map_err(wrong_length)
}

/// A length that differs from `content-length` makes the message malformed (RFC 9113 8.1.1).
pub(super) fn wrong_length(error: LengthError) -> &'static str {
    match error {
        LengthError::TooLong => "body longer than its content-length",
        LengthError::TooShort => "body shorter than its content-length",
    }
}
