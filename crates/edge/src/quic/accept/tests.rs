//! Handshakes without a socket: how long tokens and handshakes live, with the time as an argument.

use super::*;
use crate::peer::{self, HANDSHAKE, Peer};
use crate::quic::cid::FirstCid;
use crate::quic::congestion::LastLog;
use bytes::BytesMut;
use quinn_proto::{
    Connection, ConnectionError, DatagramEvent, Endpoint, TimeSource, TransportConfig, TransportErrorCode,
};
use rustls::RootCertStore;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

/// When the token was given.
const GIVEN: SystemTime = SystemTime::UNIX_EPOCH;

struct Clock(Mutex<SystemTime>);

impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }
}

/// A client that has begun to connect to the address.
fn connecting(to: SocketAddr, now: Instant) -> (Endpoint, Connection) {
    let config = peer::client_config(RootCertStore::empty(), TransportConfig::default());
    let (endpoint, _, connection) = peer::connecting(config, "localhost", to, now);
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
    let settings = peer::settings(&handshakes, 0).0;
    let clock = Arc::new(Clock(Mutex::new(GIVEN)));
    let mut config = settings.server_config(&settings.tls, &LastLog::default()).unwrap();
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
fn an_address_token_proves_one_address_once_for_a_day() {
    const DAY: u64 = 86_400;
    let (now, counter) = (Instant::now(), Arc::new(()));
    let (settings, roots) = peer::settings(&counter, 1);
    let mut edge = Edge::new(&settings).unwrap();
    let clock = Arc::new(Clock(Mutex::new(GIVEN)));
    let mut server = settings.server_config(&settings.tls, &edge.last_log).unwrap();
    server.time_source(clock.clone());
    edge.server.validated = Arc::new(server);
    edge.endpoint.set_server_config(Some(edge.server.validated.clone()));
    let config = peer::client_config(roots, TransportConfig::default());
    let mut client = Peer::with(config.clone(), "localhost", 0, now);
    client.finish(&mut edge);
    let (_, _, mut again) = peer::connecting(config, "localhost", "192.0.2.1:443".parse().unwrap(), now);
    let first = datagram(&mut again, now);
    let mut is_valid = |from: &str, after| {
        *clock.0.lock().unwrap() = GIVEN + Duration::from_secs(after);
        let event = edge.endpoint.handle(now, from.parse().unwrap(), None, None, first.clone(), &mut Vec::new());
        let Some(DatagramEvent::NewConnection(incoming)) = event else { panic!("a first packet") };
        let is_valid = incoming.remote_address_validated();
        edge.endpoint.ignore(incoming);
        is_valid
    };
    assert!(!is_valid("192.0.2.2:5000", DAY + 1) && !is_valid("192.0.2.3:5000", DAY));
    assert!(is_valid("192.0.2.2:6000", DAY) && !is_valid("192.0.2.2:6000", DAY), "once, from any port");
}

#[test]
fn a_handshake_that_takes_too_long_leaves_nothing_behind() {
    let (now, handshakes) = (Instant::now(), Arc::new(()));
    let mut edge = Edge::new(&peer::settings(&handshakes, 0).0).unwrap();
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

#[test]
fn a_client_for_which_there_is_no_slot_when_its_handshake_completes_is_refused() {
    let (now, counter) = (Instant::now(), Arc::new(()));
    let (settings, roots) = peer::settings(&counter, 1);
    let mut edge = Edge::new(&settings).unwrap();
    let before = Arc::strong_count(&counter);
    let client = |number| Peer::new(&roots, number, now, TransportConfig::default());
    let (mut slow, mut quick) = (client(0), client(1));
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
    let (settings, roots) = peer::settings(&counter, 1);
    let mut edge = Edge::new(&settings).unwrap();
    let mut client = Peer::new(&roots, 0, now, TransportConfig::default());
    client.finish(&mut edge);
    client.connection.ping();
    client.finish(&mut edge);
    assert_eq!(edge.dropped(Dropped::Undecryptable), 0);
    for _ in 0..3 {
        let mut forged = client.last_sent.clone();
        *forged.last_mut().unwrap() ^= 1;
        edge.on_datagram(client.now, client.address, None, 0, forged);
        client.receive(&mut edge);
    }
    assert_eq!(edge.dropped(Dropped::Undecryptable), 3);
    client.connection.ping();
    client.finish(&mut edge);
    assert_eq!((client.lost(), edge.connections(), edge.dropped(Dropped::Undecryptable)), (None, 1, 3));
}
