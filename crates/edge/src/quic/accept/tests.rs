//! Handshakes without a socket: how long tokens and handshakes live, with the time as an argument.

use super::*;
use crate::quic::cid::FirstCid;
use crate::quic::congestion::LastLog;
use crate::{ConnectionLimiter, EdgeSettings, QuicKeys};
use bytes::BytesMut;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, DatagramEvent, Endpoint, EndpointConfig, Event, TimeSource,
    TransportErrorCode, crypto::rustls::QuicClientConfig,
};
use rustls::{RootCertStore, crypto::aws_lc_rs::default_provider, pki_types::PrivateKeyDer, sign::CertifiedKey};
use spooky_bridge::message::{
    Protocol,
    check::{HeadLimits, RequestRules},
};
use spooky_net::tls::{CertificateStore, server};
use std::{
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

const HANDSHAKE: Duration = Duration::from_secs(10);
/// When the token was given.
const GIVEN: SystemTime = SystemTime::UNIX_EPOCH;

/// Admits everybody without a slot, and counts handshakes by the clones of a counter. The number of slots follows.
struct Counting(Arc<()>, AtomicUsize);

impl ConnectionLimiter for Counting {
    fn open(&self, _: IpAddr, _: bool, _: Instant) -> ConnectionDecision {
        ConnectionDecision::Accept { handshake: Box::new(self.0.clone()), connection: None }
    }

    fn establish(&self, _: IpAddr) -> Option<LimiterSlot> {
        self.1
            .fetch_update(Relaxed, Relaxed, |slots| slots.checked_sub(1))
            .ok()
            .map(|_| Box::new(self.0.clone()) as LimiterSlot)
    }
}

struct Clock(Mutex<SystemTime>);

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

/// Settings without a slot for a connection.
fn settings(handshakes: &Arc<()>) -> EdgeSettings {
    settings_with_slots(handshakes, 0).0
}

/// Settings with this many slots, and the certificate that clients have to trust.
fn settings_with_slots(handshakes: &Arc<()>, slots: usize) -> (EdgeSettings, RootCertStore) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let mut roots = RootCertStore::empty();
    roots.add(certificate.der().clone()).unwrap();
    let certified = CertifiedKey::from_der(vec![certificate.der().clone()], key, &default_provider()).unwrap();
    let certificates = Arc::new(CertificateStore::new(Some(certified), Vec::new()).unwrap());
    let resumption = server::Resumption::new().unwrap();
    let settings = EdgeSettings {
        tls: server::contexts(&certificates, &server::ServerOptions::default(), &resumption).unwrap().quic,
        certificates,
        worker: 0,
        workers: 1,
        idle_timeout: 6 * HANDSHAKE,
        max_data: 1 << 20,
        max_stream_data: 1 << 20,
        max_streams_bidi: 100,
        max_streams_uni: 100,
        max_udp_payload: 1452,
        active_migration: true,
        responses: Arc::new(crate::ResponseBudget::new(1 << 20)),
        stream_buffer: 1 << 16,
        stall_timeout: Duration::from_secs(30),
        head_limits: HeadLimits { max_fields: 100, max_bytes: 1 << 14 },
        rules: RequestRules::new(Protocol::Http3),
        header_timeout: HANDSHAKE,
        handshake_timeout: HANDSHAKE,
        limiter: Arc::new(Counting(handshakes.clone(), AtomicUsize::new(slots))),
        keys: QuicKeys::derive(&[7; 32]).unwrap(),
    };
    (settings, roots)
}

/// A client that has begun to connect to the address.
fn connecting(to: SocketAddr, now: Instant) -> (Endpoint, Connection) {
    let (endpoint, _, connection) = connecting_with(RootCertStore::empty(), to, now);
    (endpoint, connection)
}

/// The same, of a client that trusts these certificates.
fn connecting_with(roots: RootCertStore, to: SocketAddr, now: Instant) -> (Endpoint, ConnectionHandle, Connection) {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let tls = tls.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
    let (handle, connection) = endpoint.connect(now, config, to, "localhost").unwrap();
    (endpoint, handle, connection)
}

fn datagram(connection: &mut Connection, now: Instant) -> BytesMut {
    let mut bytes = Vec::new();
    let transmit = connection.poll_transmit(now, 1, &mut bytes).unwrap();
    BytesMut::from(&bytes[..transmit.size])
}

#[test]
fn a_retry_token_proves_one_address_for_thirty_seconds() {
    let (now, handshakes) = (Instant::now(), Arc::new(()));
    let addresses = ["192.0.2.1:443", "192.0.2.2:5000", "192.0.2.2:5001"].map(|text| text.parse().unwrap());
    let [server_address, client_address, other_port] = addresses;
    let settings = settings(&handshakes);
    let clock = Arc::new(Clock(Mutex::new(GIVEN)));
    let mut config = settings.server_config(&LastLog::default()).unwrap();
    config.time_source(clock.clone());
    let endpoint_config = Arc::new(settings.endpoint_config(&FirstCid::default()));
    let mut server = Endpoint::new(endpoint_config, Some(Arc::new(config)), true, None);
    let (mut endpoint, mut connection) = connecting(server_address, now);

    let (first, mut retry) = (datagram(&mut connection, now), Vec::new());
    let Some(DatagramEvent::NewConnection(incoming)) =
        server.handle(now, client_address, None, None, first, &mut retry)
    else {
        panic!("a first packet")
    };
    assert!(!incoming.remote_address_validated());
    let _transmit = server.retry(incoming, &mut retry).unwrap();
    let answer = endpoint.handle(now, server_address, None, None, BytesMut::from(&*retry), &mut Vec::new());
    let Some(DatagramEvent::ConnectionEvent(_, event)) = answer else { panic!("a packet of the connection") };
    connection.handle_event(event);

    let second = datagram(&mut connection, now);
    let mut is_valid = |from, after| {
        *clock.0.lock().unwrap() = GIVEN + Duration::from_secs(after);
        let event = server.handle(now, from, None, None, second.clone(), &mut Vec::new());
        let Some(DatagramEvent::NewConnection(incoming)) = event else { return false };
        let is_valid = incoming.remote_address_validated();
        server.ignore(incoming);
        is_valid
    };
    assert!(is_valid(client_address, 0) && is_valid(client_address, 30));
    assert!(!is_valid(client_address, 31) && !is_valid(other_port, 0));
}

#[test]
fn a_handshake_that_takes_too_long_leaves_nothing_behind() {
    let (now, handshakes) = (Instant::now(), Arc::new(()));
    let mut edge = Edge::new(&settings(&handshakes)).unwrap();
    let before = Arc::strong_count(&handshakes);
    let peer = "192.0.2.2:5000".parse().unwrap();
    for _ in 0..50 {
        let (_, mut connection) = connecting("192.0.2.1:443".parse().unwrap(), now);
        edge.on_datagram(now, peer, None, 0, datagram(&mut connection, now));
    }
    let mut turn = |at| {
        edge.on_time(at);
        edge.serve(at);
        let mut buffer = Vec::new();
        while edge.transmit(at, |_, _| 1, &mut buffer).is_some() {
            buffer.clear();
        }
        (edge.connections(), Arc::strong_count(&handshakes) - before, edge.dropped(Dropped::SlowHandshake))
    };
    assert_eq!(turn(now), (50, 50, 0));
    assert_eq!(turn(now + HANDSHAKE * 9 / 10), (50, 50, 0));
    assert_eq!(turn(now + HANDSHAKE), (0, 0, 50));
    assert_eq!(edge.endpoint.open_connections(), 0);
}

/// A client and the edge that it speaks to, joined without a network.
struct Pair {
    now: Instant,
    peer: SocketAddr,
    server: SocketAddr,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
    /// The last datagram that the client has sent.
    last_sent: BytesMut,
}

impl Pair {
    fn new(roots: &RootCertStore, number: u16, now: Instant) -> Self {
        let server = "192.0.2.1:443".parse().unwrap();
        let peer = SocketAddr::new("192.0.2.2".parse().unwrap(), 5000 + number);
        let (endpoint, handle, connection) = connecting_with(roots.clone(), server, now);
        Self { now, peer, server, endpoint, handle, connection, last_sent: BytesMut::new() }
    }

    /// Passes on what the client has to send.
    fn send(&mut self, edge: &mut Edge) {
        let mut bytes = Vec::new();
        while let Some(transmit) = self.connection.poll_transmit(self.now, 1, &mut bytes) {
            self.last_sent = BytesMut::from(&bytes[..transmit.size]);
            edge.on_datagram(self.now, self.peer, None, 0, self.last_sent.clone());
            bytes.clear();
        }
    }

    /// Lets the edge take a turn, and gives the client what is for it. Returns false if there was nothing.
    fn receive(&mut self, edge: &mut Edge) -> bool {
        self.now += Duration::from_millis(1);
        edge.on_time(self.now); // packets beyond the connection's share of a turn wait for the next
        edge.serve(self.now);
        let (mut buffer, mut has_received) = (Vec::new(), false);
        while let Some(transmit) = edge.transmit(self.now, |_, _| 1, &mut buffer) {
            let datagram = BytesMut::from(&buffer[..transmit.size]);
            buffer.clear();
            assert_eq!(transmit.destination, self.peer, "only this client is spoken to");
            has_received = true;
            let event = self.endpoint.handle(self.now, self.server, None, None, datagram, &mut Vec::new());
            if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                self.connection.handle_event(event);
            }
            while let Some(event) = self.connection.poll_endpoint_events() {
                if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                    self.connection.handle_event(event);
                }
            }
        }
        has_received
    }

    /// Lets both speak until neither has anything more to say.
    fn finish(&mut self, edge: &mut Edge) {
        self.send(edge);
        while self.receive(edge) || edge.has_work() {
            self.send(edge);
        }
    }

    /// Why the connection has ended.
    fn lost(&mut self) -> Option<ConnectionError> {
        std::iter::from_fn(|| self.connection.poll()).find_map(|event| match event {
            Event::ConnectionLost { reason } => Some(reason),
            _ => None,
        })
    }
}

#[test]
fn a_client_for_which_there_is_no_slot_when_its_handshake_completes_is_refused() {
    let (now, counter) = (Instant::now(), Arc::new(()));
    let (settings, roots) = settings_with_slots(&counter, 1);
    let mut edge = Edge::new(&settings).unwrap();
    let before = Arc::strong_count(&counter);
    let (mut slow, mut quick) = (Pair::new(&roots, 0, now), Pair::new(&roots, 1, now));
    // There is room for both as long as neither has a slot.
    slow.send(&mut edge);
    slow.receive(&mut edge);
    quick.finish(&mut edge);
    slow.finish(&mut edge);
    assert_eq!(quick.lost(), None);
    match slow.lost() {
        Some(ConnectionError::ConnectionClosed(close)) => {
            assert_eq!(close.error_code, TransportErrorCode::CONNECTION_REFUSED);
            assert_eq!(&close.reason[..], b"too many connections");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(Arc::strong_count(&counter) - before, 1, "the slot of the other, and no handshake");
}

#[test]
fn a_packet_that_cannot_be_decrypted_is_dropped_and_counted() {
    let (now, counter) = (Instant::now(), Arc::new(()));
    let (settings, roots) = settings_with_slots(&counter, 1);
    let mut edge = Edge::new(&settings).unwrap();
    let mut pair = Pair::new(&roots, 0, now);
    pair.finish(&mut edge);
    pair.connection.ping();
    pair.finish(&mut edge);
    assert_eq!(edge.dropped(Dropped::Undecryptable), 0);
    for _ in 0..3 {
        let mut forged = pair.last_sent.clone();
        *forged.last_mut().unwrap() ^= 1;
        edge.on_datagram(pair.now, pair.peer, None, 0, forged);
        pair.receive(&mut edge);
    }
    assert_eq!(edge.dropped(Dropped::Undecryptable), 3);
    pair.connection.ping();
    pair.finish(&mut edge);
    assert_eq!((pair.lost(), edge.connections(), edge.dropped(Dropped::Undecryptable)), (None, 1, 3));
}
