//! Estimates how many bytes of a request quinn-proto buffers, which it does not report, for the budget of request bodies.
//!
//! STREAM frames are counted where packets are decrypted. The estimate is the lower of two bounds: the bytes of all frames,
//! which may contain duplicates, and the distance from the bytes read to the last byte received, which may contain gaps.

use spooky_bridge::padding::StreamFrame;

/// Bytes received and read on one stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnreadEstimate {
    received: u64,
    end: u64,
    read: u64,
}

impl UnreadEstimate {
    pub(super) fn on_frame(&mut self, frame: &StreamFrame) {
        self.received = self.received.saturating_add(frame.length);
        self.end = self.end.max(frame.offset.saturating_add(frame.length));
    }

    pub(super) fn on_read(&mut self, bytes: usize) {
        self.read += bytes as u64;
    }

    /// Notes that nothing more can be read now.
    pub(super) fn on_drained(&mut self) {
        // Drop duplicates from the count: only bytes beyond a gap can still be buffered.
        self.received = self.received.min(self.end.max(self.read));
    }

    /// Returns an upper bound of the unread bytes; the client may send at most `credit` bytes beyond those that were read.
    pub(super) fn unread(&self, credit: u64) -> u64 {
        self.received.min(self.end).saturating_sub(self.read).min(credit)
    }
}

/// Frames of streams that quinn-proto has not announced yet. It does so in the same turn.
#[derive(Debug, Default)]
pub(crate) struct Unannounced(Vec<(u64, UnreadEstimate)>);

/// Maximum number of such streams; the first bytes of further ones are not counted.
const MAX_UNANNOUNCED: usize = 256;

impl Unannounced {
    pub(super) fn on_frame(&mut self, frame: &StreamFrame) {
        let found = self.0.iter_mut().rev().find(|entry| entry.0 == frame.stream);
        if let Some((_, unread)) = found {
            unread.on_frame(frame);
        } else if self.0.len() < MAX_UNANNOUNCED {
            let mut unread = UnreadEstimate::default();
            unread.on_frame(frame);
            self.0.push((frame.stream, unread));
        }
    }

    /// Takes the estimate of a stream that is announced now.
    pub(super) fn take(&mut self, stream: u64) -> UnreadEstimate {
        self.0.iter().find(|entry| entry.0 == stream).map_or_else(UnreadEstimate::default, |entry| entry.1)
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u64, offset: u64, length: u64) -> StreamFrame {
        StreamFrame { stream, offset, length, is_last: false }
    }

    #[test]
    fn a_stream_is_charged_for_its_own_bytes_and_once() {
        let mut body = UnreadEstimate::default();
        assert_eq!(body.unread(5_000), 0);
        body.on_frame(&frame(0, 0, 1_000));
        body.on_read(300);
        body.on_frame(&frame(0, 1_000, 1));
        assert_eq!(body.unread(5_000), 701);
        body.on_frame(&frame(0, 0, 1_000));
        assert_eq!(body.unread(5_000), 701, "what came again is not charged");
        body.on_read(701);
        body.on_drained();
        assert_eq!(body.unread(5_000), 0);
        body.on_frame(&frame(0, 1_001, 20));
        assert_eq!(body.unread(5_000), 20);
        assert_eq!(body.unread(7), 7, "the client's credit");
    }

    #[test]
    fn a_gap_is_charged_to_nobody() {
        let mut body = UnreadEstimate::default();
        body.on_frame(&frame(0, 900_000, 1));
        assert_eq!(body.unread(1_000_000), 1);
    }

    #[test]
    fn frames_that_come_before_their_stream_are_kept_for_it() {
        let mut early = Unannounced::default();
        for stream in 0..1_000 {
            early.on_frame(&frame(stream, 0, 3));
            early.on_frame(&frame(stream, 3, 4));
        }
        assert_eq!(early.0.len(), MAX_UNANNOUNCED);
        assert_eq!((early.take(9).unread(100), early.take(999).unread(100)), (7, 0));
        early.clear();
        assert_eq!(early.take(9).unread(100), 0);
    }
}
