//! TCP sockets: connecting to backends and listening for clients. What travels on them is the callers' business.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Connections that the kernel completes before they are accepted; it also applies `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Connects to `address` within `limit`, with Nagle's algorithm off.
///
/// Errors: those of the system; `TimedOut` after `limit`.
pub async fn connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let connected = timeout(limit, TcpStream::connect(address)).await;
    let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Listens on `address`, non-blocking. `[::]` also accepts IPv4. With `reuseport` several sockets share the address.
///
/// Errors: those of the system.
pub fn listen(address: SocketAddr, reuseport: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // A restart must not wait for the connections of the previous process to be forgotten.
    socket.set_reuse_address(true)?;
    if reuseport {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn connects_without_delay() {
        block_on(async {
            for address in ["127.0.0.1:0", "[::1]:0"] {
                let listener = listen(address.parse().unwrap(), false).unwrap();
                let address = listener.local_addr().unwrap();
                let stream = connect(address, Duration::from_secs(10)).await.unwrap();
                assert!(stream.nodelay().unwrap());
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let (_, peer) = listener.accept().await.unwrap();
                assert_eq!(peer, stream.local_addr().unwrap());
            }
        });
    }

    #[test]
    fn unspecified_ipv6_accepts_ipv4_and_ports_can_be_shared() {
        block_on(async {
            let listener = listen("[::]:0".parse().unwrap(), true).unwrap();
            let port = listener.local_addr().unwrap().port();
            listen(listener.local_addr().unwrap(), true).unwrap();
            connect(SocketAddr::from(([127, 0, 0, 1], port)), Duration::from_secs(10)).await.unwrap();
        });
    }

    #[test]
    fn refusals_and_timeouts_are_told_apart() {
        block_on(async {
            let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            listener.listen(0).unwrap();
            let address = listener.local_addr().unwrap().as_socket().unwrap();
            let _only = connect(address, Duration::from_secs(10)).await.unwrap();
            // The queue is full now, and the kernel drops what else knocks.
            let error = connect(address, Duration::from_millis(20)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            drop(listener);
            let error = connect(address, Duration::from_secs(10)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        });
    }
}
