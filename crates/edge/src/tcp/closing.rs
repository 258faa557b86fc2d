//! The end of a connection: the last bytes are sent, then what the client still sends is discarded for a time.
//!
//! A socket that is closed with unread bytes is reset by the kernel, and a reset may destroy the last response in the
//! client's kernel before the client has read it (RFC 9112 section 9.6).

use std::time::{Duration, Instant};

/// Maximum time for which the end of a client is awaited that is still sending.
const LINGER_TIME: Duration = Duration::from_secs(5);
/// The same for a client that has sent all of its requests, and may just be sending another one.
const SHORT_LINGER_TIME: Duration = Duration::from_secs(1);
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
    /// `is_sending` says whether the client has sent a part of something.
    pub(super) fn new(now: Instant, is_sending: bool) -> Self {
        Self {
            until: now + if is_sending { LINGER_TIME } else { SHORT_LINGER_TIME },
            left: LINGER_BYTES,
            is_shut: false,
        }
    }

    /// Returns whether the socket is read.
    pub(super) fn discards(&self) -> bool {
        self.left > 0
    }

    pub(super) fn on_discarded(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}
