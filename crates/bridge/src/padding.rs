//! Where the padding at the end of a QUIC packet begins, and how much data of streams is before it.
//!
//! Clients fill packets up with PADDING frames, which are one zero byte each (RFC 9000 section 19.1): their first packets by
//! rule, others by habit, so that a batch has packets of one size. Whoever reads such a packet frame by frame makes a
//! thousand steps of a request of sixty bytes. Zero bytes at the end are not padding by themselves, since the data of a
//! STREAM frame may end so: what precedes them has to be walked. Called by `edge` for each packet it has decrypted.

use crate::h3::frame::read_varint;

/// Shorter padding is left where it is.
const WORTH_IT: usize = 32;
/// Zeros are looked for in pieces of this size, which the processor compares at once.
const CHUNK: usize = 64;
/// Length of the random data in `PATH_CHALLENGE` and `PATH_RESPONSE` (RFC 9000 sections 19.17 and 19.18).
const CHALLENGE: usize = 8;
/// Length of a stateless reset token (RFC 9000 section 10.3).
const RESET_TOKEN: usize = 16;

/// The place of a STREAM frame's data in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFrame {
    /// The number of the stream.
    pub stream: u64,
    /// Where its data begins.
    pub offset: u64,
    /// Bytes of data.
    pub length: u64,
    /// The stream ends with it.
    pub is_last: bool,
}

/// Tells `on_stream` the STREAM frames of a QUIC packet with this plaintext, and gives its length without the PADDING frames
/// at its end.
///
/// Never 0 for a payload that is not empty, since a packet without frames would be an error (RFC 9000 section 12.4): of one
/// that is all padding, a byte stays. Everything is kept when the padding is short, or when a frame before it is unknown
/// or malformed, so that whoever parses the payload sees the error as it was sent.
pub fn walk(payload: &[u8], mut on_stream: impl FnMut(StreamFrame)) -> usize {
    let content = up_to_zeros(payload);
    let mut rest = payload;
    while payload.len() - rest.len() < content {
        let Some((&kind, after)) = rest.split_first() else { break };
        let next = match kind {
            0 => Some(after),
            0x08..=0x0f => stream(kind, after).map(|(frame, next)| {
                on_stream(frame);
                next
            }),
            _ => skip(kind, after),
        };
        match next {
            Some(next) => rest = next,
            None => return payload.len(),
        }
    }
    let length = payload.len() - rest.len();
    if rest.len() < WORTH_IT { payload.len() } else { length.max(1) }
}

/// Length of `bytes` without the zeros at their end.
fn up_to_zeros(mut bytes: &[u8]) -> usize {
    while let Some((before, last)) = bytes.split_last_chunk::<CHUNK>() {
        if last.iter().fold(0, |all, byte| all | byte) != 0 {
            break;
        }
        bytes = before;
    }
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// What follows a frame of this type (RFC 9000 section 19), given what follows the type.
#[allow(clippy::match_same_arms, reason = "a row for each kind of frame, in the order of the RFC")]
fn skip(kind: u8, frame: &[u8]) -> Option<&[u8]> {
    match kind {
        // PING, HANDSHAKE_DONE
        0x01 | 0x1e => Some(frame),
        // ACK, and the same with three ECN counts
        0x02 => ack(frame),
        0x03 => integers(3, ack(frame)?),
        // RESET_STREAM
        0x04 => integers(3, frame),
        // STOP_SENDING, MAX_STREAM_DATA, STREAM_DATA_BLOCKED
        0x05 | 0x11 | 0x15 => integers(2, frame),
        // CRYPTO
        0x06 => counted(integers(1, frame)?),
        // NEW_TOKEN
        0x07 => counted(frame),
        // MAX_DATA, MAX_STREAMS, DATA_BLOCKED, STREAMS_BLOCKED, RETIRE_CONNECTION_ID
        0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => integers(1, frame),
        // NEW_CONNECTION_ID
        0x18 => new_connection_id(frame),
        // PATH_CHALLENGE, PATH_RESPONSE
        0x1a | 0x1b => frame.get(CHALLENGE..),
        // CONNECTION_CLOSE, of the transport and of the application
        0x1c => counted(integers(2, frame)?),
        0x1d => counted(integers(1, frame)?),
        _ => None,
    }
}

fn integers(count: u64, mut frame: &[u8]) -> Option<&[u8]> {
    for _ in 0..count {
        read_varint(&mut frame)?;
    }
    Some(frame)
}

/// Skips a length and as many bytes.
fn counted(mut frame: &[u8]) -> Option<&[u8]> {
    let length = read_varint(&mut frame)?;
    frame.get(usize::try_from(length).ok()?..)
}

/// Largest, delay, the number of further ranges, the first range, and two integers for each further one. That number is
/// the peer's, but each step takes bytes that are there.
fn ack(frame: &[u8]) -> Option<&[u8]> {
    let mut frame = integers(2, frame)?;
    let ranges = read_varint(&mut frame)?;
    integers(ranges.checked_mul(2)?.checked_add(1)?, frame)
}

/// A STREAM frame, given what follows its type, and what follows the frame. A stream's data goes to the end of the packet if
/// its length is not given.
fn stream(kind: u8, mut frame: &[u8]) -> Option<(StreamFrame, &[u8])> {
    let (has_offset, has_length, is_last) = (kind & 0x04 != 0, kind & 0x02 != 0, kind & 0x01 != 0);
    let stream = read_varint(&mut frame)?;
    let offset = if has_offset { read_varint(&mut frame)? } else { 0 };
    let length = if has_length { read_varint(&mut frame)? } else { frame.len() as u64 };
    let next = frame.get(usize::try_from(length).ok()?..)?;
    Some((StreamFrame { stream, offset, length, is_last }, next))
}

fn new_connection_id(frame: &[u8]) -> Option<&[u8]> {
    let (length, frame) = integers(2, frame)?.split_first()?;
    frame.get(usize::from(*length) + RESET_TOKEN..)
}

#[cfg(test)]
mod tests;
