//! Limits that each role announces in SETTINGS and enforces.

use crate::message::{
    Protocol,
    check::{HeadLimits, RequestRules},
};

/// Limits of a client.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of response body that a stream may receive before [`super::Connection::release`]
    /// (`SETTINGS_INITIAL_WINDOW_SIZE`), at most 2^31 - 1.
    pub initial_stream_window: u32,
    /// Bytes of DATA in flight over all streams, at least 65 535 and at most 2^31 - 1.
    pub connection_window: u32,
    /// Largest frame payload accepted (`SETTINGS_MAX_FRAME_SIZE`), 16 384 to 2^24 - 1.
    pub max_frame_size: u32,
    /// Size of the dynamic table for responses (`SETTINGS_HEADER_TABLE_SIZE`).
    pub header_table_size: u32,
    /// Largest field section accepted: names, values and 32 bytes for each field (`SETTINGS_MAX_HEADER_LIST_SIZE`). A
    /// larger one ends its stream with [`super::Event::HeadersTooLarge`].
    pub max_header_list: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            initial_stream_window: 256 * 1024,
            connection_window: 16 * 1024 * 1024,
            max_frame_size: 16_384,
            header_table_size: 4096,
            max_header_list: 65_536,
        }
    }
}

/// Limits and rules of a server.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Bytes of request body that a stream may receive before [`super::Connection::release`]
    /// (`SETTINGS_INITIAL_WINDOW_SIZE`), at most 2^31 - 1.
    pub initial_stream_window: u32,
    /// Bytes of DATA in flight over all streams, at least 65 535 and at most 2^31 - 1.
    pub connection_window: u32,
    /// Largest frame payload accepted (`SETTINGS_MAX_FRAME_SIZE`), 16 384 to 2^24 - 1.
    pub max_frame_size: u32,
    /// Size of the dynamic table for requests (`SETTINGS_HEADER_TABLE_SIZE`).
    pub header_table_size: u32,
    /// Maximum number of open streams (`SETTINGS_MAX_CONCURRENT_STREAMS`). Further ones are refused.
    pub max_streams: u32,
    /// Limits on heads and trailers, announced as `SETTINGS_MAX_HEADER_LIST_SIZE`. A larger head becomes
    /// [`super::ServerEvent::Refused`], up to four times the limits; beyond that its stream is reset.
    pub limits: HeadLimits,
    /// Checks of requests. `extended_connect` announces `SETTINGS_ENABLE_CONNECT_PROTOCOL` (RFC 8441).
    pub rules: RequestRules,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            initial_stream_window: 256 * 1024,
            connection_window: 16 * 1024 * 1024,
            max_frame_size: 16_384,
            header_table_size: 4096,
            max_streams: 100,
            limits: HeadLimits::default(),
            rules: RequestRules::new(Protocol::Http2),
        }
    }
}
