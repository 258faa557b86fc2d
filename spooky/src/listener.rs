//! One worker's listeners: the UDP and TCP sockets of each, their client connections, and the transfer of datagrams.
//!
//! Each listener has a number that never changes and is the same in all workers; [`Listeners`] is the table by this number.
//! A removed listener drains before its socket is closed.

use crate::{
    client_side::ClientSide,
    clock::Clock,
    redirect,
    shared_socket::{SharedSocket, SocketReaders},
    tcp_ingress::{TcpConnections, TcpIngress},
    upgrade::{handover::Handover, message::SocketRole, previous::PreviousProcesses},
};
use bytes::BytesMut;
use spooky_bridge::message::rewrite::ClientSubject;
use spooky_edge::{Edge, EdgeSettings, Event};
use spooky_net::{
    inbox::Inboxes,
    steer::{ProcessNumber, SteeringRule},
    udp::{AsyncUdp, Datagram, RecvBatch, SendBatch, SendStats, Transmit, UdpOptions, UdpSocket},
};
use spooky_telemetry::ConnectionRecord;
use spooky_telemetry::metrics::IngressSeries;
use std::{
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Maximum number of receive calls per listener and turn; each returns up to 32 messages.
const RECEIVES_PER_TURN: usize = 4;
/// Time limit for receiving per listener and turn, so that a flood of packets does not delay other work.
const RECEIVE_TIME_PER_TURN: Duration = Duration::from_micros(500);
/// Maximum number of send calls per listener and turn.
const SENDS_PER_TURN: usize = 64;

/// A listener's socket and settings for one worker. Survives the worker, so that a replacement can use the socket.
#[derive(Clone)]
pub(crate) struct Ingress {
    pub(crate) number: usize,
    pub(crate) socket: Arc<OwnedFd>,
    /// Set if several workers share the sockets.
    pub(crate) readers: Option<Arc<SocketReaders>>,
    pub(crate) settings: EdgeSettings,
    pub(crate) port: u16,
    pub(crate) steering: SteeringRule,
    /// `tls.client_auth.subject_header`, in lower case.
    pub(crate) subject_header: Option<Arc<str>>,
    /// The value of `alt-svc`, unless it is disabled.
    pub(crate) alt_svc: Option<Arc<[u8]>>,
    /// The TCP socket on the same address; `None` if TCP is disabled or its port cannot be bound.
    pub(crate) tcp: Option<TcpIngress>,
    /// The cleartext socket of `http_redirect`.
    pub(crate) redirect: Option<TcpIngress>,
    /// The port that clients use for HTTPS, for the redirect.
    pub(crate) https_port: u16,
}

/// A listener of one worker.
pub(crate) struct Listener {
    pub(crate) socket: AsyncUdp,
    pub(crate) edge: Edge,
    pub(crate) tcp: TcpConnections,
    redirect: TcpConnections,
    https_port: u16,
    pub(crate) port: u16,
    steering: SteeringRule,
    process: ProcessNumber,
    receiving: Receiving,
    /// `tls.client_auth.subject_header`, in lower case.
    pub(crate) subject_header: Option<Arc<str>>,
    pub(crate) alt_svc: Option<Arc<[u8]>>,
    receive: RecvBatch,
    send: SendBatch,
    counts: Arc<IngressSeries>,
    /// What the socket has sent, as counted.
    sent: SendStats,
    removal: Option<Removal>,
    /// Set if other workers share the socket. Dropped after it, so that the next reader finds a free descriptor.
    shared: Option<SharedSocket>,
    /// Keeps the socket open: the control plane watches this `Arc` to see when the port is free.
    _bound: Arc<OwnedFd>,
}

/// Who reads the UDP socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiving {
    /// Only this process.
    Yes,
    /// The process that has replaced this one.
    No,
    /// This process, because the one that had replaced it has ended. Other processes may read it too.
    Again,
}

/// Progress of a listener that was removed from the configuration.
#[derive(Clone, Copy)]
enum Removal {
    /// Open requests finish.
    Draining { until: Instant },
    /// The next turn sends `CONNECTION_CLOSE` and removes the listener.
    Closing,
}

impl Listener {
    /// Creates a listener on a bound socket. Must be called within the worker's runtime.
    pub(crate) fn new(ingress: &Ingress, options: &UdpOptions) -> io::Result<Self> {
        let socket = UdpSocket::adopt(ingress.socket.try_clone()?, options)?;
        let mut socket = AsyncUdp::new(socket)?;
        if ingress.readers.is_some() {
            socket.stop_receiving()?;
        }
        let mut listener = Self {
            socket,
            edge: Edge::new(&ingress.settings).map_err(io::Error::other)?,
            tcp: TcpConnections::default(),
            redirect: TcpConnections::default(),
            https_port: ingress.https_port,
            port: ingress.port,
            steering: ingress.steering.clone(),
            process: ingress.settings.process,
            receiving: Receiving::Yes,
            subject_header: ingress.subject_header.clone(),
            alt_svc: ingress.alt_svc.clone(),
            receive: RecvBatch::new(),
            send: SendBatch::new(),
            counts: ingress.settings.counts.worker.clone(),
            sent: SendStats::default(),
            removal: None,
            shared: ingress.readers.clone().map(|readers| SharedSocket::new(readers, ingress.settings.worker)),
            _bound: ingress.socket.clone(),
        };
        listener.configure_tcp(ingress, Instant::now())?;
        Ok(listener)
    }

    fn configure(&mut self, ingress: &Ingress, now: Instant) -> io::Result<()> {
        self.edge.configure(&ingress.settings).map_err(io::Error::other)?;
        self.subject_header.clone_from(&ingress.subject_header);
        self.alt_svc.clone_from(&ingress.alt_svc);
        self.https_port = ingress.https_port;
        self.configure_tcp(ingress, now)
    }

    fn configure_tcp(&mut self, ingress: &Ingress, now: Instant) -> io::Result<()> {
        self.tcp.configure(ingress.tcp.as_ref(), now)?;
        self.redirect.configure(ingress.redirect.as_ref(), now)
    }

    /// Returns the number of open connections, QUIC and TCP.
    pub(crate) fn connections(&self) -> usize {
        self.edge.connections() + self.tcp.connections() + self.redirect.connections()
    }

    /// Returns the next event of a client, and the stream that it concerns, for listener `at`.
    pub(crate) fn next_event(&mut self, at: usize) -> Option<(ClientSide, Event)> {
        if let Some(event) = self.edge.next_event() {
            return Some((ClientSide::Quic { listener: at, stream: event.stream }, event));
        }
        let event = self.tcp.edge.as_mut()?.next_event()?;
        Some((ClientSide::Tcp { listener: at, stream: event.stream }, event))
    }

    /// Reports the connections that have ended, if `is_wanted`.
    pub(crate) fn report_ended(&mut self, is_wanted: bool, report: &mut impl FnMut(&ConnectionRecord)) {
        self.edge.take_ended(is_wanted).for_each(|record| report(&record));
        for tcp in [&mut self.tcp, &mut self.redirect] {
            if let Some(edge) = &mut tcp.edge {
                edge.take_ended(is_wanted).for_each(|record| report(&record));
            }
        }
    }

    /// Answers the requests for the redirect.
    pub(crate) fn serve_redirect(&mut self, clock: &Clock) {
        if let Some(edge) = &mut self.redirect.edge {
            redirect::serve(edge, self.https_port, clock);
        }
    }

    /// Leaves the sockets that the new process serves to it.
    pub(crate) fn hand_over(&mut self, number: usize, handover: &Handover) {
        if handover.takes(number, SocketRole::Udp) {
            self.receiving = Receiving::No;
            if let Err(error) = self.socket.stop_receiving() {
                tracing::warn!("Port {}: each datagram for the new process wakes this one: {error}", self.port);
            }
        }
        if handover.takes(number, SocketRole::Tcp) {
            self.tcp.hand_over();
        }
        if handover.takes(number, SocketRole::Redirect) {
            self.redirect.hand_over();
        }
    }

    /// Receives again what was left to the new process.
    pub(crate) fn resume_receiving(&mut self) {
        let waits = self.shared.as_ref().is_some_and(|shared| !shared.is_reader());
        if self.receiving == Receiving::No && (waits || self.socket.resume_receiving().is_ok()) {
            self.receiving = Receiving::Again;
        }
    }

    /// Returns whether this worker reads the socket. If another worker reads it, the task is woken when that one has ended.
    fn reads(&mut self, cx: &Context<'_>) -> bool {
        let Some(shared) = self.shared.as_mut().filter(|shared| !shared.is_reader()) else { return true };
        if !shared.claim(cx) {
            return false;
        }
        if self.socket.resume_receiving().is_err() {
            shared.put_back(); // no file descriptor is left
            cx.waker().wake_by_ref();
            return false;
        }
        true
    }

    /// Passes a datagram to its connection, for listener `at`.
    pub(crate) fn deliver(
        &mut self,
        now: Instant,
        at: usize,
        datagram: Datagram,
        previous: Option<&mut PreviousProcesses>,
    ) {
        deliver(&mut self.edge, now, at, datagram, previous);
    }

    /// Starts the drain of all connections.
    pub(crate) fn drain(&mut self, now: Instant) {
        self.edge.drain(now);
        self.tcp.drain(now);
        self.redirect.drain(now);
    }

    /// Closes all connections.
    pub(crate) fn close(&mut self, now: Instant) {
        self.edge.close(now);
        self.tcp.close(now);
        self.redirect.close(now);
    }

    /// Returns when the listener must be polled next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.edge.deadline(), self.tcp.deadline(), self.redirect.deadline()].into_iter().flatten().min()
    }

    /// Returns the header field with the subject of the client's certificate; `None` if the listener does not send it.
    pub(crate) fn subject(&self, client: ClientSide) -> Option<ClientSubject<'_>> {
        let header = self.subject_header.as_deref()?.as_bytes();
        let subject = match client {
            ClientSide::Quic { stream, .. } => self.edge.client_subject(stream),
            ClientSide::Tcp { stream, .. } => self.tcp.edge.as_ref()?.client_subject(stream),
        };
        Some(ClientSubject { header, value: subject.map(str::as_bytes) })
    }

    /// Receives from both sockets, for listener `at`, and handles time limits. Returns true if there may be more.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        at: usize,
        inboxes: &Inboxes,
        previous: Option<&mut PreviousProcesses>,
    ) -> bool {
        let mut has_more =
            self.receiving != Receiving::No && self.reads(cx) && self.receive(cx, now, at, inboxes, previous);
        has_more |= self.tcp.poll(cx, now);
        has_more |= self.redirect.poll(cx, now);
        self.edge.on_time(now);
        has_more
    }

    /// Sends what waits for the clients. Returns true if the listener must be polled again at once.
    pub(crate) fn send(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut has_more = self.tcp.flush(now);
        has_more |= self.redirect.flush(now);
        has_more |= self.transmit(cx, now);
        has_more | self.edge.has_work()
    }

    /// Receives datagrams for listener `at`. Forwards those of other workers to their inboxes, and passes those of earlier
    /// processes on. Returns true if there may be more.
    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        at: usize,
        inboxes: &Inboxes,
        mut previous: Option<&mut PreviousProcesses>,
    ) -> bool {
        for _ in 0..RECEIVES_PER_TURN {
            match self.socket.poll_recv(cx, &mut self.receive) {
                Poll::Pending => return false,
                Poll::Ready(Err(_)) => return true, // an ICMP error of one peer
                Poll::Ready(Ok(_)) => {}
            }
            let is_partial = self.receive.is_partial();
            let others_read = self.receiving == Receiving::Again;
            let mut dispatcher = Dispatcher {
                edge: &mut self.edge,
                steering: &self.steering,
                only: others_read.then_some(self.process),
                inboxes,
                counts: &self.counts,
                previous: previous.as_deref_mut(),
                at,
                now,
            };
            let (mut datagrams, mut bytes) = (0, 0);
            for mut datagram in self.receive.drain() {
                bytes += datagram.data.len() as u64;
                if datagram.data.is_empty() {
                    datagrams += 1;
                    dispatcher.deliver(Datagram { data: BytesMut::new(), ..datagram }); // is counted
                }
                while let Some(data) = datagram.split_segment() {
                    datagrams += 1;
                    dispatcher.dispatch(Datagram { stride: data.len(), data, ..datagram });
                }
            }
            let [received, received_bytes] = &self.counts.received;
            received.add(datagrams);
            received_bytes.add(bytes);
            if is_partial {
                // Registers the task for the next datagram.
                return !matches!(self.socket.poll_recv(cx, &mut self.receive), Poll::Pending);
            }
            if now.elapsed() > RECEIVE_TIME_PER_TURN {
                return true;
            }
        }
        true
    }

    /// Sends the datagrams of the connections. Returns true if the limit of the turn was reached.
    fn transmit(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let has_more = self.send_batches(cx, now);
        self.count_sent();
        if let Some(peer) = self.socket.take_gso_refusal() {
            tracing::warn!("The kernel refuses GSO to {peer}: its datagrams are sent one by one");
        }
        has_more
    }

    fn count_sent(&mut self) {
        let stats = self.socket.socket().stats();
        if stats.calls != self.sent.calls {
            let [datagrams, bytes] = &self.counts.sent;
            datagrams.add(stats.datagrams.saturating_sub(self.sent.datagrams));
            bytes.add(stats.bytes.saturating_sub(self.sent.bytes));
            self.counts.gso_fallbacks.add(stats.gso_fallbacks.saturating_sub(self.sent.gso_fallbacks));
            self.sent = stats;
        }
    }

    /// Logs what this listener has sent, at the end of its worker.
    pub(crate) fn log_sent(&self, worker: usize) {
        let SendStats { datagrams, bytes, calls, gso_fallbacks, too_big, dropped } = self.socket.socket().stats();
        let Ok(address) = self.socket.socket().local_addr() else { return };
        tracing::debug!(
            "worker-{worker}: UDP {address} sent datagrams={datagrams} bytes={bytes} calls={calls} \
             gso_fallbacks={gso_fallbacks} too_big={too_big} dropped={dropped}"
        );
    }

    fn send_batches(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        for _ in 0..SENDS_PER_TURN {
            if self.send.is_blocked() || self.send.is_full() {
                if self.socket.poll_send(cx, &mut self.send).is_pending() {
                    return false;
                }
                continue;
            }
            if !self.fill(now) {
                // A full socket wakes the task when it is writable; an error concerns one peer.
                let _ = self.socket.poll_send(cx, &mut self.send);
                return false;
            }
        }
        true
    }

    /// Frees buffers that are not in use.
    pub(crate) fn free_unused(&mut self) {
        self.send.free_unused();
    }

    /// Fills the batch. Returns false when no connection has anything left to send.
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

/// Decides where the datagrams of a batch belong.
struct Dispatcher<'a> {
    edge: &'a mut Edge,
    steering: &'a SteeringRule,
    /// Set if several processes read the socket: the process whose datagrams are taken. Others must not be answered.
    only: Option<ProcessNumber>,
    inboxes: &'a Inboxes,
    counts: &'a IngressSeries,
    previous: Option<&'a mut PreviousProcesses>,
    at: usize,
    now: Instant,
}

impl Dispatcher<'_> {
    fn dispatch(&mut self, packet: Datagram) {
        if self.previous.as_mut().is_some_and(|previous| previous.forward(self.at, &packet, self.now)) {
            return;
        }
        if self.only.is_some_and(|only| ProcessNumber::of_packet(&packet.data) != Some(only)) {
            return;
        }
        match self.steering.other_owner(&packet.data).and_then(|worker| self.inboxes.get(worker)) {
            None => self.deliver(packet),
            Some(inbox) => {
                self.counts.forwarded.increment();
                if !inbox.push(self.at, &packet) {
                    self.counts.count_inbox_drop(packet.data.len());
                }
            }
        }
    }

    fn deliver(&mut self, datagram: Datagram) {
        deliver(self.edge, self.now, self.at, datagram, self.previous.as_deref_mut());
    }
}

/// Passes a datagram to its connection, for listener `at`.
fn deliver(edge: &mut Edge, now: Instant, at: usize, datagram: Datagram, previous: Option<&mut PreviousProcesses>) {
    let Datagram { remote, local_ip, ecn, data, stride } = datagram;
    // An Initial packet of a connection of an earlier process cannot be decrypted here.
    let copy = previous.filter(|previous| previous.may_own_initial(&data)).map(|previous| (previous, data.clone()));
    let is_taken = edge.on_datagram(now, remote, local_ip, ecn.unwrap_or_default(), data);
    if let Some((previous, data)) = copy.filter(|_| !is_taken) {
        previous.forward_initial(at, &Datagram { remote, local_ip, ecn, stride, data }, now);
    }
}

/// The listeners of a worker by number. Boxed, so that the entry of a removed listener costs only a pointer.
#[derive(Default)]
pub(crate) struct Listeners(Vec<Option<Box<Listener>>>);

impl Listeners {
    /// Creates listeners on these sockets. Must be called within the worker's runtime.
    pub(crate) fn open(ingress: &[Ingress], options: &UdpOptions) -> io::Result<Self> {
        let mut listeners = Self::default();
        for ingress in ingress {
            listeners.insert(ingress.number, Listener::new(ingress, options)?);
        }
        Ok(listeners)
    }

    /// Returns the largest number plus one.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Listener> {
        self.0.get(number)?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, number: usize) -> Option<&mut Listener> {
        self.0.get_mut(number)?.as_deref_mut()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Listener)> {
        self.0.iter_mut().enumerate().filter_map(|(number, listener)| Some((number, listener.as_deref_mut()?)))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.0.iter().flatten().map(|listener| &**listener)
    }

    fn insert(&mut self, number: usize, listener: Listener) {
        if self.0.len() <= number {
            self.0.resize_with(number + 1, || None);
        }
        if let Some(slot) = self.0.get_mut(number) {
            *slot = Some(Box::new(listener));
        }
    }

    /// Applies a new configuration: opens new listeners, configures existing ones, drains removed ones for at most `grace`.
    ///
    /// Logs a listener that cannot be opened or configured, and continues with the others.
    pub(crate) fn reload(&mut self, ingress: &[Ingress], options: &UdpOptions, now: Instant, grace: Duration) {
        for new in ingress {
            let done = match self.get_mut(new.number) {
                Some(listener) => listener.configure(new, now).map_err(|error| error.to_string()),
                None => Listener::new(new, options)
                    .map(|listener| self.insert(new.number, listener))
                    .map_err(|error| error.to_string()),
            };
            if let Err(error) = done {
                tracing::error!("Port {}: listener keeps its previous settings: {error}", new.port);
            }
        }
        for (number, listener) in self.iter_mut() {
            if listener.removal.is_none() && !ingress.iter().any(|kept| kept.number == number) {
                listener.drain(now);
                listener.removal = Some(Removal::Draining { until: now + grace });
            }
        }
    }

    /// Closes removed listeners that have no connections left or whose grace period is over.
    pub(crate) fn remove_drained(&mut self, now: Instant) {
        for slot in &mut self.0 {
            let Some(listener) = slot else { continue };
            match listener.removal {
                Some(Removal::Draining { until }) if now >= until || listener.connections() == 0 => {
                    // The next turn sends `CONNECTION_CLOSE` and passes the ends of streams to the exchanges.
                    listener.close(now);
                    listener.removal = Some(Removal::Closing);
                }
                Some(Removal::Closing) => *slot = None,
                Some(Removal::Draining { .. }) | None => {}
            }
        }
    }

    /// Returns when [`Listeners::remove_drained`] must be called next.
    pub(crate) fn removal_due(&self, now: Instant) -> Option<Instant> {
        let due = self.iter().filter_map(|listener| match listener.removal? {
            Removal::Draining { until } => Some(until),
            Removal::Closing => Some(now),
        });
        due.min()
    }
}
