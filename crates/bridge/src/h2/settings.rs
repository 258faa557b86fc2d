//! SETTINGS of both sides (RFC 9113 6.5).

use super::{Config, ConnectionError, flow, frame};

const CLAUSE: &str = "RFC 9113 6.5";

const HEADER_TABLE_SIZE: u16 = 0x1;
pub(super) const ENABLE_PUSH: u16 = 0x2;
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 0x3;
const INITIAL_WINDOW_SIZE: u16 = 0x4;
const MAX_FRAME_SIZE: u16 = 0x5;
const MAX_HEADER_LIST_SIZE: u16 = 0x6;
/// RFC 8441 3.
pub(super) const ENABLE_CONNECT_PROTOCOL: u16 = 0x8;

/// Limit of concurrent streams until the SETTINGS of the peer arrive: the minimum that RFC 9113 6.5.2 recommends.
const ASSUMED_STREAMS: u32 = 100;

/// Settings of the peer; the defaults of RFC 9113 6.5.2 until it has announced them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PeerSettings {
    pub(super) received: bool,
    pub(super) max_streams: u32,
    pub(super) initial_window: u32,
    pub(super) max_frame_size: u32,
    /// Largest field section that the peer accepts: names, values and 32 bytes for each field; `u32::MAX` means no
    /// limit.
    pub(super) max_header_list: u32,
    pub(super) extended_connect: bool,
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            received: false,
            max_streams: ASSUMED_STREAMS,
            initial_window: flow::DEFAULT_WINDOW,
            max_frame_size: frame::MIN_MAX_FRAME_SIZE,
            max_header_list: u32::MAX,
            extended_connect: false,
        }
    }
}

impl PeerSettings {
    /// Applies a SETTINGS payload in order. Calls `table_size` with each header table size in it. Only a client may
    /// enable push.
    pub(super) fn apply(
        &mut self,
        payload: &[u8],
        is_client: bool,
        mut table_size: impl FnMut(u32),
    ) -> Result<(), ConnectionError> {
        if !self.received {
            self.received = true;
            self.max_streams = u32::MAX; // unlimited unless it says otherwise (RFC 9113 6.5.2)
        }
        let (entries, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(ConnectionError::size("SETTINGS of a length that is no multiple of 6", CLAUSE));
        }
        for &[i0, i1, v0, v1, v2, v3] in entries {
            let value = u32::from_be_bytes([v0, v1, v2, v3]);
            match u16::from_be_bytes([i0, i1]) {
                HEADER_TABLE_SIZE => table_size(value),
                ENABLE_PUSH if value > u32::from(is_client) => {
                    return Err(ConnectionError::protocol("push enabled by a server, or neither on nor off", CLAUSE));
                }
                MAX_CONCURRENT_STREAMS => self.max_streams = value,
                INITIAL_WINDOW_SIZE if value > flow::MAX_WINDOW => {
                    return Err(ConnectionError::flow("initial window above 2^31 - 1", CLAUSE));
                }
                INITIAL_WINDOW_SIZE => self.initial_window = value,
                MAX_FRAME_SIZE if !(frame::MIN_MAX_FRAME_SIZE..=frame::MAX_MAX_FRAME_SIZE).contains(&value) => {
                    return Err(ConnectionError::protocol("maximum frame size out of range", CLAUSE));
                }
                MAX_FRAME_SIZE => self.max_frame_size = value,
                MAX_HEADER_LIST_SIZE => self.max_header_list = value,
                ENABLE_CONNECT_PROTOCOL if value > 1 || (value == 0 && self.extended_connect) => {
                    return Err(ConnectionError::protocol("extended CONNECT withdrawn or neither on nor off", CLAUSE));
                }
                ENABLE_CONNECT_PROTOCOL => self.extended_connect = value == 1,
                _ => {} // unknown ones are to be ignored (RFC 9113 6.5.2)
            }
        }
        Ok(())
    }
}

/// Appends the first SETTINGS; `role` has those that only one role sends.
pub(super) fn put(out: &mut Vec<u8>, config: &Config, role: &[(u16, u32)]) {
    let entries = [
        (HEADER_TABLE_SIZE, config.header_table_size),
        (INITIAL_WINDOW_SIZE, config.initial_stream_window),
        (MAX_FRAME_SIZE, config.max_frame_size),
        (MAX_HEADER_LIST_SIZE, config.max_header_list),
    ];
    put_entries(out, &[&entries, role].concat());
}

pub(super) fn put_initial_window(out: &mut Vec<u8>, size: u32) {
    put_entries(out, &[(INITIAL_WINDOW_SIZE, size)]);
}

fn put_entries(out: &mut Vec<u8>, entries: &[(u16, u32)]) {
    frame::put_header(out, frame::Kind::Settings, 0, 0, 6 * entries.len());
    for (id, value) in entries {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}
