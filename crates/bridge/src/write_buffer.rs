//! Unsent bytes of a connection: one contiguous buffer, with large body slices queued between its parts without a copy.
//!
//! The state machines append; the owner of the socket writes [`WriteBuffer::slices`] with one vectored write and reports
//! the bytes written.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf as _, Bytes};

/// Bytes sent from which on the rest is moved to the front, unless that is longer.
const MIN_RECLAIM: usize = 64 * 1024;
/// Slices for which an empty buffer keeps memory.
const KEEP_SLICES: usize = 16;

/// The unsent bytes of a connection, in order.
#[derive(Debug)]
pub struct WriteBuffer {
    /// Capacity that the empty buffer keeps; more is freed.
    keep: usize,
    /// Frame headers, header blocks, control frames and small bodies.
    buffer: Vec<u8>,
    /// Bytes of `buffer` already sent.
    sent: usize,
    /// Body slices, each with its position: the length of `buffer` when it was queued.
    slices: VecDeque<(usize, Bytes)>,
    slice_bytes: usize,
    /// Number of bytes ever removed by [`WriteBuffer::advance`].
    written: u64,
}

/// Position of a frame in a [`WriteBuffer`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct FramePosition {
    /// Number of bytes ever appended, up to its end.
    end: u64,
    /// Length of its part in the tail.
    in_tail: usize,
    /// Length of the slice that is the rest of it.
    slice: usize,
}

impl Default for WriteBuffer {
    /// Creates a buffer for a connection that is always busy.
    fn default() -> Self {
        Self::keeping(64 * 1024)
    }
}

impl WriteBuffer {
    /// Creates a buffer that, when it is empty, keeps at most `keep` bytes of memory.
    pub(crate) fn keeping(keep: usize) -> Self {
        Self { keep, buffer: Vec::new(), sent: 0, slices: VecDeque::new(), slice_bytes: 0, written: 0 }
    }

    /// Returns whether there are no unsent bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of unsent bytes.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.sent + self.slice_bytes
    }

    /// Returns the number of bytes that the socket has accepted since the buffer was created.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Returns the memory that the buffer holds, without the slices.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.buffer.capacity() + self.slices.capacity() * size_of::<(usize, Bytes)>()
    }

    /// Fills `out` with the unsent bytes in order and returns the number of slices set. Bytes beyond them need another
    /// write.
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

    /// Removes the first `n` unsent bytes, which the socket has accepted.
    pub fn advance(&mut self, mut n: usize) {
        self.written += n as u64;
        while let Some((at, slice)) = self.slices.front_mut() {
            let before = *at - self.sent;
            if n < before {
                break;
            }
            n -= before;
            self.sent = *at;
            let part = n.min(slice.len());
            slice.advance(part);
            self.slice_bytes -= part;
            n -= part;
            if !slice.is_empty() {
                return;
            }
            self.slices.pop_front();
        }
        self.sent = (self.sent + n).min(self.buffer.len());
        self.reclaim();
    }

    /// Frees the sent part when it is large enough to justify moving the rest.
    fn reclaim(&mut self) {
        let rest = self.buffer.len() - self.sent;
        if rest == 0 && self.slices.is_empty() {
            self.buffer.clear();
            self.buffer.shrink_to(self.keep);
            self.slices.shrink_to(KEEP_SLICES);
        } else if self.sent >= MIN_RECLAIM && self.sent >= rest {
            self.buffer.drain(..self.sent);
            for (at, _) in &mut self.slices {
                *at -= self.sent;
            }
        } else {
            return;
        }
        self.sent = 0;
    }

    /// Returns the buffer to append to. The caller must not change the bytes already in it.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Returns the position of the frame that begins at `start` of the tail and was just completed with a slice of
    /// `slice` bytes.
    pub(crate) fn frame_position(&self, start: usize, slice: usize) -> FramePosition {
        FramePosition { end: self.appended(), in_tail: self.buffer.len() - start, slice }
    }

    /// Returns the byte at `offset` of a frame if nothing follows the frame and none of it is sent.
    pub(crate) fn frame_byte(&mut self, frame: FramePosition, offset: usize) -> Option<&mut u8> {
        if frame.end != self.appended() || self.len() < frame.in_tail + frame.slice {
            return None;
        }
        let start = self.buffer.len() - frame.in_tail;
        self.buffer.get_mut(start + offset)
    }

    /// Returns the number of bytes ever appended.
    fn appended(&self) -> u64 {
        self.written + self.len() as u64
    }

    /// Queues body bytes without copying them.
    pub(crate) fn push_slice(&mut self, slice: Bytes) {
        self.slice_bytes += slice.len();
        self.slices.push_back((self.buffer.len(), slice));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(output: &mut WriteBuffer, step: usize) -> Vec<u8> {
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
            let mut output = WriteBuffer::default();
            output.push_slice(Bytes::from_static(b"first"));
            output.tail().extend_from_slice(b"head");
            output.push_slice(Bytes::from_static(b"body"));
            output.push_slice(Bytes::from_static(b"more"));
            output.tail().extend_from_slice(b"tail");
            assert_eq!(output.len(), 21);
            assert_eq!(drain(&mut output, step), b"firstheadbodymoretail", "step {step}");
            assert_eq!((output.sent, output.buffer.len()), (0, 0));
        }
    }

    #[test]
    fn the_sent_part_is_freed_while_the_rest_waits() {
        let mut output = WriteBuffer::default();
        output.tail().resize(2 * MIN_RECLAIM, b'a');
        output.push_slice(Bytes::from_static(b"slice"));
        output.tail().extend_from_slice(b"end");
        output.advance(2 * MIN_RECLAIM - 1);
        assert_eq!(output.buffer.len(), 4);
        assert_eq!(drain(&mut output, 100), b"asliceend");
    }
}
