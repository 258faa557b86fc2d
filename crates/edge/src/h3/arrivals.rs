//! How much of a request body may lie unread in the QUIC engine, which does not tell: for the budget of request bodies.
//!
//! It is bounded three ways, and the least counts: one datagram for each STREAM frame that came, all datagrams of the
//! connection since the body was last read to its end, and the credit that the client has. A client that fills its
//! packets is counted to within a few percent; one that sends many small pieces at most by its credit.

/// The datagrams of a connection.
#[derive(Clone, Copy, Default)]
pub(crate) struct Received {
    bytes: u64,
    /// Bytes of the largest.
    largest: u64,
}

impl Received {
    /// One more of so many bytes.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.largest = self.largest.max(bytes);
    }
}

/// What came of one body since it was last read as far as it had come.
#[derive(Clone, Copy, Default)]
pub(crate) struct Arrivals {
    frames: u64,
    /// Bytes of datagrams that the connection had received before the first of these frames.
    before: u64,
    read: u64,
}

impl Arrivals {
    /// A frame came after all that is in `before`.
    pub(super) fn on_frame(&mut self, before: Received) {
        if self.frames == 0 {
            self.before = before.bytes;
        }
        self.frames += 1;
    }

    /// So many bytes were read.
    pub(super) fn on_read(&mut self, bytes: usize) {
        self.read += bytes as u64;
    }

    /// There is no more to be read for now.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// At most so many bytes wait to be read; `credit` is what the client may send beyond what was read.
    pub(super) fn unread(&self, received: Received, credit: u64) -> u64 {
        let by_frames = self.frames.saturating_mul(received.largest);
        let by_bytes = received.bytes.saturating_sub(self.before);
        by_frames.min(by_bytes).saturating_sub(self.read).min(credit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(bytes: u64) -> Received {
        Received { bytes, largest: 1_200 }
    }

    #[test]
    fn the_least_of_three_bounds_counts() {
        let mut body = Arrivals::default();
        assert_eq!(body.unread(received(9_000), 5_000), 0, "nothing came for it");
        body.on_frame(received(1_000));
        assert_eq!(body.unread(received(1_900), 5_000), 900, "all that the connection received since");
        assert_eq!(body.unread(received(9_000), 5_000), 1_200, "a frame is no larger than a datagram");
        for _ in 0..9 {
            body.on_frame(received(9_000));
        }
        assert_eq!(body.unread(received(100_000), 5_000), 5_000, "the client's credit");
        body.on_read(8_000);
        assert_eq!(body.unread(received(100_000), 5_000), 4_000);
        body.clear();
        assert_eq!(body.unread(received(100_000), 5_000), 0);
    }

    #[test]
    fn the_largest_datagram_is_remembered() {
        let mut received = Received::default();
        for bytes in [100, 1_452, 30] {
            received.add(bytes);
        }
        assert_eq!((received.bytes, received.largest), (1_582, 1_452));
    }
}
