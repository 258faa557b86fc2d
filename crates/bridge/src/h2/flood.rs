//! Limits on work that a peer can cause without progress (RFC 9113 10.5).

use std::time::Duration;

use super::ConnectionError;
use crate::flood::FloodCounter;

/// Useless frames (PING, SETTINGS, PRIORITY, unknown types, empty DATA, unneeded `WINDOW_UPDATE`, frames of closed
/// streams) of a backend between two useful ones. The owner's tick resets the count.
pub(super) const MAX_USELESS_FRAMES: u32 = 10_000;
/// Acknowledgements of PING and SETTINGS queued while the peer reads no output.
pub(super) const MAX_PENDING_REPLIES: u32 = 1_000;
/// CONTINUATION frames of one field block, unless the limit of the section needs more.
pub(super) const MAX_CONTINUATIONS: u32 = 64;
/// Interim responses of one stream.
pub(super) const MAX_INTERIM: u8 = 16;
/// `WINDOW_UPDATE` frames that the peer may send later for DATA that it has received.
const MAX_EXPECTED_UPDATES: u32 = 65_536;

#[derive(Debug, Default)]
pub(super) struct FloodLimits {
    /// Since the last useful frame. Not used for clients.
    useless_frames: u32,
    /// The limits on clients, which are not trusted. `None` if the peer is a backend.
    client: Option<ClientLimits>,
    replies: u32,
    /// `WINDOW_UPDATE` frames to expect for the DATA that was sent.
    expected_updates: u32,
    /// Bytes that the peer may still send on streams that this side has reset, because it does not know of the reset
    /// yet.
    late_bytes: u64,
    /// Trailers that the peer may still send on such streams.
    late_sections: u32,
    /// Streams that the peer has reset. A frame on each of them is an error of the stream only.
    peer_resets: u32,
}

/// Which side has reset a closed stream, or may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resetter {
    ThisSide,
    Peer,
}

/// What a client did in the last ten seconds.
#[derive(Debug, Default)]
struct ClientLimits {
    frames: FloodCounter,
    requests: FloodCounter,
    /// Time since any fixed point.
    now: Duration,
}

impl FloodLimits {
    /// Creates the limits on a backend.
    pub(super) fn of_backend() -> Self {
        Self::default()
    }

    /// Creates the limits on a client.
    pub(super) fn of_client() -> Self {
        Self { client: Some(ClientLimits::default()), ..Self::default() }
    }

    /// Sets the time at which a client's frames are received.
    pub(super) fn set_now(&mut self, now: Duration) {
        if let Some(client) = &mut self.client {
            client.now = now;
        }
    }

    /// Notes that a useful frame was received or sent.
    pub(super) fn progress(&mut self) {
        self.useless_frames = 0;
        if let Some(client) = &mut self.client {
            client.frames.note(0, 1, client.now);
        }
    }

    /// Notes that this number of bytes was sent in DATA, for which the peer sends `WINDOW_UPDATE`: for the stream and
    /// for the connection, in steps that no useful implementation makes smaller than 256 bytes.
    pub(super) fn data_sent(&mut self, bytes: usize) {
        let updates = u32::try_from(bytes / 256).unwrap_or(MAX_EXPECTED_UPDATES).saturating_add(2);
        self.expected_updates = self.expected_updates.saturating_add(updates).min(MAX_EXPECTED_UPDATES);
        self.progress();
    }

    /// Counts `WINDOW_UPDATE`, which is useless beyond the number expected.
    pub(super) fn window_update(&mut self) -> Result<(), ConnectionError> {
        match self.expected_updates.checked_sub(1) {
            Some(left) => self.expected_updates = left,
            None => return self.useless_frame(),
        }
        Ok(())
    }

    /// Counts a useless frame.
    pub(super) fn useless_frame(&mut self) -> Result<(), ConnectionError> {
        match &mut self.client {
            None => {
                self.useless_frames += 1;
                if self.useless_frames > MAX_USELESS_FRAMES {
                    return Err(ConnectionError::limit("too many useless frames", "MAX_USELESS_FRAMES"));
                }
            }
            Some(client) => {
                if client.frames.note(1, 1, client.now) {
                    return Err(ConnectionError::limit("flood of frames without use", "RFC 9113 10.5"));
                }
            }
        }
        Ok(())
    }

    /// Counts a request that a client opened.
    pub(super) fn request_opened(&mut self) {
        if let Some(client) = &mut self.client {
            client.requests.note(0, 1, client.now);
        }
    }

    /// Counts a request that a client ended early: it was reset, refused, or violated the protocol.
    pub(super) fn request_aborted(&mut self) -> Result<(), ConnectionError> {
        if let Some(client) = &mut self.client
            && client.requests.note(1, 0, client.now)
        {
            return Err(ConnectionError::limit("flood of cancelled or malformed requests", "RFC 9113 10.5"));
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

    /// Notes that this side has reset a stream on which the peer may send `bytes` more.
    pub(super) fn reset_sent(&mut self, bytes: u32) {
        self.late_bytes = self.late_bytes.saturating_add(u64::from(bytes));
        self.late_sections = self.late_sections.saturating_add(1);
    }

    pub(super) fn reset_received(&mut self) {
        self.peer_resets = self.peer_resets.saturating_add(1);
    }

    /// Counts HEADERS of a closed stream. `None` if the stream cannot have been reset, so it has ended.
    pub(super) fn late_section(&mut self) -> Option<Resetter> {
        if let Some(left) = self.late_sections.checked_sub(1) {
            self.late_sections = left;
            return Some(Resetter::ThisSide);
        }
        self.peer_resets = self.peer_resets.checked_sub(1)?;
        Some(Resetter::Peer)
    }

    /// Counts the bytes of DATA of a closed stream.
    pub(super) fn late_data(&mut self, bytes: u32) -> Result<Resetter, ConnectionError> {
        if let Some(left) = self.late_bytes.checked_sub(u64::from(bytes)) {
            self.late_bytes = left;
            return Ok(Resetter::ThisSide);
        }
        let left = self.peer_resets.checked_sub(1);
        self.peer_resets = left.ok_or(ConnectionError::closed("DATA for closed streams beyond their windows"))?;
        self.useless_frame()?;
        Ok(Resetter::Peer)
    }
}
