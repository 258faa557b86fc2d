//! Limits on work that a peer can cause without progress (RFC 9113 10.5).

use super::{Code, ConnectionError};

/// Useless frames (PING, SETTINGS, PRIORITY, unknown types, empty DATA, `WINDOW_UPDATE`, frames of closed streams)
/// between two useful ones. The owner's tick resets the count.
pub(super) const MAX_USELESS_FRAMES: u32 = 10_000;
/// Acknowledgements of PING and SETTINGS queued while the peer reads no output.
pub(super) const MAX_PENDING_REPLIES: u32 = 1_000;
/// CONTINUATION frames of one field block.
pub(super) const MAX_CONTINUATIONS: u32 = 64;
/// Interim responses of one stream.
pub(super) const MAX_INTERIM: u8 = 16;

#[derive(Debug, Default)]
pub(super) struct FloodLimits {
    useless_frames: u32,
    replies: u32,
    /// Bytes that the peer may still send on streams that this side has reset, because it does not know of the reset
    /// yet.
    late_bytes: u64,
}

impl FloodLimits {
    /// Notes that a useful frame was received or sent.
    pub(super) fn progress(&mut self) {
        self.useless_frames = 0;
    }

    /// Counts a useless frame.
    pub(super) fn useless_frame(&mut self) -> Result<(), ConnectionError> {
        self.useless_frames += 1;
        if self.useless_frames > MAX_USELESS_FRAMES {
            return Err(ConnectionError::limit("too many useless frames", "MAX_USELESS_FRAMES"));
        }
        Ok(())
    }

    /// Counts an acknowledgement that is about to be queued. `flushed` says that the output is empty.
    pub(super) fn reply(&mut self, flushed: bool) -> Result<(), ConnectionError> {
        self.replies = if flushed { 1 } else { self.replies + 1 };
        if self.replies > MAX_PENDING_REPLIES {
            return Err(ConnectionError::limit(
                "too many PING or SETTINGS frames while no output is read",
                "MAX_PENDING_REPLIES",
            ));
        }
        Ok(())
    }

    /// Allows `bytes` more of DATA on a stream that this side has reset.
    pub(super) fn expect_late_data(&mut self, bytes: u32) {
        self.late_bytes = self.late_bytes.saturating_add(u64::from(bytes));
    }

    /// Counts DATA of a closed stream.
    pub(super) fn late_data(&mut self, bytes: u32) -> Result<(), ConnectionError> {
        match self.late_bytes.checked_sub(u64::from(bytes)) {
            Some(left) => self.late_bytes = left,
            None => {
                return Err(ConnectionError {
                    code: Code::STREAM_CLOSED,
                    reason: "DATA for closed streams beyond their windows",
                    clause: "RFC 9113 5.1",
                });
            }
        }
        if bytes == 0 { self.useless_frame() } else { Ok(()) }
    }
}
