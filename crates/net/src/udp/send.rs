//! Sending: the batch that collects bursts and what happens to each of them. A burst is one datagram, or several of
//! one size to one destination that the kernel splits (GSO).
//!
//! Bursts leave in the order of their commits. What the kernel has no room for stays in the batch.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::BorrowedFd;

use super::address::{Family, Name};
use super::control::{Control, Outgoing};
use super::gso::{self, Gso};
use super::messages::{CALL_MESSAGES, Messages};

/// Buffers that a batch holds at most.
pub const MAX_BURSTS: usize = 32;
/// Bytes from which on a batch takes no further buffer. Enough for four bursts of full size; more would leave the
/// processor's cache before they are sent.
pub const MAX_PENDING_BYTES: usize = 256 * 1024;

/// Where and how a burst goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The receiver.
    pub destination: SocketAddr,
    /// The local address it must come from; `None` lets the kernel choose.
    pub src_ip: Option<IpAddr>,
    /// The two ECN bits to set (RFC 3168).
    pub ecn: Option<u8>,
    /// Size in bytes of every datagram but the last, which may be shorter. `None`: the content is one datagram.
    pub segment_size: Option<usize>,
}

/// How far a send came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum SendOutcome {
    /// The batch is empty.
    Done,
    /// The socket's buffer is full; the rest waits in the batch for the socket to become writable.
    Blocked,
}

/// What became of everything that was sent. Counts only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendStats {
    /// Datagrams that the kernel took.
    pub datagrams: u64,
    /// Payload bytes in them.
    pub bytes: u64,
    /// System calls made.
    pub calls: u64,
    /// Bursts that the kernel refused to split and that were sent one by one.
    pub gso_fallbacks: u64,
    /// Datagrams dropped because they exceed the MTU of the interface: path MTU probes, normally.
    pub too_big: u64,
    /// Datagrams dropped because their destination or source cannot be used now, or the kernel had no memory.
    pub dropped: u64,
}

#[derive(Clone, Debug)]
struct Burst {
    buffer: usize,
    range: Range<usize>,
    to: Transmit,
    /// `None`: a single datagram.
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

/// Bursts waiting for one send.
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
    /// An empty batch; buffers are allocated as they are asked for and kept.
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

    /// An empty buffer to write the next burst to, then to [`commit`](Self::commit). Without a commit it is given
    /// again. `None` when the batch is full or blocked: send first.
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

    /// Queues the content of the buffer last given by [`buffer`](Self::buffer), if there is any. A content that the
    /// kernel does not take at once becomes several messages.
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

    /// Queues a copy of `content`. Returns whether there was room.
    pub fn push(&mut self, to: &Transmit, content: &[u8]) -> bool {
        let Some(buffer) = self.buffer() else { return false };
        buffer.extend_from_slice(content);
        self.commit(to);
        true
    }

    /// Whether nothing waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.sent == self.bursts.len()
    }

    /// Whether no buffer is given before a send.
    pub fn is_full(&self) -> bool {
        self.is_blocked || self.filled >= MAX_BURSTS || self.pending_bytes >= MAX_PENDING_BYTES
    }

    /// Whether the last send left a rest for want of room in the socket.
    pub fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Frees the buffers if nothing waits. The next burst gets a new one.
    pub fn free_unused(&mut self) {
        if self.is_empty() {
            self.clear();
            self.buffers = Vec::new();
        }
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.bursts.clear();
        (self.sent, self.filled, self.pending_bytes, self.is_blocked) = (0, 0, 0, false);
    }

    /// Sends until the batch is empty or the socket full.
    pub(super) fn flush(&mut self, mut out: Output<'_>) -> io::Result<SendOutcome> {
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

    /// Describes the next bursts to `messages`. Those to destinations without GSO are taken apart first, those that
    /// this socket cannot address at all become an empty message to nowhere, which the kernel refuses.
    fn prepare(&mut self, out: &mut Output<'_>) {
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
            let name = Name::encode(destination, out.family).unwrap_or((Name::EMPTY, 0));
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

    /// Counts `count` bursts as sent. A datagram that went through after its burst was refused proves that it is GSO
    /// which that destination is without.
    fn advance(&mut self, count: usize, out: &mut Output<'_>) {
        let end = self.bursts.len().min(self.sent + count);
        for burst in self.bursts.get(self.sent..end).unwrap_or_default() {
            out.stats.datagrams += burst.segments();
            out.stats.bytes += burst.range.len() as u64;
            let destination = burst.to.destination.ip();
            if burst.is_retry && out.gso.refuse(destination) {
                *out.notice = Some(destination);
            }
        }
        self.sent = end;
    }

    /// Deals with the first waiting burst, which the kernel refused with `code`.
    fn refused(&mut self, code: Option<i32>, out: &mut Output<'_>) {
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

/// The socket's side of a flush.
pub(super) struct Output<'a> {
    pub(super) fd: BorrowedFd<'a>,
    pub(super) family: Family,
    pub(super) gso: &'a mut Gso,
    pub(super) stats: &'a mut SendStats,
    pub(super) notice: &'a mut Option<IpAddr>,
}
