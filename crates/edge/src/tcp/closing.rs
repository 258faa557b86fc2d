//! The end of a connection: the last bytes are sent, then what the client still sends is discarded for a time.
//!
//! A socket that is closed with unread bytes is reset by the kernel, and a reset may destroy the last response in the
//! client's kernel before the client has read it (RFC 9112 section 9.6).

use std::time::{Duration, Instant};

/// Maximum time for which the client's end of the connection is awaited.
const LINGER_TIME: Duration = Duration::from_secs(5);
/// Bytes that are discarded. A client that sends more is not read any further, but still has the time to read.
const LINGER_BYTES: usize = 64 * 1024;

pub(super) struct Closing {
    /// The connection is closed at the latest at this time.
    pub(super) until: Instant,
    /// Bytes that may still be discarded.
    left: usize,
    /// Everything was sent, and the sending side is closed.
    pub(super) is_shut: bool,
}

impl Closing {
    pub(super) fn new(now: Instant) -> Self {
        Self { until: now + LINGER_TIME, left: LINGER_BYTES, is_shut: false }
    }

    /// Returns whether the socket is read.
    pub(super) fn discards(&self) -> bool {
        self.left > 0
    }

    pub(super) fn on_discarded(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}
