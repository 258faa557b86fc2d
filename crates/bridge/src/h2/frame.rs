//! Frame layout (RFC 9113 4.1 and 6): reads and writes headers, writes small frames. Holds no connection state.

pub(super) const HEADER_LEN: usize = 9;
/// Offset of the flags in a frame.
pub(super) const FLAGS_AT: usize = 4;
/// Smallest value of `SETTINGS_MAX_FRAME_SIZE`, and its default.
pub(super) const MIN_MAX_FRAME_SIZE: u32 = 16_384;
/// Largest value of `SETTINGS_MAX_FRAME_SIZE`.
pub(super) const MAX_MAX_FRAME_SIZE: u32 = (1 << 24) - 1;
/// The client connection preface (RFC 9113 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) mod flag {
    pub(in crate::h2) const END_STREAM: u8 = 0x1;
    pub(in crate::h2) const ACK: u8 = 0x1;
    pub(in crate::h2) const END_HEADERS: u8 = 0x4;
    pub(in crate::h2) const PADDED: u8 = 0x8;
    pub(in crate::h2) const PRIORITY: u8 = 0x20;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    /// Must be ignored (RFC 9113 5.5).
    Unknown,
}

impl Kind {
    fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Data,
            1 => Self::Headers,
            2 => Self::Priority,
            3 => Self::RstStream,
            4 => Self::Settings,
            5 => Self::PushPromise,
            6 => Self::Ping,
            7 => Self::GoAway,
            8 => Self::WindowUpdate,
            9 => Self::Continuation,
            _ => Self::Unknown,
        }
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Headers => 1,
            Self::Priority => 2,
            Self::RstStream => 3,
            Self::Settings => 4,
            Self::PushPromise => 5,
            Self::Ping => 6,
            Self::GoAway => 7,
            Self::WindowUpdate => 8,
            Self::Continuation => 9,
            Self::Unknown => 0xff,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) len: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// The stream, 0 for the connection, without the reserved bit.
    pub(super) stream: u32,
}

impl Header {
    /// Reads a header from the start of `input`. Returns `None` if it is incomplete.
    pub(super) fn read(input: &[u8]) -> Option<Self> {
        let &[l0, l1, l2, kind, flags, s0, s1, s2, s3] = input.first_chunk::<HEADER_LEN>()?;
        Some(Self {
            len: u32::from_be_bytes([0, l0, l1, l2]),
            kind: Kind::from_byte(kind),
            flags,
            stream: u32::from_be_bytes([s0, s1, s2, s3]) & 0x7fff_ffff,
        })
    }

    pub(super) fn bytes(self) -> [u8; HEADER_LEN] {
        let [_, l0, l1, l2] = self.len.to_be_bytes();
        let [s0, s1, s2, s3] = self.stream.to_be_bytes();
        [l0, l1, l2, self.kind.byte(), self.flags, s0, s1, s2, s3]
    }

    pub(super) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

pub(super) fn put_header(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, len: usize) {
    out.extend_from_slice(&Header { len: len as u32, kind, flags, stream }.bytes());
}

fn put<const N: usize>(out: &mut Vec<u8>, kind: Kind, flags: u8, stream: u32, payload: [u8; N]) {
    put_header(out, kind, flags, stream, N);
    out.extend_from_slice(&payload);
}

pub(super) fn put_window_update(out: &mut Vec<u8>, stream: u32, increment: u32) {
    put(out, Kind::WindowUpdate, 0, stream, increment.to_be_bytes());
}

pub(super) fn put_reset(out: &mut Vec<u8>, stream: u32, code: super::Code) {
    put(out, Kind::RstStream, 0, stream, code.0.to_be_bytes());
}

pub(super) fn put_ping(out: &mut Vec<u8>, ack: bool, payload: u64) {
    put(out, Kind::Ping, if ack { flag::ACK } else { 0 }, 0, payload.to_be_bytes());
}

/// Appends GOAWAY. `last` is the last stream of the peer that is or may be processed.
pub(super) fn put_go_away(out: &mut Vec<u8>, last: u32, code: super::Code) {
    put(out, Kind::GoAway, 0, 0, (u64::from(last) << 32 | u64::from(code.0)).to_be_bytes());
}

pub(super) fn put_settings_ack(out: &mut Vec<u8>) {
    put_header(out, Kind::Settings, flag::ACK, 0, 0);
}

/// Returns the payload without padding and the deprecated priority fields (RFC 9113 6.1, 6.2), or `None` if they exceed
/// it.
pub(super) fn strip(header: Header, payload: &[u8]) -> Option<&[u8]> {
    let mut rest = payload;
    if header.has(flag::PADDED) {
        let (&pad, after) = rest.split_first()?;
        rest = after.get(..after.len().checked_sub(usize::from(pad))?)?;
    }
    if header.has(flag::PRIORITY) {
        rest = rest.get(5..)?;
    }
    Some(rest)
}

/// Reads a 32-bit integer from the start of `payload`.
pub(super) fn number(payload: &[u8]) -> Option<u32> {
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_written() {
        for kind in 0..=9 {
            let header = Header { len: 0x01_02_03, kind: Kind::from_byte(kind), flags: 0xa5, stream: 0x7fff_fff1 };
            assert_eq!(header.kind.byte(), kind);
            assert_eq!(Header::read(&header.bytes()), Some(header));
        }
        assert_eq!(Header::read(&[0; 8]), None);
        let reserved = [0, 0, 0, 0x20, 0, 0x80, 0, 0, 1];
        assert_eq!(Header::read(&reserved).map(|header| (header.kind, header.stream)), Some((Kind::Unknown, 1)));
    }

    #[test]
    fn padding_and_priority_must_fit() {
        let header = |flags| Header { len: 0, kind: Kind::Headers, flags, stream: 1 };
        assert_eq!(strip(header(flag::PADDED), &[2, b'a', 0, 0]), Some(&b"a"[..]));
        assert_eq!(strip(header(flag::PADDED), &[3, b'a', 0]), None);
        assert_eq!(strip(header(flag::PADDED), &[]), None);
        assert_eq!(strip(header(flag::PRIORITY), &[0, 0, 0, 0, 1, b'a']), Some(&b"a"[..]));
        assert_eq!(strip(header(flag::PRIORITY), &[0, 0, 0, 0]), None);
        let both = flag::PADDED | flag::PRIORITY;
        assert_eq!(strip(header(both), &[1, 0, 0, 0, 0, 1, b'a', 0]), Some(&b"a"[..]));
        assert_eq!(strip(header(both), &[1, 0, 0, 0, 0, 0]), None);
    }
}
