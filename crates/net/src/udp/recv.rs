//! Receiving: the batch that one `recvmmsg` fills, and the datagrams taken from it.
//!
//! The kernel writes each message into its own slot, of which only the pages that are written use memory. A large
//! message of coalesced datagrams takes its slot with it, without a copy. A small message is copied into a chunk shared
//! with its predecessors. Neither allocates while the upper layers drop earlier datagrams, and a datagram that is kept
//! for long keeps only its own message, or a few other datagrams, alive.

use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use bytes::BytesMut;
use libc::{iovec, mmsghdr};

use super::address::{SOCKADDR_SPACE, SockAddr};
use super::control::{Control, Incoming, RECV_SPACE};
use super::raw::RawArray;

/// Maximum number of messages per system call.
pub const RECV_BATCH: usize = 32;

/// Maximum size of a message: the largest UDP payload, and the most that GRO coalesces.
const MESSAGE_SPACE: usize = 1 << 16;
/// Messages from this size on take their slot with them; for smaller ones a copy costs less than the memory that they
/// would keep alive.
const MIN_HANDOVER: usize = 1 << 14;
/// Size of the chunks for smaller messages: a few datagrams, so that a datagram that is kept for long keeps few others
/// alive.
const CHUNK: usize = 1 << 12;
/// Maximum number of calls when errors of earlier datagrams are reported.
const MAX_ATTEMPTS: usize = 8;

/// A datagram, or several coalesced datagrams of one sender.
#[derive(Debug)]
pub struct Datagram {
    /// The sender.
    pub remote: SocketAddr,
    /// The destination address, which must be the source of responses.
    pub local_ip: Option<IpAddr>,
    /// The two ECN bits of the IP header (RFC 3168), equal for all coalesced datagrams.
    pub ecn: Option<u8>,
    /// Size of each datagram in `data` in bytes, at least 1; the last may be shorter.
    pub stride: usize,
    /// The payload.
    pub data: BytesMut,
}

impl Datagram {
    /// Splits the next datagram off `data`; `None` if there is none left.
    pub fn split_segment(&mut self) -> Option<BytesMut> {
        let length = self.stride.min(self.data.len());
        (length > 0).then(|| self.data.split_to(length))
    }
}

/// Buffers for `recvmmsg`, reused for each call.
pub struct RecvBatch {
    /// Empty buffers with a capacity of at least `MESSAGE_SPACE` during a call.
    slots: Vec<BytesMut>,
    headers: RawArray<mmsghdr>,
    names: RawArray<SockAddr>,
    controls: RawArray<Control<RECV_SPACE>>,
    vectors: RawArray<iovec>,
    received: usize,
    taken: usize,
    chunk: BytesMut,
}

// SAFETY: the raw pointers in the headers lead only into arrays of the same batch.
unsafe impl Send for RecvBatch {}

impl RecvBatch {
    /// Reserves about 2 MiB of address space; received packets use the memory.
    pub fn new() -> Self {
        let mut slots: Vec<_> = (0..RECV_BATCH).map(|_| BytesMut::with_capacity(MESSAGE_SPACE)).collect();
        let names = RawArray::new(vec![SockAddr::EMPTY; RECV_BATCH]);
        let controls = RawArray::new(vec![Control::EMPTY; RECV_BATCH]);
        let vectors = RawArray::new(slots.iter_mut().map(vector).collect());
        let headers = (0..RECV_BATCH).filter_map(|index| {
            // SAFETY: all-zero is a valid `mmsghdr`: null pointers and zero lengths.
            let mut header: mmsghdr = unsafe { zeroed() };
            header.msg_hdr.msg_name = names.at(index)?.cast();
            header.msg_hdr.msg_iov = vectors.at(index)?;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = controls.at(index)?.cast();
            header.msg_hdr.msg_namelen = SOCKADDR_SPACE as _;
            header.msg_hdr.msg_controllen = RECV_SPACE as _;
            Some(header)
        });
        let headers = RawArray::new(headers.collect());
        Self { slots, headers, names, controls, vectors, received: 0, taken: 0, chunk: BytesMut::with_capacity(CHUNK) }
    }

    /// Returns whether the last receive found fewer messages than fit, which means that the socket is empty.
    pub fn is_partial(&self) -> bool {
        self.received < RECV_BATCH
    }

    /// Returns the messages of the last receive not taken yet, oldest first. The next receive drops them.
    pub fn drain(&mut self) -> Drain<'_> {
        Drain { batch: self }
    }

    /// Replaces the content by the messages waiting at `fd` and returns their number.
    ///
    /// Errors: `WouldBlock` when no message is waiting; else failures of the socket. Skips errors that the network
    /// reported about earlier datagrams.
    pub(super) fn fill(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.reset();
        for _ in 0..MAX_ATTEMPTS {
            // SAFETY: `headers` has `RECV_BATCH` initialised entries. Their pointers lead into arrays and slots owned
            // by `self`, which have at least the given lengths. `self` is borrowed mutably, so nothing reads them
            // during the call. The timeout may be null. (Miri does not support `recvmmsg`; it can run the codecs around
            // it, which are safe code.)
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

    /// Restores the lengths of the entries used last time, and replaces slots that were taken.
    fn reset(&mut self) {
        for index in 0..self.received {
            if let Some(mut header) = self.headers.read(index) {
                header.msg_hdr.msg_namelen = SOCKADDR_SPACE as _;
                header.msg_hdr.msg_controllen = RECV_SPACE as _;
                header.msg_hdr.msg_flags = 0;
                self.headers.write(index, header);
            }
            if let Some(slot) = self.slots.get_mut(index) {
                // Reuses the buffer without an allocation if the datagrams taken from it have been dropped.
                slot.reserve(MESSAGE_SPACE);
                self.vectors.write(index, vector(slot));
            }
        }
        (self.received, self.taken) = (0, 0);
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
        let slot = self.slots.get_mut(index).filter(|slot| length <= slot.capacity())?;
        // SAFETY: the capacity suffices, and the kernel has written `length` bytes from the start of this slot in the
        // call of this `header`: `received` covers `index`, and `taken` lets each message be taken once.
        unsafe { slot.set_len(length) };
        let data = if length >= MIN_HANDOVER {
            slot.split()
        } else {
            self.chunk.reserve(length);
            self.chunk.extend_from_slice(slot);
            slot.clear();
            self.chunk.split()
        };
        Some(Datagram {
            remote,
            local_ip: incoming.local_ip,
            ecn: incoming.ecn,
            stride: incoming.stride.unwrap_or(length).max(1),
            data,
        })
    }
}

/// Returns the memory of a slot that the kernel may write to.
fn vector(slot: &mut BytesMut) -> iovec {
    let space = slot.spare_capacity_mut();
    iovec { iov_base: space.as_mut_ptr().cast(), iov_len: space.len().min(MESSAGE_SPACE) }
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Iterator over the messages of a [`RecvBatch`].
pub struct Drain<'a> {
    batch: &'a mut RecvBatch,
}

impl Iterator for Drain<'_> {
    type Item = Datagram;

    fn next(&mut self) -> Option<Datagram> {
        while self.batch.taken < self.batch.received {
            self.batch.taken += 1;
            if let Some(datagram) = self.batch.take(self.batch.taken - 1) {
                return Some(datagram);
            }
        }
        None
    }
}
