//! Listening TCP sockets: one for each worker on the same address and port, among which the kernel distributes connections.
//!
//! The runtime binds them, workers accept from them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::sockopt;

/// Connections that the kernel has established and the worker has not accepted yet, for each socket. The kernel's own limit
/// (`net.core.somaxconn`) applies too.
const BACKLOG: i32 = 4096;
/// Bytes that the kernel queues for one client beyond what is in flight. More would be stale when a stream with higher
/// priority has something to send, and would use memory for a client that does not read.
const MAX_UNSENT: i32 = 128 * 1024;

/// Binds `address` for `workers` workers and listens. `[::]` also accepts IPv4.
///
/// The first socket is bound without `SO_REUSEPORT`, so that a port on which another process listens is an error.
///
/// Errors: those of the system; all sockets are then closed.
pub fn listen(address: SocketAddr, workers: u16) -> io::Result<Vec<OwnedFd>> {
    let first = bind(address, false)?;
    let address = first.local_addr()?;
    let mut sockets = vec![first];
    if workers > 1 {
        sockets.iter().try_for_each(|first| first.set_reuse_port(true))?;
        for _ in 1..workers {
            sockets.push(bind(address.as_socket().ok_or(io::ErrorKind::InvalidInput)?, true)?);
        }
    }
    // After all are bound: a socket gets connections from here on.
    sockets.iter().try_for_each(|socket| socket.listen(BACKLOG))?;
    Ok(sockets.into_iter().map(OwnedFd::from).collect())
}

fn bind(address: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Connections of an earlier process that the kernel still remembers do not prevent a start.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(reuse_port)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Returns the address of a socket.
pub fn local_addr(socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    SockRef::from(&socket).local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Registers a duplicate of a listening socket with the current tokio runtime. Sets the options of its connections, which
/// inherit them: that saves system calls for each.
pub fn listener(socket: BorrowedFd<'_>) -> io::Result<TcpListener> {
    // Without these options connections are only slower.
    let _ = sockopt::set_int(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1); // what a turn writes is complete
    let _ = sockopt::set_int(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, MAX_UNSENT);
    let socket = std::net::TcpListener::from(socket.try_clone_to_owned()?);
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket)
}

/// Makes the kernel end the connections that a listening socket accepts from now on when their peers acknowledge nothing of
/// what waits for them, or take nothing of it, for this time. That also holds for closed ones, which would otherwise be kept
/// with their unsent bytes as long as the peer answers.
pub fn limit_silence(socket: BorrowedFd<'_>, time: Duration) {
    let _ = SockRef::from(&socket).set_tcp_user_timeout(Some(time)); // without it the kernel's own limits apply
}

/// Makes the kernel refuse new connections, although duplicates of the socket are open. Connections that were not accepted
/// are reset.
pub fn stop_listening(socket: BorrowedFd<'_>) {
    let _not_listening = SockRef::from(&socket).shutdown(std::net::Shutdown::Read); // fails only if it was called before
}

/// What the kernel knows of the path of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathStats {
    /// The estimated round-trip time. `None` if nothing was acknowledged yet.
    pub rtt: Option<Duration>,
    /// Segments that were sent again.
    pub retransmitted: u64,
}

/// Positions of two fields in `struct tcp_info` (`linux/tcp.h`), in units of four bytes. The kernel only appends fields.
const RTT_MICROS: usize = 17;
const TOTAL_RETRANSMITTED: usize = 25;

/// Returns what the kernel knows of the path. `None` if it does not say.
pub fn path_stats(stream: &TcpStream) -> Option<PathStats> {
    let info: [i32; TOTAL_RETRANSMITTED + 1] =
        sockopt::get_ints(stream.as_fd(), libc::IPPROTO_TCP, libc::TCP_INFO).ok()?;
    let rtt = Duration::from_micros(info[RTT_MICROS].cast_unsigned().into());
    Some(PathStats {
        rtt: Some(rtt).filter(|rtt| !rtt.is_zero()),
        retransmitted: info[TOTAL_RETRANSMITTED].cast_unsigned().into(),
    })
}

/// Makes the kernel reset the connection when it is closed, and discard what was not sent. The peer then cannot take an
/// incomplete response for a complete one.
pub fn reset_on_close(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO)); // fails only if the connection is gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream as Client;

    const LOOPBACK: &str = "127.0.0.1:0";
    const BOUND: Duration = Duration::from_secs(10);

    fn address(sockets: &[OwnedFd]) -> SocketAddr {
        local_addr(sockets[0].as_fd()).unwrap()
    }

    #[test]
    fn workers_share_a_port_that_no_other_process_uses() {
        let sockets = listen(LOOPBACK.parse().unwrap(), 3).unwrap();
        let addresses: Vec<_> = sockets.iter().map(|socket| local_addr(socket.as_fd()).unwrap()).collect();
        assert!(addresses.len() == 3 && addresses.iter().all(|other| *other == addresses[0] && other.port() > 0));
        for workers in [1, 2] {
            let again = listen(addresses[0], workers).unwrap_err();
            assert_eq!(again.kind(), io::ErrorKind::AddrInUse, "{workers} workers");
        }
        drop(sockets);
        listen(addresses[0], 2).unwrap();
    }

    #[test]
    fn every_worker_gets_connections() {
        let sockets = listen(LOOPBACK.parse().unwrap(), 2).unwrap();
        let clients: Vec<_> = (0..64).map(|_| Client::connect_timeout(&address(&sockets), BOUND).unwrap()).collect();
        let accepted = sockets.into_iter().map(|socket| {
            let socket = std::net::TcpListener::from(socket);
            std::iter::from_fn(|| socket.accept().ok()).count()
        });
        let accepted: Vec<_> = accepted.collect();
        assert_eq!(accepted.iter().sum::<usize>(), clients.len());
        assert!(accepted.iter().all(|count| *count > 0), "{accepted:?}");
    }

    #[test]
    fn a_dual_stack_socket_accepts_both_families() {
        let Ok(sockets) = listen("[::]:0".parse().unwrap(), 1) else { return eprintln!("no IPv6 here") };
        let port = address(&sockets).port();
        for host in ["127.0.0.1", "::1"] {
            Client::connect_timeout(&SocketAddr::new(host.parse().unwrap(), port), BOUND).unwrap();
        }
    }

    #[tokio::test]
    async fn a_socket_that_stops_listening_refuses_although_duplicates_are_open() {
        let sockets = listen(LOOPBACK.parse().unwrap(), 1).unwrap();
        let (at, listener) = (address(&sockets), listener(sockets[0].as_fd()).unwrap());
        limit_silence(listener.as_fd(), Duration::from_millis(1234));
        let client = tokio::spawn(async move { TcpStream::connect(at).await.map(drop) });
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(accepted.nodelay().unwrap());
        let unsent = sockopt::get_int(accepted.as_fd(), libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT).unwrap();
        assert_eq!(unsent, MAX_UNSENT);
        assert_eq!(SockRef::from(&accepted).tcp_user_timeout().unwrap(), Some(Duration::from_millis(1234)));
        client.await.unwrap().unwrap();
        for _ in 0..2 {
            stop_listening(sockets[0].as_fd());
        }
        assert_eq!(Client::connect_timeout(&at, BOUND).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn the_kernel_says_how_long_a_round_trip_takes() {
        assert_eq!(std::mem::offset_of!(libc::tcp_info, tcpi_rtt), 4 * RTT_MICROS);
        assert_eq!(std::mem::offset_of!(libc::tcp_info, tcpi_total_retrans), 4 * TOTAL_RETRANSMITTED);
        let sockets = listen(LOOPBACK.parse().unwrap(), 1).unwrap();
        let (at, listener) = (address(&sockets), listener(sockets[0].as_fd()).unwrap());
        let client = TcpStream::connect(at).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let stats = path_stats(&accepted).unwrap();
        assert!(stats.rtt.is_some_and(|rtt| rtt < BOUND) && stats.retransmitted == 0, "{stats:?}");
        reset_on_close(&client);
        drop(client);
        let mut byte = [0];
        while !matches!(accepted.try_read(&mut byte), Err(error) if error.kind() == io::ErrorKind::ConnectionReset) {
            accepted.readable().await.unwrap();
        }
        assert_eq!(path_stats(&accepted), Some(stats), "also after the end");
    }

    #[tokio::test]
    async fn a_reset_connection_is_seen_as_such_by_the_peer() {
        let sockets = listen(LOOPBACK.parse().unwrap(), 1).unwrap();
        let (at, listener) = (address(&sockets), listener(sockets[0].as_fd()).unwrap());
        let client = std::thread::spawn(move || {
            let mut client = Client::connect_timeout(&at, BOUND).unwrap();
            client.set_read_timeout(Some(BOUND)).unwrap();
            client.write_all(b"hello").unwrap();
            client.read(&mut [0; 16]).unwrap_err().kind()
        });
        let (accepted, _) = listener.accept().await.unwrap();
        // The client has connected once its bytes are here; readiness alone may be reported before.
        while accepted.try_read(&mut [0; 16]).is_err() {
            accepted.readable().await.unwrap();
        }
        reset_on_close(&accepted);
        drop(accepted);
        assert!(matches!(client.join().unwrap(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe));
    }
}
