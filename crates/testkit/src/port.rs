//! Ports chosen by the kernel.
//!
//! Owns the choice of a port for programs that cannot bind port 0 themselves. Called by the process helpers and the
//! configuration writer.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// Attempts to find a port number that is free for UDP and TCP at once.
const ATTEMPTS: usize = 64;

/// A loopback address whose port is free for UDP and TCP at the time of the call.
///
/// Another process may take it before it is used; kernels hand ephemeral ports out in an order that makes this rare.
pub fn free() -> SocketAddr {
    for _ in 0..ATTEMPTS {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind UDP on loopback");
        let addr = udp.local_addr().expect("address of a bound socket");
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
    panic!("no port is free for both UDP and TCP after {ATTEMPTS} attempts");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_protocols_can_bind_it() {
        let addr = free();
        let _udp = UdpSocket::bind(addr).unwrap();
        let _tcp = TcpListener::bind(addr).unwrap();
    }
}
