//! The UDP socket: its options, and what it learns about the kernel.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use libc::c_int;
use socket2::{Domain, Protocol, Socket, Type};

use super::address::Family;
use super::control::{SOL_UDP, UDP_GRO, UDP_SEGMENT};
use super::gso::Gso;
use super::recv::RecvBatch;
use super::send::{Output, SendBatch, SendOutcome, SendStats};
use crate::sockopt;

/// What a socket is asked to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// Receive buffer of the kernel in bytes. Less may be granted.
    pub recv_buffer: usize,
    /// Send buffer of the kernel in bytes. Less may be granted.
    pub send_buffer: usize,
    /// Several sockets share the address (`SO_REUSEPORT`); see [`crate::steer`].
    pub reuseport: bool,
}

/// A non-blocking UDP socket. Datagrams are never fragmented (DF is set), so that path MTU discovery can work.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    family: Family,
    gso: Gso,
    stats: SendStats,
    notice: Option<IpAddr>,
}

impl UdpSocket {
    /// Binds `address`. `[::]` also receives IPv4.
    ///
    /// Errors: those of the system; the socket is then closed again.
    pub fn bind(address: SocketAddr, options: &UdpOptions) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        if options.reuseport {
            socket.set_reuse_port(true)?;
        }
        let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        let this = Self::configure(socket, family, options)?;
        this.socket.bind(&address.into())?;
        Ok(this)
    }

    /// Lets further sockets bind this address with [`UdpOptions::reuseport`]. A first socket that is bound without it and
    /// shared afterwards shows that nobody else listens there, and leaves no moment at which another process could.
    pub fn share(&self) -> io::Result<()> {
        self.socket.set_reuse_port(true)
    }

    /// Takes over a socket that is already bound: handed over by a previous process or by the service manager.
    ///
    /// Errors: when it is not an internet UDP socket, and those of the system.
    pub fn adopt(fd: OwnedFd, options: &UdpOptions) -> io::Result<Self> {
        let socket = Socket::from(fd);
        let unfit = || io::Error::new(io::ErrorKind::InvalidInput, "not a bound UDP socket");
        let address = socket.local_addr()?.as_socket().ok_or_else(unfit)?;
        if socket.r#type()? != Type::DGRAM {
            return Err(unfit());
        }
        let family = if address.is_ipv4() { Family::V4 } else { Family::V6 };
        Self::configure(socket, family, options)
    }

    fn configure(socket: Socket, family: Family, options: &UdpOptions) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let fd = socket.as_fd();
        grant(fd, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, options.recv_buffer)?;
        grant(fd, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, options.send_buffer)?;
        // The IPv4 options also on an IPv6 socket: they govern what it exchanges with IPv4 peers.
        sockopt::set_int(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
        sockopt::set_int(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
        match family {
            Family::V4 => sockopt::set_int(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
            Family::V6 => {
                sockopt::set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
                sockopt::set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
                sockopt::set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE)?;
            }
        }
        let _ = sockopt::set_int(fd, SOL_UDP, UDP_GRO, 1); // without it each message has one datagram
        // A kernel that does not know the option would ignore the control message too, and send one giant datagram.
        let gso = Gso::new(sockopt::int(fd, SOL_UDP, UDP_SEGMENT).is_ok());
        Ok(Self { socket, family, gso, stats: SendStats::default(), notice: None })
    }

    /// The bound address; a dual stack socket says `[::]`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?;
        Ok(address.as_socket().unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into()))
    }

    /// Bytes granted for receiving and sending, comparable to those asked for (the kernel's own figures are twice as
    /// high, as it counts its bookkeeping).
    pub fn granted_buffers(&self) -> io::Result<(usize, usize)> {
        let granted = |name| {
            let doubled = sockopt::int(self.as_fd(), libc::SOL_SOCKET, name)?;
            Ok(usize::try_from(doubled).unwrap_or_default() / 2)
        };
        granted(libc::SO_RCVBUF).and_then(|receive| Ok((receive, granted(libc::SO_SNDBUF)?)))
    }

    /// How many datagrams of `segment_size` bytes one burst to `destination` may have: 1 where the kernel refused
    /// GSO, else as many as it takes, at most 64.
    pub fn max_gso_segments(&self, destination: IpAddr, segment_size: usize) -> usize {
        self.gso.max_segments(destination, segment_size)
    }

    /// Counts of everything sent so far.
    pub fn stats(&self) -> SendStats {
        self.stats
    }

    /// A destination that is newly without GSO, once: worth a line in the log.
    pub fn take_gso_notice(&mut self) -> Option<IpAddr> {
        self.notice.take()
    }

    /// Receives what is waiting, at most [`super::RECV_BATCH`] messages, into `batch`; returns their number.
    ///
    /// Errors: `WouldBlock` when nothing is waiting; others are failures of the socket itself.
    pub fn recv(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.fill(self.as_fd())
    }

    /// Sends what is in `batch`, in order. Trouble with one destination is counted in [`stats`](Self::stats) and does
    /// not stop the others.
    ///
    /// Errors: only such as make the socket useless.
    pub fn send(&mut self, batch: &mut SendBatch) -> io::Result<SendOutcome> {
        batch.flush(Output {
            fd: self.socket.as_fd(),
            family: self.family,
            gso: &mut self.gso,
            stats: &mut self.stats,
            notice: &mut self.notice,
        })
    }
}

/// Asks for a buffer size: beyond the system's maximum where that is allowed (`CAP_NET_ADMIN`), else up to it. A socket
/// that has this size already keeps it: since it was bound the process may have lost the right to ask for it again.
fn grant(fd: BorrowedFd<'_>, forced: c_int, plain: c_int, bytes: usize) -> io::Result<()> {
    // The kernel doubles the value in an int.
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX).min(c_int::MAX / 2);
    if sockopt::int(fd, libc::SOL_SOCKET, plain).is_ok_and(|granted| granted / 2 == bytes) {
        return Ok(());
    }
    sockopt::set_int(fd, libc::SOL_SOCKET, forced, bytes)
        .or_else(|_| sockopt::set_int(fd, libc::SOL_SOCKET, plain, bytes))
}

impl AsFd for UdpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
