//! One direction of the relay for one client: datagrams wait here until they are due.
//!
//! Owns the queue ordered by due time, and the chances of this direction. Called by the relay only.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{Conditions, Counts};
use crate::rng::Rng;

/// Datagrams that may wait in one direction; more are lost, as in a real queue.
const QUEUE_DATAGRAMS: usize = 4096;

/// The way in.
#[derive(Debug)]
pub(super) struct Pipe(mpsc::Sender<Vec<u8>>, Arc<watch::Sender<Counts>>);

impl Pipe {
    /// Sends from `socket` to `to`. `number` sets this direction's sequence of chances apart from the others'.
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
        let outlet =
            Outlet { socket, to, conditions, rng, counts: counts.clone(), waiting: BinaryHeap::new(), taken: 0 };
        tasks.spawn(outlet.run(receiver));
        Self(sender, counts)
    }

    pub(super) fn push(&self, datagram: &[u8]) {
        if self.0.try_send(datagram.to_vec()).is_err() {
            self.1.send_modify(|counts| counts.lost += 1);
        }
    }
}

struct Outlet {
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    conditions: Conditions,
    rng: Rng,
    counts: Arc<watch::Sender<Counts>>,
    /// Ordered by due time, then by arrival.
    waiting: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>>,
    taken: u64,
}

impl Outlet {
    async fn run(mut self, mut inlet: mpsc::Receiver<Vec<u8>>) {
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
                datagram = inlet.recv() => match datagram {
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
        // A peer that is gone answers with ICMP, which surfaces here as an error: on a network that is just silence.
        let _ = self.socket.send_to(datagram, self.to).await;
        self.counts.send_modify(|counts| counts.delivered += 1);
    }
}
