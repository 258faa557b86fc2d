//! HTTP/3 frames as bytes (RFC 9114 section 7), valid or not. Independent of the product's codec.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Frame types (RFC 9114 section 11.2.1).
pub mod kind {
    /// DATA.
    pub const DATA: u64 = 0x0;
    /// HEADERS.
    pub const HEADERS: u64 = 0x1;
    /// `CANCEL_PUSH`.
    pub const CANCEL_PUSH: u64 = 0x3;
    /// SETTINGS.
    pub const SETTINGS: u64 = 0x4;
    /// `PUSH_PROMISE`.
    pub const PUSH_PROMISE: u64 = 0x5;
    /// GOAWAY.
    pub const GOAWAY: u64 = 0x7;
    /// `MAX_PUSH_ID`.
    pub const MAX_PUSH_ID: u64 = 0xd;
}

/// Unidirectional stream types (RFC 9114 section 11.2.4, RFC 9204 section 4.2).
pub mod stream {
    /// Control.
    pub const CONTROL: u64 = 0x0;
    /// Push.
    pub const PUSH: u64 = 0x1;
    /// QPACK encoder.
    pub const ENCODER: u64 = 0x2;
    /// QPACK decoder.
    pub const DECODER: u64 = 0x3;
}

/// A received frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Type, which may be unknown.
    pub kind: u64,
    /// Payload.
    pub payload: Bytes,
}

/// Appends a QUIC variable-length integer (RFC 9000 section 16).
pub fn put_varint(out: &mut BytesMut, value: u64) {
    match value {
        0..0x40 => out.put_u8(value as u8),
        0x40..0x4000 => out.put_u16(value as u16 | 0x4000),
        0x4000..0x4000_0000 => out.put_u32(value as u32 | 0x8000_0000),
        _ => out.put_u64(value | 0xc000_0000_0000_0000),
    }
}

/// Reads a variable-length integer. Returns the value and its encoded length, or `None` if it is incomplete.
pub fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = 1usize << (first >> 6);
    let rest = bytes.get(1..len)?;
    Some((rest.iter().fold(u64::from(first & 0x3f), |value, byte| (value << 8) | u64::from(*byte)), len))
}

/// Returns a frame with the correct length.
pub fn frame(kind: u64, payload: &[u8]) -> Bytes {
    claimed(kind, payload.len() as u64, payload)
}

/// Returns a frame with `len` in its length field, whatever the payload is.
pub fn claimed(kind: u64, len: u64, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_varint(&mut out, kind);
    put_varint(&mut out, len);
    out.extend_from_slice(payload);
    out.freeze()
}

/// Returns a SETTINGS frame.
pub fn settings(pairs: &[(u64, u64)]) -> Bytes {
    let mut payload = BytesMut::new();
    for (id, value) in pairs {
        put_varint(&mut payload, *id);
        put_varint(&mut payload, *value);
    }
    frame(kind::SETTINGS, &payload)
}

/// Returns a frame whose payload is one integer: GOAWAY, `MAX_PUSH_ID`, `CANCEL_PUSH`.
pub fn number(kind: u64, value: u64) -> Bytes {
    let mut payload = BytesMut::new();
    put_varint(&mut payload, value);
    frame(kind, &payload)
}

/// Returns a HEADERS frame of literal fields.
pub fn headers(fields: &[(&str, &str)]) -> Bytes {
    frame(kind::HEADERS, &super::qpack::encode(fields))
}

/// Returns the head of a GET for `path` at `localhost`, followed by `times` references to this entry of the static table
/// (below 63), which are encoded in one byte each (RFC 9204 section 4.5.2).
pub fn bomb(path: &str, entry: u8, times: usize) -> Bytes {
    let head = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    let mut section = BytesMut::from(&super::qpack::encode(&head)[..]);
    section.resize(section.len() + times, 0xc0 | entry);
    frame(kind::HEADERS, &section)
}

/// Returns the head of a GET for `path` at `localhost`.
pub fn get(path: &str) -> Bytes {
    headers(&[(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)])
}

/// Removes a frame from the front, if it is complete.
pub fn take(buffer: &mut BytesMut) -> Option<Frame> {
    let (kind, kind_len) = read_varint(buffer)?;
    let (len, len_len) = read_varint(&buffer[kind_len..])?;
    let (start, len) = (kind_len + len_len, usize::try_from(len).ok()?);
    if buffer.len() - start < len {
        return None;
    }
    buffer.advance(start);
    Some(Frame { kind, payload: buffer.split_to(len).freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_of_rfc_9000_appendix_a1() {
        let known: [(u64, &[u8]); 4] = [
            (151_288_809_941_952_652, &[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c]),
            (494_878_333, &[0x9d, 0x7f, 0x3e, 0x7d]),
            (15_293, &[0x7b, 0xbd]),
            (37, &[0x25]),
        ];
        for (value, bytes) in known {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            assert_eq!(out, bytes);
            assert_eq!(read_varint(&out), Some((value, bytes.len())));
            assert_eq!(read_varint(&out[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn a_frame_is_taken_only_when_whole() {
        let mut buffer = BytesMut::from(&frame(kind::DATA, b"abc")[..]);
        let rest = buffer.split_off(4);
        assert_eq!(take(&mut buffer), None);
        buffer.unsplit(rest);
        assert_eq!(take(&mut buffer), Some(Frame { kind: kind::DATA, payload: Bytes::from_static(b"abc") }));
        assert!(buffer.is_empty());
    }
}
