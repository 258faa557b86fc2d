//! Receiving: the batch that one `recvmmsg` fills, and the datagrams taken out of it.
//!
//! The kernel writes into a fixed scratch area of which only the pages that packets reach are ever touched. A datagram
//! is copied out when it is taken, into a chunk that its predecessors share, so that it costs no allocation and pins
//! at most [`CHUNK`] bytes however long an upper layer keeps it.

use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use bytes::BytesMut;
use libc::{iovec, mmsghdr};

use super::address::{NAME_SPACE, Name};
use super::control::{Control, Incoming, RECV_SPACE};
use super::raw::RawArray;

/// Messages that one system call receives at most.
pub const RECV_BATCH: usize = 32;

/// Bytes that a message can have: the largest UDP payload, and the most that GRO coalesces.
const MESSAGE_SPACE: usize = 1 << 16;
/// Distance of the message buffers in the scratch area. Not a power of two, so that the first bytes of all messages do
/// not compete for the same few cache lines.
const SLOT: usize = MESSAGE_SPACE + 1344;
/// Size of the chunks that datagrams are copied to.
const CHUNK: usize = 1 << 16;
/// How often a call is repeated after an error that belongs to some earlier datagram.
const MAX_ATTEMPTS: usize = 8;

/// A datagram, or several of one sender that the kernel coalesced.
#[derive(Debug)]
pub struct Datagram {
    /// The sender.
    pub remote: SocketAddr,
    /// The address it was sent to, which the answer must come from.
    pub local_ip: Option<IpAddr>,
    /// The two ECN bits of the IP header (RFC 3168), equal for all coalesced datagrams.
    pub ecn: Option<u8>,
    /// Size of each datagram in `data` in bytes, at least 1; the last may be shorter.
    pub stride: usize,
    /// The payload.
    pub data: BytesMut,
}

impl Datagram {
    /// Takes the next single datagram off the front of `data`; `None` when all are taken.
    pub fn split_segment(&mut self) -> Option<BytesMut> {
        let length = self.stride.min(self.data.len());
        (length > 0).then(|| self.data.split_to(length))
    }
}

/// Buffers for one `recvmmsg`, reused for ever.
pub struct RecvBatch {
    scratch: RawArray<u8>,
    headers: RawArray<mmsghdr>,
    names: RawArray<Name>,
    controls: RawArray<Control<RECV_SPACE>>,
    _vectors: RawArray<iovec>,
    received: usize,
    chunk: BytesMut,
}

// SAFETY: the raw pointers in the headers lead only into arrays that the same batch owns.
unsafe impl Send for RecvBatch {}

impl RecvBatch {
    /// Reserves the address space, about 2 MiB; memory is used as packets come.
    pub fn new() -> Self {
        let scratch = RawArray::new(vec![0; SLOT * RECV_BATCH]);
        let names = RawArray::new(vec![Name::EMPTY; RECV_BATCH]);
        let controls = RawArray::new(vec![Control::EMPTY; RECV_BATCH]);
        let vectors = (0..RECV_BATCH).filter_map(|index| scratch.at(index * SLOT));
        let vectors = vectors.map(|base| iovec { iov_base: base.cast(), iov_len: MESSAGE_SPACE }).collect();
        let vectors = RawArray::new(vectors);
        let headers = (0..RECV_BATCH).filter_map(|index| {
            // SAFETY: all-zero is a valid `mmsghdr`: null pointers and zero lengths.
            let mut header: mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = names.at(index)?.cast();
            header.msg_hdr.msg_iov = vectors.at(index)?;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = controls.at(index)?.cast();
            header.msg_hdr.msg_namelen = NAME_SPACE as _;
            header.msg_hdr.msg_controllen = RECV_SPACE as _;
            Some(header)
        });
        let headers = RawArray::new(headers.collect());
        Self {
            scratch,
            headers,
            names,
            controls,
            _vectors: vectors,
            received: 0,
            chunk: BytesMut::with_capacity(CHUNK),
        }
    }

    /// Whether the last receive found fewer messages than fit, and so left the socket empty.
    pub fn is_partial(&self) -> bool {
        self.received < RECV_BATCH
    }

    /// The messages of the last receive, oldest first. Those not taken are gone with the iterator.
    pub fn drain(&mut self) -> Drain<'_> {
        Drain { batch: self, next: 0 }
    }

    /// Replaces the content by what is waiting at `fd`, and returns the number of messages.
    ///
    /// Errors: `WouldBlock` when nothing is waiting; else what the socket itself suffers from. Errors that the network
    /// reported about an earlier datagram are passed over.
    pub(super) fn fill(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.reset();
        for _ in 0..MAX_ATTEMPTS {
            // SAFETY: `headers` holds `RECV_BATCH` initialised entries whose pointers lead into arrays owned by
            // `self`, with the lengths they were allocated with; `self` is borrowed mutably, so nothing reads them
            // during the call. The timeout may be null. (Miri does not know `recvmmsg`; the codecs around it are safe
            // code that it can run.)
            let count = unsafe {
                libc::recvmmsg(
                    fd.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    RECV_BATCH as _,
                    libc::MSG_DONTWAIT as _,
                    std::ptr::null_mut(),
                )
            };
            if let Ok(count) = usize::try_from(count) {
                self.received = count;
                return Ok(count);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR | libc::ECONNREFUSED | libc::EHOSTUNREACH | libc::ENETUNREACH) => {}
                _ => return Err(error),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }

    /// Gives the entries used last time their full lengths back.
    fn reset(&mut self) {
        for index in 0..self.received {
            if let Some(mut header) = self.headers.read(index) {
                header.msg_hdr.msg_namelen = NAME_SPACE as _;
                header.msg_hdr.msg_controllen = RECV_SPACE as _;
                header.msg_hdr.msg_flags = 0;
                self.headers.write(index, header);
            }
        }
        self.received = 0;
    }

    fn take(&mut self, index: usize) -> Option<Datagram> {
        let header = self.headers.read(index)?;
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let remote = self.names.read(index)?.decode(header.msg_hdr.msg_namelen as usize)?;
        let control = self.controls.read(index)?;
        let incoming = Incoming::decode(control.0.get(..header.msg_hdr.msg_controllen)?);
        let length = header.msg_len as usize;
        let payload = self.scratch.bytes(index * SLOT, length);
        self.chunk.reserve(length);
        self.chunk.extend_from_slice(payload);
        Some(Datagram {
            remote,
            local_ip: incoming.local_ip,
            ecn: incoming.ecn,
            stride: incoming.stride.unwrap_or(length).max(1),
            data: self.chunk.split(),
        })
    }
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes the messages out of a [`RecvBatch`].
pub struct Drain<'a> {
    batch: &'a mut RecvBatch,
    next: usize,
}

impl Iterator for Drain<'_> {
    type Item = Datagram;

    fn next(&mut self) -> Option<Datagram> {
        while self.next < self.batch.received {
            self.next += 1;
            if let Some(datagram) = self.batch.take(self.next - 1) {
                return Some(datagram);
            }
        }
        None
    }
}
