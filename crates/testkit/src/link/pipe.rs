//! One direction of the relay for one client: a queue of datagrams ordered by delivery time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use quinn::udp::{Transmit, UdpSocketState};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::conditions::{Conditions, Counts};
use crate::rng::Rng;

/// Capacity of the queue of one direction. Datagrams that do not fit are lost.
const QUEUE_DATAGRAMS: usize = 4096;

#[derive(Debug)]
pub(super) struct Pipe(mpsc::Sender<Vec<u8>>, Arc<watch::Sender<Counts>>);

impl Pipe {
    /// Starts a direction that sends from `socket` to `to`. `number` selects its random sequence.
    pub(super) fn start(
        socket: Arc<UdpSocket>,
        to: SocketAddr,
        conditions: Conditions,
        number: u64,
        counts: Arc<watch::Sender<Counts>>,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_DATAGRAMS);
        let rng = Rng::new(conditions.seed ^ (number << 32));
        let pairs = conditions.misleading.then(pairs);
        let (waiting, taken) = (BinaryHeap::new(), 0);
        let task = PipeTask { socket, pairs, to, conditions, rng, counts: counts.clone(), waiting, taken };
        tasks.spawn(task.run(receiver));
        Self(sender, counts)
    }

    pub(super) fn push(&self, datagram: &[u8]) {
        if self.0.try_send(datagram.to_vec()).is_err() {
            self.1.send_modify(|counts| counts.lost += 1);
        }
    }
}

struct PipeTask {
    socket: Arc<UdpSocket>,
    /// Sends several datagrams with one GSO call, which loopback delivers as one.
    pairs: Option<UdpSocketState>,
    to: SocketAddr,
    conditions: Conditions,
    rng: Rng,
    counts: Arc<watch::Sender<Counts>>,
    /// Ordered by due time, then by arrival.
    waiting: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    taken: u64,
}

impl PipeTask {
    async fn run(mut self, mut datagrams: mpsc::Receiver<Vec<u8>>) {
        loop {
            let due = self.waiting.peek().map(|Reverse((due, ..))| *due);
            let timer = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                datagram = datagrams.recv() => match datagram {
                    Some(datagram) => self.take(datagram).await,
                    None => return,
                },
                () = timer => self.deliver_due().await,
            }
        }
    }

    async fn take(&mut self, datagram: Vec<u8>) {
        let lost = self.rng.chance(self.conditions.loss_permille);
        let late = self.rng.chance(self.conditions.reorder_permille);
        if lost || self.waiting.len() >= QUEUE_DATAGRAMS {
            self.counts.send_modify(|counts| counts.lost += 1);
            return;
        }
        let mut delay = self.conditions.delay;
        if late {
            self.counts.send_modify(|counts| counts.reordered += 1);
            delay += self.conditions.reorder_by;
        }
        if delay.is_zero() && self.waiting.is_empty() {
            return self.send(&datagram).await;
        }
        self.taken += 1;
        self.waiting.push(Reverse((Instant::now() + delay, self.taken, datagram)));
        self.deliver_due().await;
    }

    async fn deliver_due(&mut self) {
        let now = Instant::now();
        while self.waiting.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            if let Some(Reverse((.., datagram))) = self.waiting.pop() {
                self.send(&datagram).await;
            }
        }
    }

    async fn send(&self, datagram: &[u8]) {
        // A closed socket causes an ICMP error here, which a real network would not return.
        let _ = match &self.pairs {
            None => self.socket.send_to(datagram, self.to).await.map(|_| ()),
            Some(pairs) => self.send_behind(pairs, &decoy(datagram), datagram).await,
        };
        self.counts.send_modify(|counts| counts.delivered += 1);
    }

    /// Sends both datagrams, which must have the same size, with one call.
    async fn send_behind(&self, pairs: &UdpSocketState, first: &[u8], second: &[u8]) -> io::Result<()> {
        let contents = [first, second].concat();
        let (destination, segment_size) = (self.to, Some(first.len()));
        let transmit = Transmit { destination, ecn: None, contents: &contents, segment_size, src_ip: None };
        let socket = &self.socket;
        socket.async_io(Interest::WRITABLE, || pairs.try_send((&**socket).into(), &transmit)).await
    }
}

/// Returns a sender with GSO. Uses a temporary socket, because it also enables GRO on the socket that it is created with.
fn pairs() -> UdpSocketState {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind on loopback");
    UdpSocketState::new((&socket).into()).expect("a UDP socket")
}

/// Returns a short-header packet that belongs to no connection. RFC 8999 section 5 defines the position of the id.
fn decoy(packet: &[u8]) -> Vec<u8> {
    let offset = if packet.first().is_some_and(|flags| flags & 0x80 != 0) { 6 } else { 1 };
    let mut decoy = vec![0; packet.len()];
    let head = [0x40, packet.get(offset).map_or(0, |byte| byte ^ 1)];
    decoy.iter_mut().zip(head).for_each(|(to, from)| *to = from);
    decoy
}
