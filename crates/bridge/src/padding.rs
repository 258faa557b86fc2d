//! Finds the padding at the end of a QUIC packet, and the STREAM frames before it.
//!
//! Clients fill packets with PADDING frames, each a zero byte (RFC 9000 section 19.1): their first packets because they
//! must, others so that all packets of a batch have one size. A parser that reads such a packet frame by frame takes a
//! thousand steps for a request of sixty bytes. Zero bytes at the end need not be padding, because the data of a STREAM
//! frame may end with them, so the frames before them must be parsed. Called by `edge` for each decrypted packet.

use crate::h3::frame::read_varint;

/// Shorter padding is kept.
const MIN_PADDING: usize = 32;
/// Zeros are searched in pieces of this size, which compile to vector instructions.
const CHUNK: usize = 64;
/// Length of the random data in `PATH_CHALLENGE` and `PATH_RESPONSE` (RFC 9000 sections 19.17 and 19.18).
const CHALLENGE: usize = 8;
/// Length of a stateless reset token (RFC 9000 section 10.3).
const RESET_TOKEN: usize = 16;

/// The range of a stream that a STREAM frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamFrame {
    /// The stream identifier.
    pub stream: u64,
    /// Offset of the data in the stream.
    pub offset: u64,
    /// Length of the data.
    pub length: u64,
    /// The frame has the FIN bit.
    pub is_last: bool,
}

/// Calls `on_stream` with each STREAM frame of a decrypted payload and returns its length without the padding at its
/// end.
///
/// Returns at least 1 for a payload that is not empty, because a packet without frames would be an error (RFC 9000
/// section 12.4). Returns the whole length if the padding is short, or if a frame before it is unknown or malformed, so
/// that the QUIC implementation sees the error as it was sent.
pub fn walk(payload: &[u8], mut on_stream: impl FnMut(StreamFrame)) -> usize {
    let content = len_without_zeros(payload);
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
    if rest.len() < MIN_PADDING { payload.len() } else { length.max(1) }
}

/// Returns the length of `bytes` without trailing zeros.
fn len_without_zeros(mut bytes: &[u8]) -> usize {
    while let Some((before, last)) = bytes.split_last_chunk::<CHUNK>() {
        if last.iter().fold(0, |all, byte| all | byte) != 0 {
            break;
        }
        bytes = before;
    }
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// Returns the bytes after a frame of this type (RFC 9000 section 19), given the bytes after the type.
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
        0x06 => length_prefixed(integers(1, frame)?),
        // NEW_TOKEN
        0x07 => length_prefixed(frame),
        // MAX_DATA, MAX_STREAMS, DATA_BLOCKED, STREAMS_BLOCKED, RETIRE_CONNECTION_ID
        0x10 | 0x12..=0x14 | 0x16 | 0x17 | 0x19 => integers(1, frame),
        // NEW_CONNECTION_ID
        0x18 => new_connection_id(frame),
        // PATH_CHALLENGE, PATH_RESPONSE
        0x1a | 0x1b => frame.get(CHALLENGE..),
        // CONNECTION_CLOSE, of the transport and of the application
        0x1c => length_prefixed(integers(2, frame)?),
        0x1d => length_prefixed(integers(1, frame)?),
        _ => None,
    }
}

fn integers(count: u64, mut frame: &[u8]) -> Option<&[u8]> {
    for _ in 0..count {
        read_varint(&mut frame)?;
    }
    Some(frame)
}

/// Skips a length and that many bytes.
fn length_prefixed(mut frame: &[u8]) -> Option<&[u8]> {
    let length = read_varint(&mut frame)?;
    frame.get(usize::try_from(length).ok()?..)
}

/// Skips largest, delay, the number of further ranges, the first range, and two integers for each further range. The
/// peer chooses that number, but each step consumes bytes, so the packet bounds the loop.
fn ack(frame: &[u8]) -> Option<&[u8]> {
    let mut frame = integers(2, frame)?;
    let ranges = read_varint(&mut frame)?;
    integers(ranges.checked_mul(2)?.checked_add(1)?, frame)
}

/// Parses a STREAM frame after its type and returns the bytes after it. Without a length field the data extends to the
/// end of the packet.
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
