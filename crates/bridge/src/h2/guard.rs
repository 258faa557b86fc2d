//! Limits on what a peer may make this client do for nothing (RFC 9113 10.5).

use super::{Code, ConnectionError};

/// Frames that bring nothing (PING, SETTINGS, PRIORITY, unknown ones, empty DATA, `WINDOW_UPDATE`, frames of closed
/// streams) between two that do. The owner's tick begins a new count.
pub(super) const MAX_IDLE_FRAMES: u32 = 10_000;
/// Answers (to PING and SETTINGS) queued while the peer takes no output.
pub(super) const MAX_PENDING_REPLIES: u32 = 1_000;
/// CONTINUATION frames of one field block.
pub(super) const MAX_CONTINUATIONS: u32 = 64;
/// Interim responses of one stream.
pub(super) const MAX_INTERIM: u8 = 16;

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Guard {
    idle_frames: u32,
    replies: u32,
    /// Bytes that the peer may still send for streams which this side has reset, because it did not know.
    stray_bytes: u64,
}

impl Guard {
    /// Something useful came or was sent.
    pub(super) fn progress(&mut self) {
        self.idle_frames = 0;
    }

    /// A frame came that brings nothing.
    pub(super) fn idle_frame(&mut self) -> Result<(), ConnectionError> {
        self.idle_frames += 1;
        if self.idle_frames > MAX_IDLE_FRAMES {
            return Err(ConnectionError::limit("too many frames that bring nothing", "MAX_IDLE_FRAMES"));
        }
        Ok(())
    }

    /// An answer is about to be queued; `flushed`: the output is empty.
    pub(super) fn reply(&mut self, flushed: bool) -> Result<(), ConnectionError> {
        self.replies = if flushed { 1 } else { self.replies + 1 };
        if self.replies > MAX_PENDING_REPLIES {
            return Err(ConnectionError::limit("too many frames that want an answer", "MAX_PENDING_REPLIES"));
        }
        Ok(())
    }

    /// A stream was reset by this side while the peer could send `bytes` more.
    pub(super) fn expect_stray(&mut self, bytes: u32) {
        self.stray_bytes = self.stray_bytes.saturating_add(u64::from(bytes));
    }

    /// DATA of a closed stream came.
    pub(super) fn stray_data(&mut self, bytes: u32) -> Result<(), ConnectionError> {
        match self.stray_bytes.checked_sub(u64::from(bytes)) {
            Some(left) => self.stray_bytes = left,
            None => {
                return Err(ConnectionError {
                    code: Code::STREAM_CLOSED,
                    reason: "DATA for closed streams beyond their windows",
                    clause: "RFC 9113 5.1",
                });
            }
        }
        if bytes == 0 { self.idle_frame() } else { Ok(()) }
    }
}
