//! Sending: the batch that collects bursts. A burst is one datagram, or several of one size to one destination that the
//! kernel splits (GSO).
//!
//! Bursts are sent in the order of their commits. Bursts that the kernel has no buffer space for stay in the batch.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::BorrowedFd;

use super::address::{Family, SockAddr};
use super::control::{Control, Outgoing};
use super::gso::{self, Gso};
use super::messages::{CALL_MESSAGES, Messages};

/// Maximum number of buffers in a batch.
pub const MAX_BURSTS: usize = 32;
/// Bytes above which a batch accepts no further buffer. Enough for four bursts of full size; more would leave the
/// processor's cache before they are sent.
pub const MAX_PENDING_BYTES: usize = 256 * 1024;

/// Addresses and options of a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The receiver.
    pub destination: SocketAddr,
    /// The source address; `None` lets the kernel choose.
    pub src_ip: Option<IpAddr>,
    /// The two ECN bits (RFC 3168).
    pub ecn: Option<u8>,
    /// Size in bytes of every datagram but the last, which may be shorter. `None` if the content is one datagram.
    pub segment_size: Option<usize>,
}

/// Result of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SendOutcome {
    /// The batch is empty.
    Done,
    /// The socket's buffer is full; the rest stays in the batch until the socket is writable.
    Blocked,
}

/// Counters of sent and dropped datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendStats {
    /// Datagrams that the kernel accepted.
    pub datagrams: u64,
    /// Payload bytes of these.
    pub bytes: u64,
    /// System calls.
    pub calls: u64,
    /// Bursts that the kernel refused to split and that were sent as single datagrams.
    pub gso_fallbacks: u64,
    /// Datagrams dropped because they exceed the MTU of the interface, usually path MTU probes.
    pub too_big: u64,
    /// Datagrams dropped because their destination or source is unusable, or the kernel had no memory.
    pub dropped: u64,
}

#[derive(Clone, Debug)]
struct Burst {
    buffer: usize,
    range: Range<usize>,
    to: Transmit,
    /// `None` for a single datagram.
    segment_size: Option<u16>,
    /// Part of a burst that the kernel refused as a whole.
    is_retry: bool,
}

impl Burst {
    fn segments(&self) -> u64 {
        match self.segment_size {
            Some(size) => self.range.len().div_ceil(usize::from(size).max(1)) as u64,
            None => 1,
        }
    }

    fn content<'a>(&self, buffers: &'a [Vec<u8>]) -> &'a [u8] {
        buffers.get(self.buffer).and_then(|buffer| buffer.get(self.range.clone())).unwrap_or_default()
    }
}

/// Bursts waiting to be sent.
pub struct SendBatch {
    buffers: Vec<Vec<u8>>,
    filled: usize,
    pending_bytes: usize,
    bursts: Vec<Burst>,
    sent: usize,
    is_blocked: bool,
    messages: Messages,
}

impl SendBatch {
    /// Creates an empty batch. Buffers are allocated on demand and kept.
    pub fn new() -> Self {
        Self {
            buffers: Vec::new(),
            filled: 0,
            pending_bytes: 0,
            bursts: Vec::with_capacity(MAX_BURSTS),
            sent: 0,
            is_blocked: false,
            messages: Messages::new(),
        }
    }

    /// Returns an empty buffer for the next burst, which [`commit`](Self::commit) queues. Without a commit the same
    /// buffer is returned again. Returns `None` if the batch is full or blocked; the caller must then send first.
    pub fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        if self.is_full() {
            return None;
        }
        if self.buffers.len() == self.filled {
            self.buffers.push(Vec::new());
        }
        let buffer = self.buffers.get_mut(self.filled)?;
        buffer.clear();
        Some(buffer)
    }

    /// Queues the content of the buffer that [`buffer`](Self::buffer) returned last, if it is not empty. Content that
    /// is too large for one message becomes several.
    pub fn commit(&mut self, to: &Transmit) {
        let Some(length) = self.buffers.get(self.filled).map(Vec::len).filter(|length| *length > 0) else {
            return;
        };
        let buffer = self.filled;
        self.filled += 1;
        self.pending_bytes += length;
        let size = to.segment_size.and_then(|size| u16::try_from(size).ok()).filter(|size| *size > 0);
        let Some(size) = size.filter(|size| usize::from(*size) < length) else {
            self.bursts.push(Burst { buffer, range: 0..length, to: *to, segment_size: None, is_retry: false });
            return;
        };
        let step = gso::max_segments(to.destination.ip(), usize::from(size)) * usize::from(size);
        for start in (0..length).step_by(step) {
            let range = start..length.min(start + step);
            let segment_size = (range.len() > usize::from(size)).then_some(size);
            self.bursts.push(Burst { buffer, range, to: *to, segment_size, is_retry: false });
        }
    }

    /// Queues a copy of `content`. Returns false if the batch is full.
    #[cfg(test)]
    pub(super) fn push(&mut self, to: &Transmit, content: &[u8]) -> bool {
        let Some(buffer) = self.buffer() else { return false };
        buffer.extend_from_slice(content);
        self.commit(to);
        true
    }

    /// Returns whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.sent == self.bursts.len()
    }

    /// Returns whether [`buffer`](Self::buffer) returns `None` until the next send.
    pub fn is_full(&self) -> bool {
        self.is_blocked || self.filled >= MAX_BURSTS || self.pending_bytes >= MAX_PENDING_BYTES
    }

    /// Returns whether the last send ended because the socket's buffer was full.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Frees the buffers if there is nothing to send. The next burst allocates a new one.
    pub fn free_unused(&mut self) {
        if self.is_empty() {
            self.clear();
            self.buffers = Vec::new();
        }
    }

    /// Drops all bursts.
    pub fn clear(&mut self) {
        self.bursts.clear();
        (self.sent, self.filled, self.pending_bytes, self.is_blocked) = (0, 0, 0, false);
    }

    /// Sends until the batch is empty or the socket's buffer is full.
    pub(super) fn flush(&mut self, mut out: SendContext<'_>) -> io::Result<SendOutcome> {
        self.is_blocked = false;
        while !self.is_empty() {
            self.prepare(&mut out);
            let (buffers, waiting) = (&self.buffers, self.bursts.get(self.sent..).unwrap_or_default());
            out.stats.calls += 1;
            match self.messages.send(out.fd, waiting.iter().map(|burst| burst.content(buffers))) {
                Ok(count) => self.advance(count, &mut out),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => {
                        self.is_blocked = true;
                        return Ok(SendOutcome::Blocked);
                    }
                    Some(libc::EINTR) => {}
                    Some(libc::EBADF | libc::ENOTSOCK | libc::EFAULT) => {
                        self.clear();
                        return Err(error);
                    }
                    code => self.refused(code, &mut out),
                },
            }
        }
        self.clear();
        Ok(SendOutcome::Done)
    }

    /// Prepares the next bursts in `messages`. Bursts to destinations without GSO are split first. A burst whose
    /// destination this socket cannot address becomes an empty message without address, which the kernel rejects.
    fn prepare(&mut self, out: &mut SendContext<'_>) {
        self.messages.clear();
        let mut next = self.sent;
        while next < self.bursts.len() && next - self.sent < CALL_MESSAGES {
            let Some(burst) = self.bursts.get(next) else { return };
            let destination = burst.to.destination;
            if burst.segment_size.is_some() && !out.gso.is_usable(destination.ip()) {
                self.split(next, false);
                continue;
            }
            let outgoing = Outgoing {
                destination: destination.ip(),
                source: burst.to.src_ip,
                ecn: burst.to.ecn,
                segment_size: burst.segment_size,
            };
            let name = SockAddr::encode(destination, out.family).unwrap_or((SockAddr::EMPTY, 0));
            let mut control = Control::EMPTY;
            let control_length = outgoing.encode(&mut control, out.family);
            self.messages.push(name, (control, control_length));
            next += 1;
        }
    }

    /// Replaces a burst by its datagrams.
    fn split(&mut self, index: usize, is_retry: bool) {
        let Some(burst) = self.bursts.get(index).cloned() else { return };
        let Some(size) = burst.segment_size else { return };
        let end = burst.range.end;
        let starts = burst.range.clone().step_by(usize::from(size).max(1));
        let singles = starts.map(|start| Burst {
            range: start..end.min(start + usize::from(size)),
            segment_size: None,
            is_retry,
            ..burst.clone()
        });
        self.bursts.splice(index..=index, singles.collect::<Vec<_>>());
    }

    /// Counts `count` bursts as sent. A datagram that succeeds after its burst was refused proves that the destination
    /// does not support GSO.
    fn advance(&mut self, count: usize, out: &mut SendContext<'_>) {
        let end = self.bursts.len().min(self.sent + count);
        for burst in self.bursts.get(self.sent..end).unwrap_or_default() {
            out.stats.datagrams += burst.segments();
            out.stats.bytes += burst.range.len() as u64;
            let destination = burst.to.destination.ip();
            if burst.is_retry && out.gso.refuse(destination) {
                *out.gso_refusal = Some(destination);
            }
        }
        self.sent = end;
    }

    /// Handles the first waiting burst, which the kernel refused with `code`.
    fn refused(&mut self, code: Option<i32>, out: &mut SendContext<'_>) {
        let Some(burst) = self.bursts.get(self.sent) else { return };
        match code {
            Some(libc::EINVAL | libc::EIO) if burst.segment_size.is_some() => {
                out.stats.gso_fallbacks += 1;
                self.split(self.sent, true);
            }
            Some(libc::EMSGSIZE) => {
                out.stats.too_big += burst.segments();
                self.sent += 1;
            }
            _ => {
                out.stats.dropped += burst.segments();
                self.sent += 1;
            }
        }
    }
}

impl Default for SendBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// The socket's state that a flush uses.
pub(super) struct SendContext<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) family: Family,
    pub(super) gso: &'a mut Gso,
    pub(super) stats: &'a mut SendStats,
    pub(super) gso_refusal: &'a mut Option<IpAddr>,
}
