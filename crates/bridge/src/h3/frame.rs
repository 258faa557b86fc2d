//! Variable-length integers (RFC 9000 16) and frame headers (RFC 9114 7.1), whole or in pieces.
//!
//! [`super::stream`] and [`super::connection`] decide which frames are allowed where.

use bytes::{Buf, Bytes};

pub(super) const DATA: u64 = 0x00;
pub(super) const HEADERS: u64 = 0x01;
pub(super) const CANCEL_PUSH: u64 = 0x03;
pub(super) const SETTINGS: u64 = 0x04;
pub(super) const PUSH_PROMISE: u64 = 0x05;
pub(super) const GOAWAY: u64 = 0x07;
pub(super) const MAX_PUSH_ID: u64 = 0x0d;

/// Returns whether this is a frame type of HTTP/2 that HTTP/3 reserves: PRIORITY, PING, `WINDOW_UPDATE`, CONTINUATION
/// (RFC 9114 7.2.8).
pub(super) const fn is_reserved(kind: u64) -> bool {
    matches!(kind, 0x02 | 0x06 | 0x08 | 0x09)
}

/// Reads an integer and advances `src`. Returns `None`, changing nothing, if it is incomplete.
#[inline]
pub(crate) fn read_varint(src: &mut &[u8]) -> Option<u64> {
    let first = *src.first()?;
    let len = 1usize << (first >> 6);
    let (bytes, rest) = src.split_at_checked(len)?;
    let value = bytes.iter().skip(1).fold(u64::from(first & 0x3f), |value, byte| (value << 8) | u64::from(*byte));
    *src = rest;
    Some(value)
}

/// Appends `value` (below 2^62) in its shortest form.
#[inline]
pub(super) fn write_varint(value: u64, out: &mut Vec<u8>) {
    match value {
        0..=0x3f => out.push(value as u8),
        0x40..=0x3fff => out.extend_from_slice(&(value as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => out.extend_from_slice(&(value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend_from_slice(&(value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// Type and payload length of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u64,
    pub(super) len: u64,
}

/// The first bytes of incomplete integers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Partial {
    bytes: [u8; 16],
    len: u8,
}

impl Partial {
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads a frame header. Returns `None` if `chunk` ends before it is complete.
    #[inline]
    pub(super) fn read_header(&mut self, chunk: &mut Bytes) -> Option<Header> {
        self.read(chunk, |src| {
            let kind = read_varint(src)?;
            Some(Header { kind, len: read_varint(src)? })
        })
    }

    /// Reads an integer. Returns `None` if `chunk` ends before it is complete.
    pub(super) fn read_varint(&mut self, chunk: &mut Bytes) -> Option<u64> {
        self.read(chunk, read_varint)
    }

    #[inline]
    fn read<T>(&mut self, chunk: &mut Bytes, parse: impl Fn(&mut &[u8]) -> Option<T>) -> Option<T> {
        if self.is_empty() {
            let mut src = &chunk[..];
            if let Some(value) = parse(&mut src) {
                let used = chunk.len() - src.len();
                chunk.advance(used);
                return Some(value);
            }
        }
        while let Some(&byte) = chunk.first() {
            chunk.advance(1);
            // Two integers have at most 16 bytes, so the last free byte completes them.
            *self.bytes.get_mut(usize::from(self.len))? = byte;
            self.len += 1;
            if let Some(value) = parse(&mut self.bytes.get(..usize::from(self.len)).unwrap_or_default()) {
                *self = Self::default();
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc() {
        // RFC 9000 A.1
        let examples = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c][..], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ];
        for (bytes, value) in examples {
            let mut out = Vec::new();
            write_varint(value, &mut out);
            assert_eq!(out, bytes);
            assert_eq!(read_varint(&mut &bytes[..]), Some(value));
            assert_eq!(read_varint(&mut &bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(read_varint(&mut &[0x40, 0x25][..]), Some(37), "longer than needed is allowed");
    }

    #[test]
    fn headers_in_pieces() {
        let largest = (1 << 62) - 1;
        for (kind, len) in [(DATA, 5), (0x21, 0x4000), (largest, largest)] {
            let mut bytes = Vec::new();
            write_varint(kind, &mut bytes);
            write_varint(len, &mut bytes);
            for split in 0..=bytes.len() {
                let mut partial = Partial::default();
                let mut first = Bytes::copy_from_slice(&bytes[..split]);
                let mut second = Bytes::from([&bytes[split..], b"rest"].concat());
                let header = partial.read_header(&mut first).or_else(|| partial.read_header(&mut second));
                assert_eq!(header, Some(Header { kind, len }));
                assert!(partial.is_empty() && first.is_empty());
                assert!(second.ends_with(b"rest"));
            }
        }
    }
}
