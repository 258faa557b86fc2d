//! Handshakes without a socket: how long tokens and handshakes live, with the time as an argument.

use super::*;
use crate::quic::cid::FirstCid;
use crate::quic::congestion::LastLog;
use crate::{ConnectionLimiter, EdgeSettings, QuicKeys};
use bytes::BytesMut;
use quinn_proto::{
    ClientConfig, Connection, DatagramEvent, Endpoint, EndpointConfig, TimeSource, crypto::rustls::QuicClientConfig,
};
use rustls::{RootCertStore, crypto::aws_lc_rs::default_provider, pki_types::PrivateKeyDer};
use spooky_bridge::message::{
    Protocol,
    check::{HeadLimits, RequestRules},
};
use spooky_net::tls::Store;
use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

const HANDSHAKE: Duration = Duration::from_secs(10);
/// When the token was given.
const GIVEN: SystemTime = SystemTime::UNIX_EPOCH;

/// Admits everybody without a place, and counts handshakes by the clones of a counter.
struct Counting(Arc<()>);

impl ConnectionLimiter for Counting {
    fn open(&self, _: IpAddr, _: bool, _: Instant) -> Admission {
        Admission::Accept { handshake: Box::new(self.0.clone()), connection: None }
    }

    fn establish(&self, _: IpAddr) -> Option<Place> {
        None
    }
}

struct Clock(Mutex<SystemTime>);

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

fn settings(handshakes: &Arc<()>) -> EdgeSettings {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    EdgeSettings {
        certificates: Arc::new(Store::single(vec![certificate.der().clone()], key.clone_key()).unwrap()),
        tls: spooky_net::tls::server::quic_config(vec![certificate.der().clone()], key).unwrap(),
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
        limiter: Arc::new(Counting(handshakes.clone())),
        keys: QuicKeys::derive(&[7; 32]).unwrap(),
    }
}

/// A client that has begun to connect to the address.
fn connecting(to: SocketAddr, now: Instant) -> (Endpoint, Connection) {
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()));
    let tls = tls.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
    let (_, connection) = endpoint.connect(now, config, to, "localhost").unwrap();
    (endpoint, connection)
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
