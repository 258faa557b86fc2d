//! A small DNS server on loopback (RFC 1035, UDP only) whose answers a test changes while it runs.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::wait;

/// Record types.
const A: u16 = 1;
const AAAA: u16 = 28;
/// Class IN.
const IN: u16 = 1;
const HEADER: usize = 12;
/// A pointer to the name of the question.
const NAME_OF_QUESTION: u16 = 0xc000 | HEADER as u16;

/// The answer to the queries for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These addresses with this TTL in seconds, each to queries of its record type.
    Addresses(Vec<IpAddr>, u32),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Failure,
    /// No answer.
    Silence,
    /// An answer to AAAA queries only after this time; to others at once.
    LateAaaa(Duration, Box<Answer>),
}

/// A query: the name and whether it asked for AAAA.
pub type Query = (String, bool);

type Zone = Arc<Mutex<HashMap<String, Answer>>>;

/// A running DNS server. Stops when dropped. Answers NXDOMAIN to names that were not set.
#[derive(Debug)]
pub struct DnsServer {
    addr: SocketAddr,
    zone: Zone,
    queries: Arc<watch::Sender<Vec<Query>>>,
    task: JoinHandle<()>,
}

impl DnsServer {
    /// Starts a server on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Starts a server on this address.
    pub async fn start_at(addr: SocketAddr) -> Self {
        let socket = UdpSocket::bind(addr).await.expect("bind a DNS server on loopback");
        let addr = socket.local_addr().expect("address of a bound socket");
        let (zone, queries) = (Zone::default(), Arc::new(watch::Sender::new(Vec::new())));
        let task = tokio::spawn(serve(Arc::new(socket), zone.clone(), queries.clone()));
        Self { addr, zone, queries, task }
    }

    /// Returns the address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Sets the addresses of a name, with a TTL in seconds.
    pub fn set(&self, name: &str, addresses: &[&str], ttl: u32) {
        let addresses = addresses.iter().map(|text| text.parse().expect("an IP address")).collect();
        self.answer(name, Answer::Addresses(addresses, ttl));
    }

    /// Sets the answer to the queries for a name.
    pub fn answer(&self, name: &str, answer: Answer) {
        self.zone.lock().expect("no panic while held").insert(name.to_owned(), answer);
    }

    /// Returns the number of queries for A or AAAA records of a name.
    pub fn count(&self, name: &str) -> usize {
        self.queries.borrow().iter().filter(|(asked, _)| asked == name).count()
    }

    /// Waits until there were this many queries for a name.
    pub async fn asked(&self, name: &str, times: usize) {
        let what = format!("{times} queries for {name}");
        let mut reader = self.queries.subscribe();
        let enough = |queries: &Vec<Query>| queries.iter().filter(|(asked, _)| asked == name).count() >= times;
        wait::within(&what, reader.wait_for(enough)).await.expect("the record outlives its readers");
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(socket: Arc<UdpSocket>, zone: Zone, queries: Arc<watch::Sender<Vec<Query>>>) {
    let mut packet = [0; 1500];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut packet).await else { continue };
        let Some((name, kind, question)) = question(&packet[..length]) else { continue };
        let mut answer = zone.lock().expect("no panic while held").get(&name).cloned().unwrap_or(Answer::NoSuchName);
        queries.send_modify(|all| all.push((name, kind == AAAA)));
        let mut delay = Duration::ZERO;
        if let Answer::LateAaaa(time, then) = answer {
            (delay, answer) = (if kind == AAAA { time } else { Duration::ZERO }, *then);
        }
        let Some(response) = response(&packet[..length], question, kind, &answer) else { continue };
        let socket = socket.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = socket.send_to(&response, client).await;
        });
    }
}

/// Returns name, type and end of the question.
fn question(packet: &[u8]) -> Option<(String, u16, usize)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?);
    Some((labels.join("."), kind, at + 4))
}

/// Returns the packet to send, if there is one.
fn response(query: &[u8], question: usize, kind: u16, answer: &Answer) -> Option<Vec<u8>> {
    let (code, records): (u16, Vec<IpAddr>) = match answer {
        Answer::Addresses(addresses, _) => {
            (0, addresses.iter().copied().filter(|ip| if ip.is_ipv4() { kind == A } else { kind == AAAA }).collect())
        }
        Answer::NoSuchName => (3, Vec::new()),
        Answer::Failure => (2, Vec::new()),
        Answer::Silence | Answer::LateAaaa(..) => return None,
    };
    let ttl = if let Answer::Addresses(_, ttl) = answer { *ttl } else { 0 };
    let mut packet = query[..2].to_vec();
    let flags = 0x8180 | code; // response, recursion desired and available
    for field in [flags, 1, records.len() as u16, 0, 0] {
        packet.extend_from_slice(&field.to_be_bytes());
    }
    packet.extend_from_slice(&query[HEADER..question]);
    for address in records {
        let data = match address {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        for field in [NAME_OF_QUESTION, kind, IN] {
            packet.extend_from_slice(&field.to_be_bytes());
        }
        packet.extend_from_slice(&ttl.to_be_bytes());
        packet.extend_from_slice(&(data.len() as u16).to_be_bytes());
        packet.extend_from_slice(&data);
    }
    Some(packet)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for a name with this type.
    fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut packet = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            packet.push(label.len() as u8);
            packet.extend_from_slice(label.as_bytes());
        }
        packet.push(0);
        packet.extend_from_slice(&kind.to_be_bytes());
        packet.extend_from_slice(&IN.to_be_bytes());
        packet
    }

    #[tokio::test]
    async fn addresses_and_errors_are_answered_as_set() {
        let server = DnsServer::start().await;
        server.set("a.test", &["10.0.0.1", "::1", "10.0.0.2"], 77);
        server.answer("b.test", Answer::Failure);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for (name, kind, code, tail) in [
            ("A.test", A, 0, &[0, 0, 0, 77, 0, 4, 10, 0, 0, 2][..]),
            ("a.test", AAAA, 0, &[0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
            ("b.test", A, 2, &[]),
            ("c.test", A, 3, &[]),
        ] {
            socket.send_to(&query(name, kind), server.addr()).await.unwrap();
            let mut packet = [0; 512];
            let length = wait::within("an answer", socket.recv(&mut packet)).await.unwrap();
            assert_eq!((&packet[..2], packet[3] & 15), (&[7, 9][..], code), "{name}");
            assert!(packet[..length].ends_with(tail), "{name}");
        }
        assert_eq!((server.count("a.test"), server.count("b.test")), (2, 1));
        server.asked("c.test", 1).await;
    }
}
