//! Readiness of a UDP socket on the tokio runtime, for the worker's loop.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll, ready};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::recv::RecvBatch;
use super::send::{SendBatch, SendOutcome};
use super::socket::UdpSocket;

/// A [`UdpSocket`] registered with the current tokio runtime.
///
/// Events are edge-triggered: each arriving datagram is an event, even while earlier ones wait. So a partial batch
/// proves that the socket is empty, without another system call.
///
/// Only read events are registered. Each datagram sent frees buffer space, which is a write event too, and would cost a
/// system call and a turn of the worker for each single response. Write events are registered only while the socket is
/// blocked, with a second descriptor, because a descriptor is registered once.
///
/// Each readiness consumes tokio's task budget; a task that loops here yields after 128 of them.
#[derive(Debug)]
pub struct AsyncUdp {
    inner: AsyncFd<UdpSocket>,
    /// A duplicate of the socket while a send is blocked.
    writable: Option<AsyncFd<OwnedFd>>,
}

impl AsyncUdp {
    /// Registers `socket`. Must be called within a tokio runtime with I/O enabled.
    pub fn new(socket: UdpSocket) -> io::Result<Self> {
        // SAFETY: a `UdpSocket` owns one open descriptor until it is dropped and never changes it. No mutable reference
        // to it leaves this type, so it cannot be replaced.
        let inner = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { inner, writable: None })
    }

    /// Gives up receiving: the datagrams are left to another process that shares the socket, and do not wake this one.
    /// Sending goes on.
    pub fn stop_receiving(&mut self) -> io::Result<()> {
        self.register_again(Interest::PRIORITY) // a UDP socket is never ready in this way
    }

    /// Receives again.
    pub fn resume_receiving(&mut self) -> io::Result<()> {
        self.register_again(Interest::READABLE)
    }

    fn register_again(&mut self, interest: Interest) -> io::Result<()> {
        let socket = self.inner.get_ref().try_clone()?;
        // SAFETY: as in `new`.
        self.inner = unsafe { AsyncFd::register_with_interest(socket, interest) }?;
        Ok(())
    }

    /// Returns the socket.
    pub fn socket(&self) -> &UdpSocket {
        self.inner.get_ref()
    }

    /// See [`UdpSocket::take_gso_refusal`].
    pub fn take_gso_refusal(&mut self) -> Option<IpAddr> {
        self.inner.get_mut().take_gso_refusal()
    }

    /// Receives one batch; ready with the number of messages. If pending, the next datagram wakes the task.
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

    /// Sends the batch; ready when it is empty. If pending, the batch is blocked, and the task is woken when the socket
    /// is writable.
    ///
    /// Errors: those of [`UdpSocket::send`].
    pub fn poll_send(&mut self, cx: &mut Context<'_>, batch: &mut SendBatch) -> Poll<io::Result<()>> {
        while !batch.is_empty() {
            // The socket is almost always writable, so try it first and ask the runtime only when it is full.
            if batch.is_blocked() {
                let mut guard = ready!(self.writable()?.poll_write_ready(cx))?;
                guard.clear_ready();
            }
            if self.inner.get_mut().send(batch)? == SendOutcome::Done {
                break;
            }
        }
        self.writable = None;
        Poll::Ready(Ok(()))
    }

    /// Returns the descriptor registered for write events, creating it if needed.
    fn writable(&mut self) -> io::Result<&AsyncFd<OwnedFd>> {
        let writable = if let Some(writable) = self.writable.take() {
            writable
        } else {
            let again = self.inner.get_ref().as_fd().try_clone_to_owned()?;
            // SAFETY: an `OwnedFd` is open until dropped, and this type never replaces it.
            unsafe { AsyncFd::register_with_interest(again, Interest::WRITABLE) }?
        };
        Ok(self.writable.insert(writable))
    }
}
