//! Requests in TLS early data (0-RTT).

use super::{CONTROL, GET, POST, Setup};
use crate::{
    Body, Edge, EdgeSettings, EventKind,
    peer::{Peer, ReadEnd, client_config_with, data, headers},
};
use bytes::Bytes;
use quinn_proto::{ClientConfig, Dir, NoneTokenStore, StreamId, TransportConfig};
use rustls::{NamedGroup, crypto::aws_lc_rs::default_provider};
use spooky_bridge::message::ResponseHead;
use spooky_net::tls::server::{self, AnnouncedLimits, Resumption, ServerOptions};
use std::sync::Arc;

fn accept_early_data(settings: &mut EdgeSettings) {
    let options = ServerOptions { early_data: Some(AnnouncedLimits(1)), ..ServerOptions::default() };
    let contexts = server::contexts(&settings.certificates, &options, &Resumption::new().unwrap()).unwrap();
    (settings.tls, settings.tls_unvalidated) = (contexts.quic, contexts.quic_unvalidated);
}

/// An edge that accepts early data, and the configuration of a client that has been connected and may send some.
fn setup(group: NamedGroup) -> (Setup, ClientConfig) {
    let mut setup = Setup::with(TransportConfig::default(), accept_early_data);
    let mut provider = default_provider();
    provider.kx_groups.retain(|known| known.name() == group);
    let config = client_config_with(provider, setup.roots.clone(), TransportConfig::default());
    let mut first = Peer::with(config.clone(), "localhost", 1, setup.client.now);
    assert!(!first.connection.has_0rtt());
    first.finish(&mut setup.edge);
    assert_eq!(first.lost(), None);
    (setup, config)
}

/// Connects, and sends a request with these first bytes before anything has come back.
fn send_early(edge: &mut Edge, config: ClientConfig, setup: &Peer, bytes: &[u8], end: bool) -> (Peer, StreamId) {
    let mut client = Peer::with(config, "localhost", 2, setup.now);
    assert!(client.connection.has_0rtt());
    client.open(Dir::Uni, &CONTROL);
    let id = client.open(Dir::Bi, bytes);
    if end {
        client.end(id);
    }
    client.send(edge);
    edge.serve(client.now);
    (client, id)
}

/// The first flight of a client with the hybrid key exchange is two datagrams.
#[test]
fn a_request_in_early_data_is_answered_before_the_handshake_is_complete() {
    for group in [NamedGroup::X25519, NamedGroup::X25519MLKEM768] {
        let (Setup { mut edge, client: setup, .. }, config) = setup(group);
        let (mut client, id) = send_early(&mut edge, config, &setup, &headers(&GET), true);
        let event = edge.next_event().unwrap();
        assert!(matches!(event.kind, EventKind::Request { end: true, .. }), "{event:?}");
        assert!(edge.is_early(event.stream));
        edge.respond(event.stream, &ResponseHead::new(200), Body::of(Some(5)));
        edge.send_body(event.stream, Bytes::from_static(b"hello"));
        edge.finish(event.stream, None);
        client.receive(&mut edge);
        assert!(!client.connection.is_handshaking() && client.connection.accepted_0rtt());
        let (bytes, end) = client.read(id);
        assert!(bytes.ends_with(b"hello") && end == ReadEnd::Complete, "after one round trip: {bytes:?}");
        let control = client.connection.streams().accept(Dir::Uni).unwrap();
        assert_eq!(client.read(control).0[..2], [0, 4], "SETTINGS");

        client.finish(&mut edge);
        client.open(Dir::Bi, &headers(&POST));
        client.finish(&mut edge);
        let later = std::iter::from_fn(|| edge.next_event()).last().unwrap();
        assert!(matches!(later.kind, EventKind::Request { .. }), "{later:?}");
        assert!(!edge.is_early(later.stream));
        assert_eq!((client.connection.streams().accept(Dir::Uni), client.lost()), (None, None));
    }
}

#[test]
fn body_bytes_in_early_data_are_charged() {
    for group in [NamedGroup::X25519, NamedGroup::X25519MLKEM768] {
        let (Setup { mut edge, client: setup, .. }, config) = setup(group);
        let bytes = [headers(&POST), data(900, &[7; 300])].concat();
        let (_client, _) = send_early(&mut edge, config, &setup, &bytes, false);
        let event = edge.next_event().unwrap();
        assert!(edge.is_early(event.stream));
        let unread = edge.unread(event.stream);
        assert!((300..400).contains(&unread), "{group:?}: {unread}");
    }
}

/// Without a token, an attacker could have sent the request with the address of somebody else.
#[test]
fn early_data_from_an_address_that_is_not_validated_waits_for_the_handshake() {
    let (Setup { mut edge, client: setup, .. }, mut config) = setup(NamedGroup::X25519);
    config.token_store(Arc::new(NoneTokenStore));
    let (mut client, _) = send_early(&mut edge, config, &setup, &headers(&GET), true);
    assert!(edge.next_event().is_none());
    client.finish(&mut edge);
    assert!(!client.connection.accepted_0rtt() && edge.next_event().is_none());
    let id = client.open(Dir::Bi, &headers(&GET));
    client.end(id);
    client.finish(&mut edge);
    let event = edge.next_event().unwrap();
    assert!(matches!(event.kind, EventKind::Request { end: true, .. }), "{event:?}");
    assert!(!edge.is_early(event.stream));
}

#[test]
fn a_client_that_never_completes_its_handshake_is_forgotten_with_its_requests() {
    let (Setup { mut edge, client: setup, settings, .. }, config) = setup(NamedGroup::X25519);
    let open = edge.connections();
    let (client, _) = send_early(&mut edge, config, &setup, &headers(&GET), true);
    let stream = edge.next_event().unwrap().stream;
    assert_eq!(edge.connections(), open + 1);
    let mut buffer = Vec::new();
    while edge.transmit(client.now, |_, _| 1, &mut buffer).is_some() {
        buffer.clear(); // lost
    }
    edge.on_time(client.now + settings.handshake_timeout);
    let event = edge.next_event().unwrap();
    assert!(event.stream == stream && matches!(event.kind, EventKind::Aborted(crate::Abort::Lost)), "{event:?}");
    assert_eq!(edge.connections(), open);
}
