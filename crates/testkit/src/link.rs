//! Simulates a bad network: a UDP relay that delays, loses and reorders datagrams, and a NAT that loses its mappings.
//!
//! Uses one public socket, and one socket per client address towards the server. Random decisions follow from a seed, which
//! is printed.

mod conditions;
mod pipe;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use self::conditions::{Conditions, Counts};
use self::pipe::Pipe;

const DATAGRAM_BYTES: usize = 65_535;
/// Kernel buffer of each socket, large enough for a burst of a whole congestion window.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Maximum number of clients of a relay.
const MAX_CLIENTS: usize = 256;

/// A running relay. Stops when dropped.
#[derive(Debug)]
pub struct Link {
    addr: SocketAddr,
    counts: Arc<watch::Sender<Counts>>,
    forget: mpsc::Sender<()>,
    _tasks: JoinSet<()>,
}

impl Link {
    /// Relays between clients of [`Link::addr`] and `server`.
    pub async fn start(server: SocketAddr, conditions: Conditions) -> Self {
        eprintln!("link to {server}: {conditions:?}");
        let public = bind().await;
        let addr = public.local_addr().expect("address of a bound socket");
        let counts = Arc::new(watch::Sender::new(Counts::default()));
        let (forget, forgetting) = mpsc::channel(1);
        let nat = Nat { public: Arc::new(public), server, conditions, counts: counts.clone(), clients: HashMap::new() };
        let mut tasks = JoinSet::new();
        tasks.spawn(nat.relay(forgetting));
        Self { addr, counts, forget, _tasks: tasks }
    }

    /// Returns the address that clients send to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Removes all NAT mappings. Datagrams in transit are lost, and the next datagram of a client reaches the server from
    /// another port.
    pub async fn rebind(&self) {
        self.forget.send(()).await.expect("a running relay");
    }

    /// Returns what happened to the datagrams so far.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }
}

async fn bind() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a relay on loopback");
    // Exceeding the system limit requires a capability; without it the limit applies.
    if set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER_BYTES).is_err() {
        set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER_BYTES).expect("set a buffer size");
    }
    socket
}

struct Nat {
    public: Arc<UdpSocket>,
    server: SocketAddr,
    conditions: Conditions,
    counts: Arc<watch::Sender<Counts>>,
    clients: HashMap<SocketAddr, Mapping>,
}

/// The relay of one client in both directions.
struct Mapping {
    up: Pipe,
    _tasks: JoinSet<()>,
}

impl Nat {
    async fn relay(mut self, mut forgetting: mpsc::Receiver<()>) {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        let mut mappings = 0;
        loop {
            let received = tokio::select! {
                received = self.public.recv_from(&mut buffer) => received,
                Some(()) = forgetting.recv() => {
                    self.clients.clear();
                    continue;
                }
            };
            let Ok((len, client)) = received else { continue };
            if !self.clients.contains_key(&client) {
                assert!(self.clients.len() < MAX_CLIENTS, "more than {MAX_CLIENTS} clients on one relay");
                let mapping = self.map(client, 2 * mappings).await;
                self.clients.insert(client, mapping);
                mappings += 1;
            }
            self.clients[&client].up.push(&buffer[..len]);
        }
    }

    /// Creates a mapping for `client`. `number` selects its random sequences.
    async fn map(&self, client: SocketAddr, number: u64) -> Mapping {
        let Self { public, server, conditions, counts, .. } = self;
        let private = Arc::new(bind().await);
        let mut tasks = JoinSet::new();
        let up = Pipe::start(private.clone(), *server, *conditions, number, counts.clone(), &mut tasks);
        let honest = Conditions { misleading: false, ..*conditions };
        let down = Pipe::start(public.clone(), client, honest, number + 1, counts.clone(), &mut tasks);
        tasks.spawn(back(private, down));
        Mapping { up, _tasks: tasks }
    }
}

/// Relays datagrams of the server to a client.
async fn back(private: Arc<UdpSocket>, down: Pipe) {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    loop {
        if let Ok(len) = private.recv(&mut buffer).await {
            down.push(&buffer[..len]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait;

    #[tokio::test]
    async fn a_clean_link_carries_both_ways() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let link = Link::start(server.local_addr().unwrap(), Conditions::clean()).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        client.send_to(b"ping", link.addr()).await.unwrap();
        let mut buffer = [0; 16];
        let (len, from) = wait::within("ping", server.recv_from(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..len], b"ping");
        server.send_to(b"pong", from).await.unwrap();
        let len = wait::within("pong", client.recv(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..len], b"pong");
        assert_eq!(link.counts(), Counts { delivered: 2, lost: 0, reordered: 0 });
    }

    #[tokio::test]
    async fn loses_and_reorders_as_told() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let conditions = Conditions { loss_permille: 300, reorder_permille: 300, ..Conditions::bad(11) };
        let link = Link::start(server.local_addr().unwrap(), conditions).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for number in 0..100u8 {
            client.send_to(&[number], link.addr()).await.unwrap();
        }
        let mut reader = link.counts.subscribe();
        let settled = |counts: &Counts| counts.delivered + counts.lost == 100;
        let counts = *wait::within("all datagrams to be settled", reader.wait_for(settled)).await.unwrap();
        let mut order = Vec::new();
        while order.len() < usize::try_from(counts.delivered).unwrap() {
            let mut buffer = [0; 16];
            wait::within("a datagram", server.recv(&mut buffer)).await.unwrap();
            order.push(buffer[0]);
        }
        assert!(counts.lost > 10 && counts.reordered > 10, "{counts:?}");
        assert!(!order.is_sorted(), "{order:?}");
    }

    #[tokio::test]
    async fn a_misleading_link_sends_pairs() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let link = Link::start(server.local_addr().unwrap(), Conditions::misleading()).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut buffer = [0; 32];
        for (packet, decoy) in [
            (&b"\x41\x0ashort"[..], &[0x40, 0x0b, 0, 0, 0, 0, 0][..]),
            (&[0xc0, 0, 0, 0, 1, 8, 7], &[0x40, 6, 0, 0, 0, 0, 0]),
        ] {
            client.send_to(packet, link.addr()).await.unwrap();
            let (len, _) = wait::within("the decoy", server.recv_from(&mut buffer)).await.unwrap();
            assert_eq!(&buffer[..len], decoy);
            let (len, from) = wait::within("the packet", server.recv_from(&mut buffer)).await.unwrap();
            assert_eq!(&buffer[..len], packet);
            server.send_to(b"pong", from).await.unwrap();
            let len = wait::within("pong", client.recv(&mut buffer)).await.unwrap();
            assert_eq!(&buffer[..len], b"pong", "nothing else comes back");
        }
    }

    #[tokio::test]
    async fn a_link_that_forgets_uses_another_port() {
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let link = Link::start(server.local_addr().unwrap(), Conditions::clean()).await;
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut buffer = [0; 16];
        client.send_to(b"one", link.addr()).await.unwrap();
        let (_, before) = wait::within("one", server.recv_from(&mut buffer)).await.unwrap();
        link.rebind().await;
        let after = wait::until(wait::BOUND, "another port", || async {
            client.send_to(b"two", link.addr()).await.unwrap();
            let (_, after) = server.recv_from(&mut buffer.clone()).await.unwrap();
            (after != before).then_some(after)
        });
        server.send_to(b"back", after.await).await.unwrap();
        let len = wait::within("the way back", client.recv(&mut buffer)).await.unwrap();
        assert_eq!(&buffer[..len], b"back");
    }
}
