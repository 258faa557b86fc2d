//! A UDP socket on the tokio runtime: readiness for the worker's loop.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::recv::RecvBatch;
use super::send::{SendBatch, SendOutcome};
use super::socket::UdpSocket;

/// A [`UdpSocket`] registered with the runtime that it was made on.
///
/// The kernel reports edges: each datagram that arrives at the socket is an event of its own, even while earlier ones
/// wait. So an empty socket may be known as such without asking it again: a batch that came back partial proves it.
///
/// Only arrivals are asked for. Each datagram that leaves makes room, which is an event too, and would cost a system call
/// and a turn of the worker for each lone answer. Room is asked for while the socket has none, by a descriptor of its own,
/// since one descriptor is registered once.
///
/// Each readiness spends from the task's budget in tokio; a task that loops here gets a turn again after 128 of them.
#[derive(Debug)]
pub struct AsyncUdp {
    inner: AsyncFd<UdpSocket>,
    /// The same socket again, while a send is blocked.
    room: Option<AsyncFd<OwnedFd>>,
}

impl AsyncUdp {
    /// Registers `socket`. Must be called within a tokio runtime with I/O enabled.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        // SAFETY: a `UdpSocket` owns one open descriptor until it is dropped, and never changes it. No mutable reference
        // to it leaves this type, so it cannot be exchanged for another.
        let inner = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { inner, room: None })
    }

    /// The socket.
    pub fn socket(&self) -> &UdpSocket {
        self.inner.get_ref()
    }

    /// See [`UdpSocket::take_gso_notice`].
    pub fn take_gso_notice(&mut self) -> Option<IpAddr> {
        self.inner.get_mut().take_gso_notice()
    }

    /// Receives one batch; ready with the number of messages. When pending, the task is woken by the next datagram.
    ///
    /// Errors: those of [`UdpSocket::recv`] but `WouldBlock`.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>, batch: &mut RecvBatch) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.inner.poll_read_ready_mut(cx))?;
            match guard.get_inner().recv(batch) {
                Ok(count) => {
                    if batch.is_partial() {
                        guard.clear_ready();
                    }
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => guard.clear_ready(),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Sends the batch; ready when it is empty. When pending, the batch is blocked and the task is woken when the
    /// socket can take more.
    ///
    /// Errors: those of [`UdpSocket::send`].
    pub fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut SendBatch) -> Poll<io::Result<()>> {
        while !batch.is_empty() {
            // Almost always writable: ask the socket first, the runtime only when it is full.
            if batch.is_blocked() {
                let mut guard = ready!(self.room()?.poll_write_ready(cx))?;
                guard.clear_ready();
            }
            if self.inner.get_mut().send(batch)? == SendOutcome::Done {
                break;
            }
        }
        self.room = None;
        Poll::Ready(Ok(()))
    }

    /// What tells when the socket has room.
    fn room(&mut self) -> io::Result<&AsyncFd<OwnedFd>> {
        let room = if let Some(room) = self.room.take() {
            room
        } else {
            let again = self.inner.get_ref().as_fd().try_clone_to_owned()?;
            // SAFETY: an `OwnedFd` is open until dropped, and nothing here puts another one in its place.
            unsafe { AsyncFd::register_with_interest(again, Interest::WRITABLE) }?
        };
        Ok(self.room.insert(room))
    }
}
