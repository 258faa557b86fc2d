//! Receiving: the batch that one `recvmmsg` fills, and the datagrams taken out of it.
//!
//! The kernel writes into one slot per message, of which only the pages that packets reach are ever touched. A message
//! of many coalesced datagrams leaves with its slot, without a copy. A small one is copied, when it is taken, into a
//! chunk that its predecessors share. Either way it costs no allocation as long as the upper layers let go of earlier
//! ones, and pins a few datagrams of others, or its own message, however long they keep it.

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
/// Messages from this size on leave with their slot; below, a copy costs less than the memory that they would pin.
const HANDED_OVER: usize = 1 << 14;
/// Size of the chunks that smaller messages are copied to: a few datagrams, so that one which is kept for long keeps few of
/// other clients with it.
const CHUNK: usize = 1 << 12;
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
    /// Empty buffers, each with a capacity of at least `MESSAGE_SPACE` during a call.
    slots: Vec<BytesMut>,
    headers: RawArray<mmsghdr>,
    names: RawArray<Name>,
    controls: RawArray<Control<RECV_SPACE>>,
    vectors: RawArray<iovec>,
    received: usize,
    taken: usize,
    chunk: BytesMut,
}

// SAFETY: the raw pointers in the headers lead only into arrays that the same batch owns.
unsafe impl Send for RecvBatch {}

impl RecvBatch {
    /// Reserves the address space, about 2 MiB; memory is used as packets come.
    pub fn new() -> Self {
        let mut slots: Vec<_> = (0..RECV_BATCH).map(|_| BytesMut::with_capacity(MESSAGE_SPACE)).collect();
        let names = RawArray::new(vec![Name::EMPTY; RECV_BATCH]);
        let controls = RawArray::new(vec![Control::EMPTY; RECV_BATCH]);
        let vectors = RawArray::new(slots.iter_mut().map(vector).collect());
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
        Self { slots, headers, names, controls, vectors, received: 0, taken: 0, chunk: BytesMut::with_capacity(CHUNK) }
    }

    /// Whether the last receive found fewer messages than fit, and so left the socket empty.
    pub fn is_partial(&self) -> bool {
        self.received < RECV_BATCH
    }

    /// The messages of the last receive not taken yet, oldest first. They wait until the next receive.
    pub fn drain(&mut self) -> Drain<'_> {
        Drain { batch: self }
    }

    /// Replaces the content by what is waiting at `fd`, and returns the number of messages.
    ///
    /// Errors: `WouldBlock` when nothing is waiting; else what the socket itself suffers from. Errors that the network
    /// reported about an earlier datagram are passed over.
    pub(super) fn fill(&mut self, fd: BorrowedFd<'_>) -> io::Result<usize> {
        self.reset();
        for _ in 0..MAX_ATTEMPTS {
            // SAFETY: `headers` holds `RECV_BATCH` initialised entries whose pointers lead into arrays and slots owned
            // by `self`, with lengths that those have at least; `self` is borrowed mutably, so nothing reads them
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

    /// Gives the entries used last time their full lengths back, and slots that left a successor.
    fn reset(&mut self) {
        for index in 0..self.received {
            if let Some(mut header) = self.headers.read(index) {
                header.msg_hdr.msg_namelen = NAME_SPACE as _;
                header.msg_hdr.msg_controllen = RECV_SPACE as _;
                header.msg_hdr.msg_flags = 0;
                self.headers.write(index, header);
            }
            if let Some(slot) = self.slots.get_mut(index) {
                // No allocation when what left has been dropped meanwhile: the buffer is then taken back.
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
        // call that `header` is from: `received` covers `index`, and `taken` lets each message be taken once.
        unsafe { slot.set_len(length) };
        let data = if length >= HANDED_OVER {
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

/// Where the kernel may write to a slot.
fn vector(slot: &mut BytesMut) -> iovec {
    let space = slot.spare_capacity_mut();
    iovec { iov_base: space.as_mut_ptr().cast(), iov_len: space.len().min(MESSAGE_SPACE) }
}

impl Default for RecvBatch {
    fn default() -> Self {
        Self::new()
    }
}

/// Takes the messages out of a [`RecvBatch`].
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
