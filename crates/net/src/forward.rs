//! Datagrams that one process passes on to another one on the same machine.
//!
//! After an upgrade the new process reads the shared UDP sockets. What belongs to connections of the old process goes through
//! one socket pair for each of its workers. Several datagrams are one message, because the kernel queues few messages and a
//! system call for each datagram would be slow. Message boundaries are kept (`SOCK_SEQPACKET`), so all workers of the new
//! process can write to the same socket.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, BytesMut};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::udp::Datagram;

/// A message is sent when the next datagram would exceed this length.
const MESSAGE: usize = 32 * 1024;
/// Longest message: one datagram of the largest size.
const MAX_MESSAGE: usize = HEADER + u16::MAX as usize;
/// Requested size of the kernel's buffer.
const KERNEL_BUFFER: usize = 4 << 20;
/// Bytes that wait for the other process to read. More are dropped; QUIC repeats what they carry.
const MAX_WAITING: usize = 4 << 20;
/// Pause before a message is sent again that the other process had no room for.
const RETRY: Duration = Duration::from_millis(1);
/// Bytes before the content of each datagram.
const HEADER: usize = 46;
/// Set if the local address is known.
const HAS_LOCAL_IP: u8 = 1;
/// Set if the ECN bits are known.
const HAS_ECN: u8 = 2;

/// Creates a socket pair: what is sent on the first end is received on the second.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (sender, receiver) = Socket::pair(Domain::UNIX, Type::SEQPACKET.nonblocking(), None)?;
    let _smaller = sender.set_send_buffer_size(KERNEL_BUFFER); // the kernel grants what it allows
    Ok((sender.into(), receiver.into()))
}

/// Returns whether the process at the other end still reads.
pub fn is_read(sender: BorrowedFd<'_>) -> bool {
    let mut byte = [std::mem::MaybeUninit::uninit()];
    // Nothing is ever sent back: either nothing is there yet, or the other end is closed.
    matches!(SockRef::from(&sender).peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Makes senders see that nothing is read any more, although other descriptors of the receiving end are open.
pub fn stop_reading(receiver: BorrowedFd<'_>) {
    let _closed = SockRef::from(&receiver).shutdown(std::net::Shutdown::Both); // fails only if the peer is gone
}

/// The process at the other end has ended, or its worker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// Sends datagrams to one worker of another process.
#[derive(Debug)]
pub struct ForwardSender {
    socket: Arc<OwnedFd>,
    next: Vec<u8>,
    /// Messages that the other process had no room for.
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    retry_at: Option<Instant>,
    dropped: u64,
}

impl ForwardSender {
    /// Creates a sender on the first end of a [`pair`].
    pub fn new(socket: Arc<OwnedFd>) -> Self {
        let (next, waiting) = (Vec::new(), VecDeque::new());
        Self { socket, next, waiting, waiting_bytes: 0, retry_at: None, dropped: 0 }
    }

    /// Queues a datagram of a listener. It is sent by [`ForwardSender::flush`], or before if the message is full.
    pub fn push(&mut self, listener: usize, datagram: &Datagram, now: Instant) -> Result<(), Gone> {
        let length = HEADER + datagram.data.len();
        if !self.next.is_empty() && self.next.len() + length > MESSAGE {
            self.flush(now)?;
        }
        match (u16::try_from(listener), u16::try_from(datagram.data.len())) {
            (Ok(listener), Ok(length)) => encode(&mut self.next, listener, datagram, length),
            _ => self.dropped += 1,
        }
        Ok(())
    }

    /// Sends what is queued. What the other process has no room for is kept until [`ForwardSender::deadline`].
    pub fn flush(&mut self, now: Instant) -> Result<(), Gone> {
        if !self.next.is_empty() {
            let message = std::mem::take(&mut self.next);
            if self.waiting_bytes + message.len() > MAX_WAITING {
                self.dropped += 1;
            } else {
                self.waiting_bytes += message.len();
                self.waiting.push_back(message);
            }
        }
        if self.retry_at.is_some_and(|at| now < at) {
            return Ok(());
        }
        self.retry_at = None;
        while let Some(message) = self.waiting.front() {
            match SockRef::from(&self.socket).send_with_flags(message, libc::MSG_NOSIGNAL) {
                Ok(_) => self.drop_first(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM)) => {
                    self.retry_at = Some(now + RETRY);
                    return Ok(());
                }
                Err(error) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                    self.dropped += 1;
                    self.drop_first();
                }
                Err(_) => return Err(Gone),
            }
        }
        Ok(())
    }

    fn drop_first(&mut self) {
        if let Some(mut sent) = self.waiting.pop_front() {
            self.waiting_bytes -= sent.len();
            if self.next.capacity() == 0 {
                sent.clear();
                self.next = sent; // saves an allocation for each message
            }
        }
    }

    /// When [`ForwardSender::flush`] must be called again.
    pub fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Returns how much was dropped since the last call, in messages.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }
}

/// Receives the datagrams for one worker.
#[derive(Debug)]
pub struct ForwardReceiver {
    socket: AsyncFd<OwnedFd>,
    buffer: BytesMut,
}

impl ForwardReceiver {
    /// Registers the second end of a [`pair`] with the current tokio runtime.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        // SAFETY: an `OwnedFd` is open until dropped, and this type never replaces it.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket, buffer: BytesMut::new() })
    }

    /// Receives the next datagram, with the number of its listener. If pending, the next message wakes the task. `None` after
    /// the end of all senders.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, Datagram)>> {
        loop {
            if let Some(found) = decode(&mut self.buffer) {
                return Poll::Ready(Some(found));
            }
            let Ok(mut guard) = ready!(self.socket.poll_read_ready(cx)) else { return Poll::Ready(None) };
            let mut message = BytesMut::with_capacity(MAX_MESSAGE);
            match SockRef::from(guard.get_inner()).recv(message.spare_capacity_mut()) {
                Ok(0) => return Poll::Ready(None),
                Ok(length) => {
                    // SAFETY: the kernel has written this many bytes to the spare capacity, at its begin.
                    unsafe { message.set_len(length) };
                    self.buffer = message;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Poll::Ready(None),
            }
        }
    }

    /// Makes senders see that nothing is read any more.
    pub fn close(&self) {
        stop_reading(self.socket.get_ref().as_fd());
    }
}

fn encode(out: &mut Vec<u8>, listener: u16, datagram: &Datagram, length: u16) {
    let flags = if datagram.local_ip.is_some() { HAS_LOCAL_IP } else { 0 };
    out.put_u16(listener);
    out.put_u8(flags | if datagram.ecn.is_some() { HAS_ECN } else { 0 });
    out.put_u8(datagram.ecn.unwrap_or_default());
    let (ip, scope) = match datagram.remote {
        SocketAddr::V4(remote) => (remote.ip().to_ipv6_mapped(), 0),
        SocketAddr::V6(remote) => (*remote.ip(), remote.scope_id()),
    };
    out.put_slice(&ip.octets());
    out.put_u16(datagram.remote.port());
    out.put_u32(scope);
    out.put_slice(&mapped(datagram.local_ip).octets());
    out.put_u16(0); // reserved
    out.put_u16(length);
    out.put_slice(&datagram.data);
}

/// Takes a datagram from the begin of a message. Returns `None` at its end.
fn decode(message: &mut BytesMut) -> Option<(usize, Datagram)> {
    if message.len() < HEADER {
        message.clear();
        return None;
    }
    let mut header = message.split_to(HEADER);
    let listener = usize::from(header.get_u16());
    let (flags, ecn) = (header.get_u8(), header.get_u8());
    let ip = Ipv6Addr::from(header.get_u128());
    let (port, scope) = (header.get_u16(), header.get_u32());
    let remote = match IpAddr::V6(ip).to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), port),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope).into(),
    };
    let local = IpAddr::V6(Ipv6Addr::from(header.get_u128())).to_canonical();
    header.advance(2);
    let length = usize::from(header.get_u16());
    let data = message.split_to(length.min(message.len()));
    let local_ip = (flags & HAS_LOCAL_IP != 0).then_some(local);
    let ecn = (flags & HAS_ECN != 0).then_some(ecn);
    Some((listener, Datagram { remote, local_ip, ecn, stride: data.len(), data }))
}

fn mapped(ip: Option<IpAddr>) -> Ipv6Addr {
    match ip {
        Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped(),
        Some(IpAddr::V6(ip)) => ip,
        None => Ipv6Addr::UNSPECIFIED,
    }
}

#[cfg(test)]
mod tests;
