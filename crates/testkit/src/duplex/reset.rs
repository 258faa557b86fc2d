//! Resets TCP connections.

use std::io;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use tokio::net::TcpStream;

/// A second handle of a TCP connection. If it is armed, the connection ends by RST when all its handles are dropped.
#[derive(Debug)]
pub(super) struct Resetter(std::net::TcpStream);

impl Resetter {
    /// Takes a second handle of a connection.
    pub(super) fn of(tcp: TcpStream) -> io::Result<(TcpStream, Self)> {
        let tcp = tcp.into_std()?;
        let second = tcp.try_clone()?;
        Ok((TcpStream::from_std(tcp)?, Self(second)))
    }

    pub(super) fn arm(&self) {
        let _ = set_socket_linger(&self.0, Some(Duration::ZERO));
    }
}
