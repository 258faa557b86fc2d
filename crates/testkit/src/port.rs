//! Finds free ports for programs that cannot bind port 0.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

const ATTEMPTS: usize = 64;

/// Returns a loopback address whose port is currently free for UDP and TCP.
///
/// Another process may bind it before it is used. The order in which kernels assign ephemeral ports makes this rare.
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
