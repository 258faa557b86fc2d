//! The UDP socket and its options.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use libc::c_int;
use socket2::{Domain, Protocol, Socket, Type};

use super::address::Family;
use super::control::{SOL_UDP, UDP_GRO, UDP_SEGMENT};
use super::gso::Gso;
use super::recv::RecvBatch;
use super::send::{SendBatch, SendContext, SendOutcome, SendStats};
use crate::sockopt;

/// Options of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpOptions {
    /// Size of the kernel's receive buffer in bytes. The kernel may grant less.
    pub recv_buffer: usize,
    /// Size of the kernel's send buffer in bytes. The kernel may grant less.
    pub send_buffer: usize,
    /// Share the address with other sockets (`SO_REUSEPORT`); see [`crate::steer`].
    pub reuseport: bool,
}

/// A non-blocking UDP socket. Datagrams are never fragmented (DF is set), for path MTU discovery.
#[derive(Debug)]
pub struct UdpSocket {
    socket: Socket,
    family: Family,
    gso: Gso,
    stats: SendStats,
    gso_refusal: Option<IpAddr>,
}

impl UdpSocket {
    /// Binds `address`. `[::]` also receives IPv4.
    ///
    /// Errors: those of the system; the socket is then closed.
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

    /// Lets further sockets bind this address with [`UdpOptions::reuseport`]. Binding the first socket without the
    /// option and sharing it afterwards proves that no other process listens there, without a race.
    pub fn share(&self) -> io::Result<()> {
        self.socket.set_reuse_port(true)
    }

    /// Adopts a bound socket that a previous process or the service manager passed on.
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

    /// Duplicates the descriptor. Both share what the kernel has received.
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        let (family, gso) = (self.family, self.gso.clone());
        Ok(Self { socket: self.socket.try_clone()?, family, gso, stats: self.stats, gso_refusal: self.gso_refusal })
    }

    fn configure(socket: Socket, family: Family, options: &UdpOptions) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let fd = socket.as_fd();
        set_buffer_size(fd, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, options.recv_buffer)?;
        set_buffer_size(fd, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, options.send_buffer)?;
        // An IPv6 socket needs the IPv4 options too, for its IPv4 peers.
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
        // A kernel without the option would also ignore the control message and send one giant datagram.
        let gso = Gso::new(sockopt::get_int(fd, SOL_UDP, UDP_SEGMENT).is_ok());
        Ok(Self { socket, family, gso, stats: SendStats::default(), gso_refusal: None })
    }

    /// Returns the bound address; `[::]` for a dual-stack socket.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let address = self.socket.local_addr()?;
        Ok(address.as_socket().unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into()))
    }

    /// Returns the granted receive and send buffer sizes; see [`granted_buffers`].
    pub fn granted_buffers(&self) -> io::Result<(usize, usize)> {
        granted_buffers(self.as_fd())
    }

    /// Returns how many datagrams of `segment_size` bytes a burst to `destination` may have: 1 if the kernel has
    /// refused GSO for it, else at most 64.
    pub fn max_gso_segments(&self, destination: IpAddr, segment_size: usize) -> usize {
        self.gso.max_segments(destination, segment_size)
    }

    /// Returns the counters of all sends.
    pub fn stats(&self) -> SendStats {
        self.stats
    }

    /// Returns, once, a destination for which the kernel has newly refused GSO, for the log.
    pub fn take_gso_refusal(&mut self) -> Option<IpAddr> {
        self.gso_refusal.take()
    }

    /// Receives the waiting messages, at most [`super::RECV_BATCH`], into `batch` and returns their number.
    ///
    /// Errors: `WouldBlock` when no message is waiting; others are failures of the socket.
    pub fn recv(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.fill(self.as_fd())
    }

    /// Sends the content of `batch` in order. Errors of single destinations are counted in [`stats`](Self::stats) and
    /// do not stop the others.
    ///
    /// Errors: only those that make the socket unusable.
    pub fn send(&mut self, batch: &mut SendBatch) -> io::Result<SendOutcome> {
        batch.flush(SendContext {
            fd: self.socket.as_fd(),
            family: self.family,
            gso: &mut self.gso,
            stats: &mut self.stats,
            gso_refusal: &mut self.gso_refusal,
        })
    }
}

/// Returns the granted receive and send buffer sizes of a socket, comparable to the requested ones. (The kernel reports
/// twice as much, because it includes its overhead.)
pub fn granted_buffers(socket: BorrowedFd<'_>) -> io::Result<(usize, usize)> {
    let granted = |name| {
        let doubled = sockopt::get_int(socket, libc::SOL_SOCKET, name)?;
        Ok(usize::try_from(doubled).unwrap_or_default() / 2)
    };
    granted(libc::SO_RCVBUF).and_then(|receive| Ok((receive, granted(libc::SO_SNDBUF)?)))
}

/// Position of the drops in the answer to `SO_MEMINFO` (`SK_MEMINFO_DROPS` of `linux/sock_diag.h`), and its length.
const MEMINFO_DROPS: usize = 8;
const MEMINFO_LENGTH: usize = 9;

/// Returns how many datagrams the kernel has dropped because the receive buffer of a socket was full.
pub fn receive_drops(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let info = sockopt::get_ints::<MEMINFO_LENGTH>(socket, libc::SOL_SOCKET, libc::SO_MEMINFO)?;
    let drops = info.get(MEMINFO_DROPS).copied().unwrap_or_default();
    Ok(u64::from(drops.cast_unsigned()))
}

/// Requests a buffer size: above the system's maximum if that is allowed (`CAP_NET_ADMIN`), else up to it. Keeps a
/// socket that has this size already, because the process may have lost the capability since it was bound.
fn set_buffer_size(fd: BorrowedFd<'_>, forced: c_int, plain: c_int, bytes: usize) -> io::Result<()> {
    // The kernel doubles the value, in an int.
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX).min(c_int::MAX / 2);
    if sockopt::get_int(fd, libc::SOL_SOCKET, plain).is_ok_and(|granted| granted / 2 == bytes) {
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
