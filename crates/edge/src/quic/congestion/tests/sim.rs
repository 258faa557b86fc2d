//! Real QUIC endpoints on a simulated path, in virtual time: the server's applications write, the clients count.

use super::super::PathControllerFactory;
use super::link::{Link, Pipe};
use bytes::BytesMut;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, EcnCodepoint, Endpoint, EndpointConfig,
    ServerConfig, Side, StreamId, Transmit, TransportConfig, VarInt,
    congestion::{ControllerFactory, CubicConfig},
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

const SERVER: ([u8; 4], u16) = ([10, 0, 0, 1], 443);
const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 2], 4433);
const CHUNK: [u8; 16384] = [0; 16384];
/// How late timers fire. Without it the pacer, which counts whole bytes, asks for the next nanosecond again and again.
const TICK: Duration = Duration::from_micros(20);
/// Turns in which time may stand still before something is wrong.
const MAX_IDLE_TURNS: u32 = 10_000;

/// What one server application does, and under which controller.
#[derive(Clone, Copy)]
pub(super) struct Source {
    /// When the client connects.
    pub(super) start: Duration,
    /// Bytes in all.
    pub(super) total: u64,
    /// Bytes at a time, and how often; all at once if that is zero.
    pub(super) piece: u64,
    pub(super) every: Duration,
    /// Whether CUBIC controls it, as a stranger on the same link.
    pub(super) cubic: bool,
}

impl Source {
    /// One that always has more to send.
    pub(super) fn bulk(start_ms: u64) -> Self {
        Self { start: Duration::from_millis(start_ms), total: u64::MAX, piece: 0, every: Duration::ZERO, cubic: false }
    }
}

/// One client and what it has got.
pub(super) struct Flow {
    source: Source,
    client: Option<ConnectionHandle>,
    server: Option<usize>,
    stream: Option<StreamId>,
    offered: u64,
    written: u64,
    next_piece: Duration,
    pub(super) received: u64,
    pub(super) finished: Option<Duration>,
}

struct Peer {
    endpoint: Endpoint,
    conns: BTreeMap<usize, Connection>,
}

type Wire = BTreeMap<(Duration, u64), (bool, Option<EcnCodepoint>, BytesMut)>;

/// A server, its clients and the path between them.
pub(super) struct Sim {
    base: Instant,
    pub(super) now: Duration,
    sequence: u64,
    wire: Wire,
    pub(super) down: Pipe,
    up: Pipe,
    server: Peer,
    client: Peer,
    client_config: ClientConfig,
    /// Of our flows, and of CUBIC's.
    server_configs: [Arc<ServerConfig>; 2],
    pub(super) flows: Vec<Flow>,
}

impl Sim {
    /// The path is `link` towards the clients; acknowledgements meet its delay, loss and reordering but no queue.
    pub(super) fn new(link: Link, sources: &[Source], seed: u64) -> Self {
        println!("seed {seed}");
        let (client_config, server_configs) = configs();
        let mut config = EndpointConfig::default();
        let mut rng = [0; 32];
        rng[..8].copy_from_slice(&seed.to_le_bytes());
        config.rng_seed(Some(rng));
        let config = Arc::new(config);
        let peer =
            |server| Peer { endpoint: Endpoint::new(config.clone(), server, true, None), conns: BTreeMap::new() };
        let flows = sources.iter().map(|source| Flow {
            source: *source,
            client: None,
            server: None,
            stream: None,
            offered: 0,
            written: 0,
            next_piece: Duration::ZERO,
            received: 0,
            finished: None,
        });
        Self {
            base: Instant::now(),
            now: Duration::ZERO,
            sequence: 0,
            wire: Wire::new(),
            down: Pipe::new(link, seed),
            up: Pipe::new(Link { rate: 0, ..link }, seed + 1),
            server: peer(Some(server_configs[0].clone())),
            client: peer(None),
            client_config,
            server_configs,
            flows: flows.collect(),
        }
    }

    /// Runs until `end`, or until all flows have finished.
    pub(super) fn run(&mut self, end: Duration) {
        let mut idle = 0;
        loop {
            self.work();
            if self.flows.iter().all(|flow| flow.finished.is_some()) {
                return;
            }
            let Some(next) = self.next_event().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            idle = if next <= self.now { idle + 1 } else { 0 };
            assert!(idle < MAX_IDLE_TURNS, "time stands still at {:?}", self.now);
            self.now = self.now.max(next);
            self.deliver();
            let at = self.base + self.now;
            for conn in self.server.conns.values_mut().chain(self.client.conns.values_mut()) {
                if conn.poll_timeout().is_some_and(|due| due <= at) {
                    conn.handle_timeout(at);
                }
            }
        }
    }

    fn next_event(&mut self) -> Option<Duration> {
        let (base, now) = (self.base, self.now);
        let wire = self.wire.keys().next().map(|(due, _)| *due);
        let conns = self.server.conns.values_mut().chain(self.client.conns.values_mut());
        let timer =
            conns.filter_map(Connection::poll_timeout).min().map(|at| at.saturating_duration_since(base) + TICK);
        let sources = self.flows.iter().filter_map(|flow| match flow.client {
            None => Some(flow.source.start),
            Some(_) => (!flow.source.every.is_zero() && flow.next_piece > now).then_some(flow.next_piece),
        });
        wire.into_iter().chain(timer).chain(sources.min()).min()
    }

    fn deliver(&mut self) {
        let at = self.base + self.now;
        while let Some(entry) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (to_server, ecn, data) = entry.remove();
            let (peer, from) = if to_server { (&mut self.server, CLIENT) } else { (&mut self.client, SERVER) };
            let mut reply = Vec::new();
            match peer.endpoint.handle(at, from.into(), None, ecn, data, &mut reply) {
                Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                    if let Some(conn) = peer.conns.get_mut(&handle.0) {
                        conn.handle_event(event);
                    }
                }
                Some(DatagramEvent::NewConnection(incoming)) => {
                    // Clients connect in the order of the flows, and far enough apart to arrive in it.
                    let flow = self.flows.iter_mut().find(|flow| flow.server.is_none()).unwrap();
                    let config = self.server_configs[usize::from(flow.source.cubic)].clone();
                    let (handle, conn) = peer.endpoint.accept(incoming, at, &mut reply, Some(config)).unwrap();
                    flow.server = Some(handle.0);
                    peer.conns.insert(handle.0, conn);
                }
                Some(DatagramEvent::Response(_)) | None => {}
            }
        }
    }

    fn work(&mut self) {
        let at = self.base + self.now;
        for flow in self.flows.iter_mut().filter(|flow| flow.client.is_none() && flow.source.start <= self.now) {
            let (config, server) = (self.client_config.clone(), SocketAddr::from(SERVER));
            let (handle, conn) = self.client.endpoint.connect(at, config, server, "sim").unwrap();
            self.client.conns.insert(handle.0, conn);
            flow.client = Some(handle);
        }
        self.write();
        self.read();
        for to_server in [false, true] {
            let peer = if to_server { &mut self.client } else { &mut self.server };
            let mut sent = Vec::new();
            for (index, conn) in &mut peer.conns {
                while conn.poll().is_some() {}
                let mut buffer = Vec::new();
                while let Some(transmit) = conn.poll_transmit(at, 64, &mut buffer) {
                    sent.push((transmit, std::mem::take(&mut buffer)));
                }
                while let Some(event) = conn.poll_endpoint_events() {
                    if let Some(event) = peer.endpoint.handle_event(ConnectionHandle(*index), event) {
                        conn.handle_event(event);
                    }
                }
            }
            for (transmit, data) in sent {
                self.send(to_server, &transmit, &data);
            }
        }
    }

    fn send(&mut self, to_server: bool, transmit: &Transmit, data: &[u8]) {
        let pipe = if to_server { &mut self.up } else { &mut self.down };
        for datagram in data[..transmit.size].chunks(transmit.segment_size.unwrap_or(transmit.size)) {
            let mut ecn = transmit.ecn;
            if let Some(due) = pipe.carry(self.now, datagram.len(), &mut ecn) {
                self.sequence += 1;
                self.wire.insert((due, self.sequence), (to_server, ecn, datagram.into()));
            }
        }
    }

    fn write(&mut self) {
        for flow in &mut self.flows {
            let Some(conn) = flow.server.and_then(|index| self.server.conns.get_mut(&index)) else { continue };
            if conn.is_handshaking() {
                continue;
            }
            if flow.stream.is_none() {
                flow.stream = conn.streams().open(Dir::Uni);
                flow.next_piece = self.now;
            }
            let Some(stream) = flow.stream else { continue };
            if flow.source.every.is_zero() {
                flow.offered = flow.source.total;
            }
            while !flow.source.every.is_zero() && flow.next_piece <= self.now {
                flow.offered = (flow.offered + flow.source.piece).min(flow.source.total);
                flow.next_piece += flow.source.every;
            }
            let open = flow.written < flow.source.total;
            while flow.written < flow.offered {
                let length = (flow.offered - flow.written).min(CHUNK.len() as u64) as usize;
                let Ok(length) = conn.send_stream(stream).write(&CHUNK[..length]) else { break };
                flow.written += length as u64;
            }
            if open && flow.written == flow.source.total {
                conn.send_stream(stream).finish().unwrap();
            }
        }
    }

    fn read(&mut self) {
        for flow in &mut self.flows {
            let Some(conn) = flow.client.and_then(|handle| self.client.conns.get_mut(&handle.0)) else { continue };
            while conn.streams().accept(Dir::Uni).is_some() {}
            let mut stream = conn.recv_stream(StreamId::new(Side::Server, Dir::Uni, 0));
            let Ok(mut chunks) = stream.read(true) else { continue };
            while let Ok(chunk) = chunks.next(usize::MAX) {
                let Some(chunk) = chunk else {
                    flow.finished.get_or_insert(self.now);
                    break;
                };
                flow.received += chunk.bytes.len() as u64;
            }
            let _ = chunks.finalize();
        }
    }

    /// The server's side of the flows that have connected.
    pub(super) fn servers(&self) -> impl Iterator<Item = &Connection> {
        self.flows.iter().filter_map(|flow| self.server.conns.get(&flow.server?))
    }
}

fn configs() -> (ClientConfig, [Arc<ServerConfig>; 2]) {
    // Ed25519, since its signatures are always of the same length: runs with the same seed are alike.
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let cert: CertificateDer<'static> =
        rcgen::CertificateParams::new(vec!["sim".into()]).unwrap().self_signed(&key).unwrap().into();
    let ours: Arc<dyn ControllerFactory + Send + Sync> = Arc::new(PathControllerFactory::default());
    let servers = [ours, Arc::new(CubicConfig::default())].map(|factory| {
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let mut config = ServerConfig::with_single_cert(vec![cert.clone()], key.into()).unwrap();
        let mut transport = TransportConfig::default();
        transport.send_window(64 << 20).initial_mtu(1350).congestion_controller_factory(factory);
        config.transport_config(Arc::new(transport));
        Arc::new(config)
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert).unwrap();
    let mut client = ClientConfig::with_root_certificates(Arc::new(roots)).unwrap();
    let mut transport = TransportConfig::default();
    let window = VarInt::from_u32(256 << 20);
    transport.stream_receive_window(window).receive_window(window).mtu_discovery_config(None);
    client.transport_config(Arc::new(transport));
    (client, servers)
}
