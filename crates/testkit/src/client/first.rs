//! Captures the first datagrams of connections, for tests that send them from forged addresses.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use tokio::net::UdpSocket;

use super::Client;
use crate::wait;

const DATAGRAM_BYTES: usize = 65_535;

impl Client {
    /// Returns the first `each` datagrams of `count` connections, each with its own connection id. They are not sent to any
    /// server.
    pub async fn first_datagrams(&self, server_name: &str, count: usize, each: usize) -> Vec<Vec<Vec<u8>>> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind on loopback");
        let addr = socket.local_addr().expect("address of a bound socket");
        let connect = || self.endpoint.connect(addr, server_name).expect("a valid server name");
        let _waiting: Vec<_> = (0..count).map(|_| connect()).collect();
        let mut found: BTreeMap<Vec<u8>, Vec<Vec<u8>>> = BTreeMap::new();
        let mut buffer = vec![0; DATAGRAM_BYTES];
        while found.len() < count || found.values().any(|datagrams| datagrams.len() < each) {
            let received = wait::within("a first datagram", socket.recv(&mut buffer)).await;
            let datagram = &buffer[..received.expect("receive on loopback")];
            let length = usize::from(datagram[5]);
            let of_connection = found.entry(datagram[6..6 + length].to_vec()).or_default();
            if of_connection.len() < each {
                of_connection.push(datagram.to_vec());
            }
        }
        found.into_values().collect()
    }
}
