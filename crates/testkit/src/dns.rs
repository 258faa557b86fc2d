//! A small DNS server on loopback (RFC 1035, UDP and TCP) whose answers a test changes while it runs.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::wait;

/// Record types.
const A: u16 = 1;
const AAAA: u16 = 28;
/// Class IN.
const IN: u16 = 1;
const HEADER: usize = 12;
/// The flag TC: the answer was cut off, and the whole one is to be had over TCP (RFC 7766).
const TRUNCATED: u16 = 0x0200;
/// A pointer to the name of the question.
const NAME_OF_QUESTION: u16 = 0xc000 | HEADER as u16;

/// The answer to the queries for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These addresses with this TTL in seconds, each to queries of its record type.
    Addresses(Vec<IpAddr>, u32),
    /// As `Addresses`, but over UDP only the first one of each record type, and the flag TC.
    Truncated(Vec<IpAddr>, u32),
    /// NXDOMAIN.
    NoSuchName,
    /// SERVFAIL.
    Failure,
    /// No answer.
    Silence,
    /// An answer to AAAA queries only after this time; to others at once.
    LateAaaa(Duration, Box<Answer>),
}

#[derive(Debug)]
struct Query {
    name: String,
    is_tcp: bool,
}

/// What the tasks of the server share.
#[derive(Debug, Default)]
struct Shared {
    zone: Mutex<HashMap<String, Answer>>,
    queries: watch::Sender<Vec<Query>>,
}

/// A running DNS server. Stops when dropped. Answers NXDOMAIN to names that were not set.
#[derive(Debug)]
pub struct DnsServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

impl DnsServer {
    /// Starts a server on a free port of 127.0.0.1.
    pub async fn start() -> Self {
        loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a DNS server on loopback");
            // The TCP port of the same number may be in use.
            if let Ok(tcp) = TcpListener::bind(local_addr(&udp)).await {
                return Self::run(udp, tcp);
            }
        }
    }

    /// Starts a server on this address.
    pub async fn start_at(addr: SocketAddr) -> Self {
        let udp = UdpSocket::bind(addr).await.expect("bind a DNS server on loopback");
        Self::run(udp, TcpListener::bind(addr).await.expect("bind a DNS server on loopback"))
    }

    fn run(udp: UdpSocket, tcp: TcpListener) -> Self {
        let (addr, shared, mut tasks) = (local_addr(&udp), Arc::<Shared>::default(), JoinSet::new());
        tasks.spawn(serve_udp(Arc::new(udp), shared.clone()));
        tasks.spawn(serve_tcp(tcp, shared.clone()));
        Self { addr, shared, _tasks: tasks }
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
        self.shared.zone.lock().expect("no panic while held").insert(name.to_owned(), answer);
    }

    /// Returns the number of queries for A or AAAA records of a name.
    pub fn count(&self, name: &str) -> usize {
        self.shared.queries.borrow().iter().filter(|query| query.name == name).count()
    }

    /// Returns the number of those that came over TCP.
    pub fn count_tcp(&self, name: &str) -> usize {
        self.shared.queries.borrow().iter().filter(|query| query.name == name && query.is_tcp).count()
    }

    /// Waits until there were this many queries for a name.
    pub async fn asked(&self, name: &str, times: usize) {
        let what = format!("{times} queries for {name}");
        let mut reader = self.shared.queries.subscribe();
        let enough = |queries: &Vec<Query>| queries.iter().filter(|query| query.name == name).count() >= times;
        wait::within(&what, reader.wait_for(enough)).await.expect("the record outlives its readers");
    }
}

fn local_addr(socket: &UdpSocket) -> SocketAddr {
    socket.local_addr().expect("address of a bound socket")
}

impl Shared {
    /// Records a query. Returns the packet to send, if there is one, and how long to wait before that.
    fn answer(&self, packet: &[u8], is_tcp: bool) -> Option<(Duration, Vec<u8>)> {
        let (name, kind, question) = question(packet)?;
        let zone = self.zone.lock().expect("no panic while held");
        let mut answer = zone.get(&name).cloned().unwrap_or(Answer::NoSuchName);
        drop(zone);
        self.queries.send_modify(|all| all.push(Query { name, is_tcp }));
        let mut delay = Duration::ZERO;
        if let Answer::LateAaaa(time, then) = answer {
            (delay, answer) = (if kind == AAAA { time } else { Duration::ZERO }, *then);
        }
        let whole = match answer {
            Answer::Truncated(addresses, ttl) if is_tcp => Answer::Addresses(addresses, ttl),
            other => other,
        };
        Some((delay, response(packet, question, kind, &whole)?))
    }
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut packet = [0; 1500];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut packet).await else { continue };
        let Some((delay, response)) = shared.answer(&packet[..length], false) else { continue };
        let socket = socket.clone();
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = socket.send_to(&response, client).await;
        });
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            let shared = shared.clone();
            connections.spawn(async move { drop(converse(stream, &shared).await) });
        }
    }
}

/// Answers the queries of a TCP connection, each after its length (RFC 1035 section 4.2.2).
async fn converse(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    loop {
        let mut packet = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut packet).await?;
        let Some((delay, response)) = shared.answer(&packet, true) else { continue };
        tokio::time::sleep(delay).await;
        stream.write_all(&[&(response.len() as u16).to_be_bytes(), &response[..]].concat()).await?;
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
    let of_kind = |ip: &IpAddr| if ip.is_ipv4() { kind == A } else { kind == AAAA };
    let (code, records): (u16, Vec<IpAddr>) = match answer {
        Answer::Addresses(addresses, _) => (0, addresses.iter().copied().filter(of_kind).collect()),
        Answer::Truncated(addresses, _) => (TRUNCATED, addresses.iter().copied().find(of_kind).into_iter().collect()),
        Answer::NoSuchName => (3, Vec::new()),
        Answer::Failure => (2, Vec::new()),
        Answer::Silence | Answer::LateAaaa(..) => return None,
    };
    let ttl = if let Answer::Addresses(_, ttl) | Answer::Truncated(_, ttl) = answer { *ttl } else { 0 };
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

    #[tokio::test]
    async fn what_is_truncated_over_udp_is_whole_over_tcp() {
        let server = DnsServer::start().await;
        server.answer("a.test", Answer::Truncated(vec![[10, 0, 0, 1].into(), [10, 0, 0, 2].into()], 5));
        let asked = query("a.test", A);
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.send_to(&asked, server.addr()).await.unwrap();
        let mut packet = [0; 512];
        let length = wait::within("an answer", socket.recv(&mut packet)).await.unwrap();
        assert_eq!((packet[2] & 2, packet[7], packet[3] & 15), (2, 1, 0), "TC, one record, no error");
        assert!(packet[..length].ends_with(&[0, 4, 10, 0, 0, 1]));
        let mut stream = TcpStream::connect(server.addr()).await.unwrap();
        stream.write_all(&[&[0, asked.len() as u8], &asked[..]].concat()).await.unwrap();
        let length = wait::within("an answer", stream.read_u16()).await.unwrap();
        let mut packet = vec![0; usize::from(length)];
        wait::within("the rest", stream.read_exact(&mut packet)).await.unwrap();
        assert_eq!((packet[2] & 2, packet[7]), (0, 2), "no TC, both records");
        assert!(packet.ends_with(&[0, 4, 10, 0, 0, 2]));
        assert_eq!((server.count("a.test"), server.count_tcp("a.test")), (2, 1));
    }
}
