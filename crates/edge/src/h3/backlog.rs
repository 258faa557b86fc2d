//! Bytes of one response that wait until QUIC takes them, and how many of them are body, for which the backend gets credit.
//!
//! Small pieces are gathered: a backend that sends its body byte by byte to a client that does not read must not cost more
//! than the bytes. Called by `stream`.

use bytes::Bytes;
use std::{collections::VecDeque, mem};

/// Pieces below this are gathered with their neighbours.
const SMALL: usize = 1024;
/// Bytes gathered into one piece.
const GATHERED: usize = 16 * 1024;

/// Bytes that are given to QUIC as one.
struct Piece {
    bytes: Bytes,
    /// Bytes of body in it that are not accounted for yet.
    body: usize,
}

/// What QUIC took of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Bytes.
    pub(super) all: usize,
    /// Bytes of body.
    pub(super) body: usize,
}

/// What waits, in order.
#[derive(Default)]
pub(super) struct Backlog {
    pieces: VecDeque<Piece>,
    /// Bytes in all of it.
    bytes: usize,
    /// The small ones behind them.
    gathered: Vec<u8>,
    gathered_body: usize,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.gathered.is_empty()
    }

    /// Bytes that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Puts body bytes behind those that wait.
    pub(super) fn push_body(&mut self, bytes: Bytes) {
        let body = bytes.len();
        if bytes.len() < SMALL {
            self.gather(&bytes, body);
        } else {
            self.close();
            self.bytes += body;
            self.pieces.push_back(Piece { bytes, body });
        }
    }

    /// Puts a copy of bytes that are no body behind those that wait.
    pub(super) fn push_framing(&mut self, bytes: &[u8]) {
        self.gather(bytes, 0);
    }

    fn gather(&mut self, bytes: &[u8], body: usize) {
        self.bytes += bytes.len();
        self.gathered.extend_from_slice(bytes);
        self.gathered_body += body;
        if self.gathered.len() >= GATHERED {
            self.close();
        }
    }

    /// Offers what waits to `write`, which takes bytes off the front of its argument and gives their number, or `None` if it
    /// can take nothing now. The body bytes of a gathered piece count as taken first: the credit for one piece may come a
    /// little early, never twice.
    pub(super) fn write(&mut self, mut write: impl FnMut(&mut Bytes) -> Option<usize>) -> Taken {
        let mut taken = Taken::default();
        loop {
            if self.pieces.is_empty() {
                self.close();
            }
            let Some(front) = self.pieces.front_mut() else { return taken };
            let before = front.bytes.len();
            let Some(written) = write(&mut front.bytes) else { return taken };
            let body = written.min(front.body);
            front.body -= body;
            self.bytes -= written;
            taken.body += body;
            taken.all += written;
            // After a partial write the next one fails as blocked, which is what asks QUIC for `Writable`.
            if written == before {
                self.pieces.pop_front();
            }
        }
    }

    /// Makes a piece of what was gathered.
    fn close(&mut self) {
        if !self.gathered.is_empty() {
            let bytes = Bytes::from(mem::take(&mut self.gathered));
            self.pieces.push_back(Piece { bytes, body: mem::take(&mut self.gathered_body) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf as _;

    #[test]
    fn a_body_that_comes_byte_by_byte_costs_its_bytes() {
        let mut backlog = Backlog::default();
        for _ in 0..65_536 {
            backlog.push_framing(b"\x00\x01");
            backlog.push_body(Bytes::from_static(b"x"));
            assert_eq!(backlog.write(|_| None), Taken::default());
        }
        assert!(backlog.pieces.len() <= 1 + 3 * 65_536 / GATHERED, "{} pieces", backlog.pieces.len());
        assert_eq!(backlog.bytes(), 3 * 65_536);
        let taken = backlog.write(|bytes| Some(mem::take(bytes).len()));
        assert_eq!(taken, Taken { all: 3 * 65_536, body: 65_536 });
        assert_eq!((backlog.bytes(), backlog.is_empty()), (0, true));
    }

    #[test]
    fn order_and_credit_survive_writes_of_any_size() {
        let seed = 0x5EED_u64;
        println!("seed {seed}");
        let mut state = seed;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        let (mut backlog, mut sent, mut got, mut body, mut credit) = (Backlog::default(), vec![], vec![], 0, 0);
        for round in (0..=u8::MAX).cycle().take(2000) {
            let is_body = random(3) > 0;
            let limit = if random(4) == 0 { 5000 } else { 40 };
            let piece = vec![round; random(limit)];
            body += if is_body { piece.len() } else { 0 };
            sent.extend_from_slice(&piece);
            if is_body {
                backlog.push_body(piece.into());
            } else {
                backlog.push_framing(&piece);
            }
            let mut room = random(1500);
            let taken = backlog.write(|bytes| {
                let taken = bytes.len().min(room);
                if taken == 0 {
                    return None;
                }
                room -= taken;
                got.extend_from_slice(&bytes[..taken]);
                bytes.advance(taken);
                Some(taken)
            });
            credit += taken.body;
            assert!(credit <= body);
            assert_eq!(backlog.bytes(), sent.len() - got.len());
        }
        let rest = backlog.write(|bytes| {
            got.extend_from_slice(bytes);
            Some(mem::take(bytes).len())
        });
        credit += rest.body;
        assert!(got == sent && backlog.is_empty() && backlog.bytes() == 0);
        assert_eq!(credit, body);
    }
}
