//! A listener as one worker has it: its socket, its connections, and the passes that move datagrams between them.

use spooky_bridge::message::rewrite::Subject;
use spooky_edge::{Edge, EdgeSettings, StreamRef};
use spooky_net::{
    inbox::Inboxes,
    steer::Sorter,
    udp::{AsyncUdp, Datagram, RecvBatch, SendBatch, Transmit, UdpOptions, UdpSocket},
};
use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

/// Receive calls of one listener in one turn; each takes up to 32 messages.
const RECEIVES_PER_TURN: usize = 4;
/// Send calls of one listener in one turn.
const SENDS_PER_TURN: usize = 64;

/// A listener's socket and settings for one worker. Outlives the worker that reads from the socket, so that its successor
/// can.
pub(crate) struct Ingress {
    pub(crate) socket: OwnedFd,
    pub(crate) settings: EdgeSettings,
    pub(crate) port: u16,
    pub(crate) sorter: Sorter,
    /// `tls.client_auth.subject_header`, in lower case.
    pub(crate) subject_header: Option<Arc<str>>,
}

/// A listener as one worker has it.
pub(crate) struct Listener {
    pub(crate) socket: AsyncUdp,
    pub(crate) edge: Edge,
    pub(crate) port: u16,
    sorter: Sorter,
    /// `tls.client_auth.subject_header`, in lower case.
    pub(crate) subject_header: Option<Arc<str>>,
    receive: RecvBatch,
    send: SendBatch,
}

impl Listener {
    /// Reads from a socket that is bound already. Called on the worker's runtime.
    pub(crate) fn new(ingress: &Ingress, options: &UdpOptions) -> io::Result<Self> {
        let socket = UdpSocket::adopt(ingress.socket.try_clone()?, options)?;
        Ok(Self {
            socket: AsyncUdp::new(socket)?,
            edge: Edge::new(&ingress.settings).map_err(io::Error::other)?,
            port: ingress.port,
            sorter: ingress.sorter.clone(),
            subject_header: ingress.subject_header.clone(),
            receive: RecvBatch::new(),
            send: SendBatch::new(),
        })
    }

    /// What backends are told of the certificate of a stream's client; `None` where the listener does not tell.
    pub(crate) fn subject(&self, stream: StreamRef) -> Option<Subject<'_>> {
        let header = self.subject_header.as_deref()?.as_bytes();
        Some(Subject { header, value: self.edge.client_subject(stream).map(str::as_bytes) })
    }

    /// Takes what has arrived, and passes on what belongs to others as of listener `at`. True if there may be more.
    pub(crate) fn receive(&mut self, cx: &mut Context<'_>, now: Instant, at: usize, inboxes: &Inboxes) -> bool {
        for _ in 0..RECEIVES_PER_TURN {
            match self.socket.poll_recv(cx, &mut self.receive) {
                Poll::Pending => return false,
                Poll::Ready(Err(_)) => return true, // an error of one peer, reported by the kernel; reading goes on
                Poll::Ready(Ok(_)) => {}
            }
            let is_partial = self.receive.is_partial();
            for mut datagram in self.receive.drain() {
                let Datagram { remote, local_ip, ecn, .. } = datagram;
                while let Some(packet) = datagram.split_segment() {
                    match self.sorter.elsewhere(&packet).and_then(|worker| inboxes.of(worker)) {
                        None => self.edge.on_datagram(now, remote, local_ip, ecn.unwrap_or_default(), packet),
                        Some(inbox) => inbox.put(at, &Datagram { stride: packet.len(), data: packet, ..datagram }),
                    }
                }
            }
            if is_partial {
                // Asks to be woken for the next datagram.
                return !matches!(self.socket.poll_recv(cx, &mut self.receive), Poll::Pending);
            }
        }
        true
    }

    /// Sends what the connections have to send. True if there is more than one turn may send.
    pub(crate) fn transmit(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for _ in 0..SENDS_PER_TURN {
            if self.send.is_blocked() || self.send.is_full() {
                if self.socket.poll_send(cx, &mut self.send).is_pending() {
                    return false;
                }
                continue;
            }
            if !self.fill(now) {
                // A socket without room wakes us when it has some; an error concerns one peer.
                let _ = self.socket.poll_send(cx, &mut self.send);
                return false;
            }
        }
        true
    }

    /// Fills the batch. False when no connection has anything left to send.
    fn fill(&mut self, now: Instant) -> bool {
        let socket = self.socket.socket();
        while let Some(buffer) = self.send.buffer() {
            let segments = |to: SocketAddr, size: usize| socket.max_gso_segments(to.ip(), size);
            let Some(transmit) = self.edge.transmit(now, segments, buffer) else { return false };
            self.send.commit(&Transmit {
                destination: transmit.destination,
                src_ip: transmit.src_ip,
                ecn: transmit.ecn.map(|ecn| ecn as u8),
                segment_size: transmit.segment_size,
            });
        }
        true
    }
}
