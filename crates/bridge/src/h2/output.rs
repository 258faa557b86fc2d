//! Bytes waiting for the socket: one contiguous buffer, with large body slices queued between its parts uncopied.
//!
//! [`super::Client`] writes into it; the owner of the socket takes [`Output::slices`] for one vectored write and reports
//! what was written. It orders bytes and knows nothing of frames.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf as _, Bytes};

/// A buffer larger than this is given back when it is empty.
const KEEP_BUFFER: usize = 64 * 1024;

/// The unsent bytes of a connection, in order.
#[derive(Debug, Default)]
pub struct Output {
    /// Frame headers, header blocks, control frames and small bodies.
    buffer: Vec<u8>,
    /// How much of `buffer` is sent.
    sent: usize,
    /// Body slices, each with the length that `buffer` had when it was queued: it goes before the bytes after that.
    slices: VecDeque<(usize, Bytes)>,
    /// Bytes in `slices`.
    sliced: usize,
}

impl Output {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of bytes waiting.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.sent + self.sliced
    }

    /// Fills `out` with the waiting bytes in order and says how many slices were set; what does not fit is left for the
    /// next write.
    pub fn slices<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let mut out = out.iter_mut();
        let mut set = 0;
        let mut put = |bytes: &'a [u8]| {
            if bytes.is_empty() {
                return true;
            }
            let Some(slot) = out.next() else { return false };
            *slot = IoSlice::new(bytes);
            set += 1;
            true
        };
        let mut from = self.sent;
        for (at, slice) in &self.slices {
            if !put(self.buffer.get(from..*at).unwrap_or_default()) || !put(slice) {
                return set;
            }
            from = *at;
        }
        put(self.buffer.get(from..).unwrap_or_default());
        set
    }

    /// Forgets the first `n` waiting bytes: the socket took them.
    pub fn advance(&mut self, mut n: usize) {
        while let Some((at, slice)) = self.slices.front_mut() {
            let before = *at - self.sent;
            if n < before {
                break;
            }
            n -= before;
            self.sent = *at;
            let part = n.min(slice.len());
            slice.advance(part);
            self.sliced -= part;
            n -= part;
            if !slice.is_empty() {
                return;
            }
            self.slices.pop_front();
        }
        self.sent = (self.sent + n).min(self.buffer.len());
        self.reclaim();
    }

    /// Frees the sent part once that is worth the copy.
    fn reclaim(&mut self) {
        let rest = self.buffer.len() - self.sent;
        if rest == 0 && self.slices.is_empty() {
            self.buffer.clear();
            self.buffer.shrink_to(KEEP_BUFFER);
        } else if self.sent >= KEEP_BUFFER && self.sent >= rest {
            self.buffer.drain(..self.sent);
            for (at, _) in &mut self.slices {
                *at -= self.sent;
            }
        } else {
            return;
        }
        self.sent = 0;
    }

    /// The end of the queue, to append to; what is already there must stay.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Queues body bytes without copying them.
    pub(super) fn push(&mut self, slice: Bytes) {
        self.sliced += slice.len();
        self.slices.push_back((self.buffer.len(), slice));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(output: &mut Output, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); 3];
            let set = output.slices(&mut slices);
            let bytes: Vec<u8> = slices[..set].iter().flat_map(|slice| slice.iter().copied()).take(step).collect();
            assert!(!bytes.is_empty());
            output.advance(bytes.len());
            all.extend(bytes);
        }
        all
    }

    #[test]
    fn order_is_kept_whatever_the_write_size() {
        for step in [1, 2, 3, 7, 100] {
            let mut output = Output::default();
            output.push(Bytes::from_static(b"first"));
            output.tail().extend_from_slice(b"head");
            output.push(Bytes::from_static(b"body"));
            output.push(Bytes::from_static(b"more"));
            output.tail().extend_from_slice(b"tail");
            assert_eq!(output.len(), 21);
            assert_eq!(drain(&mut output, step), b"firstheadbodymoretail", "step {step}");
            assert_eq!((output.sent, output.buffer.len()), (0, 0));
        }
    }

    #[test]
    fn the_sent_part_is_freed_while_the_rest_waits() {
        let mut output = Output::default();
        output.tail().resize(2 * KEEP_BUFFER, b'a');
        output.push(Bytes::from_static(b"slice"));
        output.tail().extend_from_slice(b"end");
        output.advance(2 * KEEP_BUFFER - 1);
        assert_eq!(output.buffer.len(), 4);
        assert_eq!(drain(&mut output, 100), b"asliceend");
    }
}
