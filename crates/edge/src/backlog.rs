//! Response bytes that the connection of the client has not accepted yet, and how many of them are body bytes, for which the
//! backend gets credit.
//!
//! Small pieces are merged, so that a body that arrives byte by byte does not need more memory than its bytes.

use bytes::Bytes;
use std::{collections::VecDeque, mem};

/// Size below which pieces are merged.
const SMALL: usize = 1024;
/// Maximum size of a merged piece.
const GATHERED: usize = 16 * 1024;

struct Piece {
    bytes: Bytes,
    /// Body bytes in it that were not reported as accepted yet.
    body: usize,
}

/// Bytes that the connection accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) all: usize,
    pub(crate) body: usize,
}

#[derive(Default)]
pub(crate) struct Backlog {
    pieces: VecDeque<Piece>,
    /// Total bytes.
    bytes: usize,
    /// The last, small pieces.
    gathered: Vec<u8>,
    gathered_body: usize,
}

impl Backlog {
    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.gathered.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn push_body(&mut self, bytes: Bytes) {
        let body = bytes.len();
        if bytes.len() < SMALL {
            self.gather(&bytes, body);
        } else {
            self.close();
            self.bytes += body;
            self.pieces.push_back(Piece { bytes, body });
        }
    }

    /// Appends a copy of bytes that are not body.
    pub(crate) fn push_framing(&mut self, bytes: &[u8]) {
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

    /// Writes the pieces with `write`, which removes bytes from the front of its argument and returns their number, or `None`
    /// if it is blocked. The body bytes of a merged piece count as accepted first: their credit may be given a little early,
    /// but never twice.
    pub(crate) fn write(&mut self, mut write: impl FnMut(&mut Bytes) -> Option<usize>) -> Taken {
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
            // After a partial write the next one is blocked, which makes the connection report when it is not.
            if written == before {
                self.pieces.pop_front();
            }
        }
    }

    /// Ends the merged piece.
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
