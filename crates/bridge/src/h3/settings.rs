//! SETTINGS of both sides (RFC 9114 7.2.4, RFC 9204 5, RFC 9220 3).

use super::{
    code::{Code, Error},
    frame::{read_varint, write_varint},
};

const QPACK_MAX_TABLE_CAPACITY: u64 = 0x01;
const MAX_FIELD_SECTION_SIZE: u64 = 0x06;
const QPACK_BLOCKED_STREAMS: u64 = 0x07;
const ENABLE_CONNECT_PROTOCOL: u64 = 0x08;
/// Identifiers of HTTP/2 without a counterpart (RFC 9114 11.2.2).
const RESERVED: [u64; 5] = [0x00, 0x02, 0x03, 0x04, 0x05];
/// A reserved identifier without meaning, sent so that peers keep ignoring unknown ones (RFC 9114 7.2.4.1).
const GREASE: u64 = 0x1f * 73 + 0x21;
/// Maximum number of settings in a frame; fewer than ten are in use.
const MAX_SETTINGS: usize = 128;

/// Settings of the server. The dynamic table of QPACK is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Limit on the names and values of a field section plus 32 bytes per field.
    pub max_field_section_size: u64,
    /// Extended CONNECT is supported (RFC 9220).
    pub enable_connect_protocol: bool,
}

impl Default for Settings {
    /// 16 KiB and 128 fields, no extended CONNECT.
    fn default() -> Self {
        Self { max_field_section_size: 16_384 + 128 * 32, enable_connect_protocol: false }
    }
}

impl Settings {
    /// Appends the payload of the SETTINGS frame.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let connect = (ENABLE_CONNECT_PROTOCOL, u64::from(self.enable_connect_protocol));
        let pairs = [
            (MAX_FIELD_SECTION_SIZE, self.max_field_section_size),
            (QPACK_MAX_TABLE_CAPACITY, 0),
            (QPACK_BLOCKED_STREAMS, 0),
            (GREASE, 0),
        ];
        for (id, value) in pairs.into_iter().chain(self.enable_connect_protocol.then_some(connect)) {
            write_varint(id, out);
            write_varint(value, out);
        }
    }
}

/// Settings of the client; the defaults until they arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerSettings {
    /// Limit on the field sections that it accepts; `None` means no limit.
    pub max_field_section_size: Option<u64>,
    /// Capacity of its QPACK decoder's dynamic table.
    pub qpack_max_table_capacity: u64,
    /// Streams that its QPACK decoder may block.
    pub qpack_blocked_streams: u64,
    /// It supports extended CONNECT.
    pub enable_connect_protocol: bool,
}

impl PeerSettings {
    /// Reads the payload of a SETTINGS frame.
    pub(super) fn decode(mut payload: &[u8]) -> Result<Self, Error> {
        let mut peer = Self::default();
        let mut seen = Vec::new();
        while !payload.is_empty() {
            let pair = read_varint(&mut payload).zip(read_varint(&mut payload));
            let (id, value) = pair.ok_or(Error::connection(Code::FRAME_ERROR, "SETTINGS cut short", "RFC 9114 7.1"))?;
            if RESERVED.contains(&id) {
                return Err(invalid("setting of HTTP/2", "RFC 9114 7.2.4.1"));
            }
            if seen.contains(&id) {
                return Err(invalid("setting sent twice", "RFC 9114 7.2.4"));
            }
            seen.push(id);
            if seen.len() > MAX_SETTINGS {
                return Err(Error::connection(Code::EXCESSIVE_LOAD, "too many settings", "RFC 9114 10.5"));
            }
            match id {
                MAX_FIELD_SECTION_SIZE => peer.max_field_section_size = Some(value),
                QPACK_MAX_TABLE_CAPACITY => peer.qpack_max_table_capacity = value,
                QPACK_BLOCKED_STREAMS => peer.qpack_blocked_streams = value,
                ENABLE_CONNECT_PROTOCOL => {
                    peer.enable_connect_protocol = match value {
                        0 => false,
                        1 => true,
                        _ => return Err(invalid("ENABLE_CONNECT_PROTOCOL is neither 0 nor 1", "RFC 8441 3")),
                    }
                }
                _ => {}
            }
        }
        Ok(peer)
    }
}

fn invalid(reason: &'static str, clause: &'static str) -> Error {
    Error::connection(Code::SETTINGS_ERROR, reason, clause)
}
