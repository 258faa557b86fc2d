//! The received part of a request body that the exchange has not read. The windows of the protocol bound it.

use crate::event::BodyRead;
use bytes::{Bytes, BytesMut};
use spooky_bridge::message::Fields;
use std::collections::VecDeque;

/// Pieces smaller than this are copied together: each would keep the buffer in memory with which it was received.
const SMALL: usize = 1024;
/// Capacity for small pieces.
const GATHERED: usize = 16 * 1024;

/// A body in the order of its arrival. The last piece may be in `gathered`.
#[derive(Default)]
pub(super) struct BodyQueue {
    pieces: VecDeque<Bytes>,
    gathered: BytesMut,
    bytes: usize,
    trailers: Option<Box<Fields>>,
    end: End,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum End {
    #[default]
    Unknown,
    Complete,
    /// The rest of the body is malformed.
    Malformed(&'static str),
}

impl BodyQueue {
    /// Creates a body that is complete and empty.
    pub(super) fn none() -> Self {
        Self { end: End::Complete, ..Self::default() }
    }

    /// Number of bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        if piece.is_empty() {
            return;
        }
        if piece.len() >= SMALL {
            self.close();
            self.pieces.push_back(piece);
        } else if self.pieces.is_empty() && self.gathered.is_empty() {
            self.pieces.push_back(Bytes::copy_from_slice(&piece));
        } else {
            if self.gathered.capacity() - self.gathered.len() < piece.len() {
                self.close();
                self.gathered.reserve(GATHERED);
            }
            self.gathered.extend_from_slice(&piece);
        }
    }

    /// Notes that the body is complete.
    pub(super) fn complete(&mut self, trailers: Option<Box<Fields>>) {
        self.trailers = trailers;
        self.end = End::Complete;
    }

    /// Notes that the rest of the body is malformed.
    pub(super) fn fail(&mut self, reason: &'static str) {
        self.end = End::Malformed(reason);
    }

    /// Drops everything. Nothing more will be read.
    pub(super) fn clear(&mut self) {
        *self = Self::none();
    }

    /// Takes at most `max` bytes, then the trailers, then the end.
    pub(super) fn read(&mut self, max: usize) -> BodyRead {
        if self.pieces.is_empty() {
            self.close();
        }
        if let Some(front) = self.pieces.front_mut() {
            let taken = if front.len() <= max { self.pieces.pop_front() } else { Some(front.split_to(max)) };
            let taken = taken.unwrap_or_default();
            self.bytes -= taken.len();
            return BodyRead::Data(taken);
        }
        match (self.end, self.trailers.take()) {
            (End::Unknown, _) => BodyRead::Pending,
            (End::Malformed(reason), _) => BodyRead::Malformed(reason),
            (End::Complete, Some(trailers)) => BodyRead::Trailers(trailers),
            (End::Complete, None) => BodyRead::End,
        }
    }

    fn close(&mut self) {
        if !self.gathered.is_empty() {
            let piece = self.gathered.split().freeze();
            self.pieces.push_back(piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(read: BodyRead) -> Vec<u8> {
        match read {
            BodyRead::Data(data) => data.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_body_is_read_in_order_and_in_parts_of_any_size() {
        let (mut queue, mut expected) = (BodyQueue::default(), Vec::new());
        for round in 0..200u8 {
            let piece = vec![round; if round % 7 == 0 { 3000 } else { usize::from(round) }];
            expected.extend_from_slice(&piece);
            queue.push(piece.into());
        }
        assert_eq!(queue.bytes(), expected.len());
        let mut got = Vec::new();
        while queue.bytes() > 0 {
            let part = data(queue.read(700));
            assert!((1..=700).contains(&part.len()));
            got.extend(part);
        }
        assert!(got == expected && matches!(queue.read(1), BodyRead::Pending));
        queue.push(Bytes::from_static(b"last"));
        queue.complete(Some(Box::default()));
        assert_eq!(data(queue.read(100)), b"last");
        assert!(matches!(queue.read(1), BodyRead::Trailers(_)) && matches!(queue.read(1), BodyRead::End));
    }

    #[test]
    fn small_pieces_do_not_keep_the_buffers_they_were_received_with() {
        let mut queue = BodyQueue::default();
        for _ in 0..50_000 {
            queue.push(Bytes::from(vec![0; 4096]).slice(..1));
        }
        assert!(queue.pieces.len() < 10, "{} pieces", queue.pieces.len());
        queue.clear();
        assert!(matches!(queue.read(1), BodyRead::End));
    }
}
