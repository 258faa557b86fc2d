//! Connections: admission, limits of datagrams and answers, silence, shutdown and new settings.

use super::{CONTROL, GET, POST, Setup};
use crate::{
    Body, ConnectionDecision, ConnectionLimiter, Edge, EdgeError, EventKind, LimiterSlot,
    peer::{Peer, ReadEnd, client_config, headers, settings},
};
use bytes::{Bytes, BytesMut};
use quinn_proto::{ConnectionError, Dir, StreamId, TransportConfig, TransportErrorCode};
use spooky_bridge::{h3::Code, message::ResponseHead};
use spooky_telemetry::metrics::Dropped;
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

/// The GOAWAY frame for a stream id.
fn goaway(id: u64) -> Vec<u8> {
    match id {
        0..64 => vec![7, 1, id as u8],
        _ => [&[7, 8], &(id | 3 << 62).to_be_bytes()[..]].concat(),
    }
}

/// The edge's control stream, as the client sees it.
fn control(setup: &mut Setup) -> StreamId {
    setup.client.connection.streams().accept(Dir::Uni).unwrap()
}

#[test]
fn the_control_stream_begins_with_settings() {
    let mut setup = Setup::new();
    let control = control(&mut setup);
    let (bytes, end) = setup.client.read(control);
    assert!(
        bytes.starts_with(&[0, 4]) && bytes.len() == 3 + usize::from(bytes[2]) && end == ReadEnd::Open,
        "{bytes:?}"
    );
    assert_eq!(setup.client.connection.streams().accept(Dir::Uni), None);
}

#[test]
fn a_drain_announces_its_end_and_closes_when_all_requests_are_done() {
    let mut setup = Setup::new();
    let (one, first) = setup.request(&GET, b"", true);
    let control = control(&mut setup);
    setup.client.read(control);
    let now = setup.client.now;
    setup.edge.drain(now);
    setup.client.receive(&mut setup.edge);
    assert_eq!(setup.client.read(control).0, goaway((1 << 62) - 4));
    let (two, second) = setup.request(&GET, b"", true);
    setup.wait(Duration::from_millis(20));
    assert_eq!(setup.client.read(control).0, goaway(8));
    let late = setup.client.open(Dir::Bi, &headers(&GET));
    setup.run();
    assert_eq!(setup.client.read(late), (vec![], ReadEnd::Reset(Code::REQUEST_REJECTED.0)));
    assert!(setup.events().is_empty());
    for (id, stream) in [(one, first), (two, second)] {
        assert_eq!(setup.client.closed(), None);
        setup.edge.respond(stream, &ResponseHead::new(204), Body::None);
        assert!(setup.edge.finish(stream, None));
        setup.run();
        assert_eq!(setup.client.read(id).1, ReadEnd::Complete);
    }
    // The client has acknowledged the last response, and its last round trips are over.
    setup.wait(Duration::from_millis(100));
    assert_eq!(setup.client.closed(), Some((Code::NO_ERROR.0, String::new())));
    let mut refused = Peer::new(&setup.roots, 7, setup.client.now, TransportConfig::default());
    refused.finish(&mut setup.edge);
    let Some(ConnectionError::ConnectionClosed(close)) = refused.lost() else { panic!("a refusal") };
    assert_eq!(close.error_code, TransportErrorCode::CONNECTION_REFUSED);
    assert!(setup.edge.dropped(Dropped::Draining) > 0);
}

#[test]
fn the_final_goaway_waits_for_at_least_ten_milliseconds() {
    let mut setup = Setup::new();
    let (_, _) = setup.request(&GET, b"", true);
    let control = control(&mut setup);
    setup.client.read(control);
    let now = setup.client.now;
    setup.edge.drain(now);
    while setup.client.now < now + Duration::from_millis(9) {
        setup.client.receive(&mut setup.edge);
        setup.client.send(&mut setup.edge);
    }
    assert_eq!(setup.client.read(control).0, goaway((1 << 62) - 4));
    setup.wait(Duration::from_millis(2));
    assert_eq!(setup.client.read(control).0, goaway(4));
}

/// A client sends its next request just before it reads the final GOAWAY, when it has no other request.
#[test]
fn an_idle_connection_stays_open_after_the_final_goaway_until_the_client_has_read_it() {
    let mut setup = Setup::new();
    let control = control(&mut setup);
    setup.client.read(control);
    let now = setup.client.now;
    setup.edge.drain(now);
    setup.wait(Duration::from_millis(20));
    assert!(setup.client.read(control).0.ends_with(&goaway(0)));
    for _ in 0..2 {
        setup.wait(Duration::from_millis(20));
        let late = setup.client.open(Dir::Bi, &headers(&GET));
        setup.run();
        assert_eq!(setup.client.read(late), (vec![], ReadEnd::Reset(Code::REQUEST_REJECTED.0)));
        assert_eq!(setup.client.closed(), None);
    }
    // Rejected requests do not prolong that.
    setup.wait(Duration::from_millis(60));
    assert_eq!(setup.client.closed(), Some((Code::NO_ERROR.0, String::new())));
}

#[test]
fn closing_reports_every_request_and_says_that_nothing_is_wrong() {
    let mut setup = Setup::new();
    let (one, two) = (setup.request(&GET, b"", true).1, setup.request(&POST, b"", false).1);
    let now = setup.client.now;
    setup.edge.close(now);
    let events = setup.events();
    assert_eq!(events.iter().map(|event| event.stream).collect::<Vec<_>>(), [one, two]);
    assert!(events.iter().all(|event| matches!(event.kind, EventKind::Aborted(crate::Abort::Closed))));
    setup.run();
    assert_eq!(setup.client.closed(), Some((Code::NO_ERROR.0, String::new())));
}

#[test]
fn critical_streams_stay_open() {
    let mut setup = Setup::new();
    let id = setup.control;
    setup.client.end(id);
    setup.run();
    assert_eq!(setup.client.closed().map(|closed| closed.0), Some(Code::CLOSED_CRITICAL_STREAM.0));
    let mut setup = Setup::new();
    let (_, stream) = setup.request(&GET, b"", true);
    let id = control(&mut setup);
    setup.client.stop(id, 0);
    setup.run();
    let critical = (Code::CLOSED_CRITICAL_STREAM.0, "control stream stopped".to_owned());
    assert_eq!(setup.client.closed(), Some(critical));
    assert_eq!(setup.events().first().map(|event| event.stream), Some(stream));
    let mut setup = Setup::new();
    setup.client.open(Dir::Uni, &CONTROL);
    setup.run();
    assert_eq!(setup.client.closed().map(|closed| closed.0), Some(Code::STREAM_CREATION_ERROR.0), "a second one");
}

#[test]
fn streams_of_unknown_types_are_stopped_and_too_many_end_the_connection() {
    let mut setup = Setup::new();
    let unknown = setup.client.open(Dir::Uni, &[0x21, 1, 2, 3]);
    let encoder = setup.client.open(Dir::Uni, &[2]);
    setup.run();
    assert_eq!(setup.client.stopped(unknown), Some(Code::STREAM_CREATION_ERROR.0));
    assert_eq!(setup.client.stopped(encoder), None);
    setup.wait(Duration::from_secs(11));
    assert_eq!((setup.client.stopped(encoder), setup.client.closed()), (None, None));
    let mut count = 0;
    while setup.client.closed().is_none() {
        let id = setup.client.open(Dir::Uni, &[0x21]);
        setup.client.end(id);
        setup.run();
        count += 1;
        assert!(count < 1000);
    }
    assert_eq!(setup.client.closed().map(|closed| closed.0), Some(Code::EXCESSIVE_LOAD.0));
    assert_eq!(count, 501);
}

#[test]
fn a_stream_without_a_type_is_stopped_in_time() {
    let mut setup = Setup::new();
    let open = |setup: &mut Setup| setup.client.open(Dir::Uni, &[0x40]); // half of a type
    let (slow, typed) = (open(&mut setup), open(&mut setup));
    setup.run();
    setup.client.write(typed, &[2]); // the encoder stream
    setup.wait(Duration::from_millis(9900));
    assert_eq!(setup.client.stopped(slow), None);
    setup.wait(Duration::from_millis(101));
    assert_eq!(setup.client.stopped(slow), Some(Code::STREAM_CREATION_ERROR.0));
    assert_eq!((setup.client.stopped(typed), setup.client.closed()), (None, None));
}

#[test]
fn an_open_request_keeps_a_silent_connection_alive() {
    let mut setup = Setup::new();
    setup.wait(Duration::from_secs(1));
    let pings = |setup: &Setup| setup.client.connection.stats().frame_rx.ping;
    let before = pings(&setup);
    setup.client.connection.ping(); // its acknowledgement is due when the edge is called next
    setup.client.send(&mut setup.edge);
    setup.edge.serve(setup.client.now);
    while setup.edge.transmit(setup.client.now, |_, _| 1, &mut Vec::new()).is_some() {}
    setup.wait(Duration::from_secs(21));
    assert_eq!(pings(&setup), before, "nothing is open");
    setup.request(&GET, b"", true);
    setup.wait(Duration::from_millis(50));
    let before = (setup.client.received, pings(&setup));
    setup.wait(Duration::from_millis(19_900));
    assert_eq!((setup.client.received, pings(&setup)), before);
    assert!(setup.edge.deadline().unwrap() <= setup.client.now + Duration::from_millis(110));
    setup.wait(Duration::from_millis(200));
    assert_eq!((setup.client.received, pings(&setup)), (before.0 + 1, before.1 + 1));
    for _ in 0..10 {
        setup.wait(Duration::from_secs(20) + Duration::from_millis(50));
    }
    assert_eq!((setup.edge.connections(), setup.client.lost()), (1, None));
}

#[test]
fn a_connection_that_falls_silent_without_requests_is_forgotten() {
    let mut setup = Setup::new();
    let mut now = setup.client.now + Duration::from_secs(59);
    let mut turn = |now| {
        setup.edge.on_time(now);
        setup.edge.serve(now);
        while setup.edge.transmit(now, |_, _| 1, &mut Vec::new()).is_some() {}
        setup.edge.connections()
    };
    assert_eq!(turn(now), 1);
    now += Duration::from_secs(2);
    turn(now);
    assert_eq!(turn(now + Duration::from_secs(10)), 0);
}

#[test]
fn a_client_that_acknowledges_nothing_is_closed() {
    let mut setup = Setup::new();
    let (_, stream) = setup.request(&GET, b"", true);
    setup.edge.respond(stream, &ResponseHead::new(200), Body::Chunked);
    setup.edge.send_body(stream, Bytes::from(vec![1; 5000]));
    let start = setup.client.now;
    let mut closed_after = None;
    for second in 1..50 {
        let now = start + Duration::from_secs(second);
        setup.edge.on_time(now);
        setup.edge.serve(now);
        while setup.edge.transmit(now, |_, _| 1, &mut Vec::new()).is_some() {}
        if let Some(event) = setup.edge.next_event() {
            assert!(matches!(event.kind, EventKind::Aborted(crate::Abort::Lost)), "{event:?}");
            closed_after = closed_after.or(Some(second));
        }
    }
    assert!(matches!(closed_after, Some(30..33)), "{closed_after:?}");
    assert_eq!(setup.settings.responses.used(), 0);
}

/// Decides the same for every first packet.
struct Fixed(fn() -> ConnectionDecision);

impl ConnectionLimiter for Fixed {
    fn open(&self, _: IpAddr, is_validated: bool, _: Instant) -> ConnectionDecision {
        if is_validated { accept() } else { self.0() }
    }

    fn establish(&self, _: IpAddr) -> Option<LimiterSlot> {
        Some(Box::new(()))
    }
}

fn accept() -> ConnectionDecision {
    ConnectionDecision::Accept { handshake: Box::new(()), connection: Some(Box::new(())) }
}

/// An edge that decides so, a client that has sent all it can, and the number of its first datagrams.
fn decided(decision: fn() -> ConnectionDecision) -> (Edge, Peer, u64) {
    let (mut settings, roots) = settings(&Arc::new(()), 0);
    settings.limiter = Arc::new(Fixed(decision));
    settings.active_migration = false; // which wraps the Retry tags once more
    let mut edge = Edge::new(&settings).unwrap();
    let mut client = Peer::new(&roots, 0, Instant::now(), TransportConfig::default());
    let first = client.send(&mut edge) as u64;
    client.finish(&mut edge);
    (edge, client, first)
}

#[test]
fn first_packets_are_treated_as_the_limiter_decides() {
    let (edge, mut client, _) = decided(accept);
    assert_eq!((edge.connections(), client.lost(), client.connection.is_handshaking()), (1, None, false));
    let (edge, mut client, first) = decided(|| ConnectionDecision::Retry);
    assert_eq!((edge.connections(), client.lost(), client.connection.is_handshaking()), (1, None, false));
    assert_eq!(edge.dropped(Dropped::Unvalidated), first);
    let (edge, mut client, first) = decided(|| ConnectionDecision::Drop);
    assert_eq!((edge.connections(), client.lost(), client.received), (0, None, 0));
    assert_eq!(edge.dropped(Dropped::ConnectionRate), first);
    let (edge, mut client, first) = decided(|| ConnectionDecision::Refuse);
    let Some(ConnectionError::ConnectionClosed(close)) = client.lost() else { panic!("a refusal") };
    assert_eq!(close.error_code, TransportErrorCode::CONNECTION_REFUSED);
    assert_eq!((edge.connections(), edge.dropped(Dropped::Refused)), (0, first));
}

fn other_address(number: u16) -> SocketAddr {
    SocketAddr::new("198.51.100.1".parse().unwrap(), number)
}

#[test]
fn datagrams_of_impossible_sizes_are_no_quic() {
    let mut setup = Setup::new();
    let now = setup.client.now;
    for (size, is_quic) in [(0, false), (20, false), (21, true), (1472, true), (65_000, false)] {
        let before = setup.edge.dropped(Dropped::NotQuic);
        setup.edge.on_datagram(now, other_address(1), None, 0, BytesMut::from(&*vec![0x41; size]));
        assert_eq!(setup.edge.dropped(Dropped::NotQuic) == before, is_quic, "{size} bytes");
    }
}

#[test]
fn answers_without_state_are_bounded() {
    let mut setup = Setup::new();
    let mut unknown_version = vec![0xc0, 1, 2, 3, 4, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0];
    unknown_version.resize(1200, 0);
    let local_ip = Some("192.0.2.1".parse().unwrap());
    let now = setup.client.now;
    assert!(!setup.edge.has_work());
    for number in 0..70 {
        setup.edge.on_datagram(now, other_address(number), local_ip, 0, BytesMut::from(&*unknown_version));
    }
    assert!(setup.edge.has_work());
    assert_eq!(setup.edge.dropped(Dropped::Answer), 6);
    let (mut buffer, mut count) = (Vec::new(), 0);
    while let Some(transmit) = setup.edge.transmit(now, |_, _| 1, &mut buffer) {
        assert_eq!((transmit.size, transmit.src_ip), (buffer.len(), local_ip));
        assert!(buffer.starts_with(&[0xc0, 0, 0, 0, 0]) && transmit.destination.port() < 64);
        buffer.clear();
        count += 1;
    }
    assert_eq!((count, setup.edge.has_work()), (64, false));
    // Resets, which look like packets with a short header, have a rate as well.
    let mut sent = 0;
    for number in 0..200 {
        let mut unknown = vec![0x41; 100];
        unknown[1..3].copy_from_slice(&[0, number]);
        setup.edge.on_datagram(now, other_address(1), None, 0, BytesMut::from(&*unknown));
        while setup.edge.transmit(now, |_, _| 1, &mut buffer).is_some() {
            buffer.clear();
            sent += 1;
        }
    }
    assert_eq!((sent, setup.edge.dropped(Dropped::Answer)), (100, 6 + 100));
}

#[test]
fn settings_beyond_quic_are_refused_by_name() {
    let valid = settings(&Arc::new(()), 0).0;
    let fails = |change: &dyn Fn(&mut crate::EdgeSettings)| {
        let mut settings = valid.clone();
        change(&mut settings);
        match Edge::new(&settings) {
            Err(error @ EdgeError::OutOfRange(_)) => error.to_string(),
            Err(error) => panic!("{error}"),
            Ok(_) => String::new(),
        }
    };
    let beyond = |key| format!("performance.{key} is beyond the range of QUIC");
    assert_eq!(fails(&|_| {}), "");
    assert_eq!(fails(&|settings| settings.max_data = 1 << 62), beyond("quic_initial_max_data"));
    assert_eq!(fails(&|settings| settings.max_stream_data = 1 << 62), beyond("quic_initial_max_stream_data"));
    assert_eq!(fails(&|settings| settings.max_streams_bidi = 1 << 62), beyond("quic_initial_max_streams_bidi"));
    assert_eq!(fails(&|settings| settings.max_streams_uni = 1 << 62), beyond("quic_initial_max_streams_uni"));
    assert_eq!(fails(&|settings| settings.idle_timeout = Duration::MAX), beyond("quic_max_idle_timeout_ms"));
    assert!(EdgeError::NoInitialCipher.to_string().contains("TLS13_AES_128_GCM_SHA256"));
}

#[test]
fn new_settings_apply_to_heads_at_once_and_to_new_connections() {
    let mut setup = Setup::new();
    let mut settings = setup.settings.clone();
    settings.head_limits.max_fields = 4;
    settings.max_stream_data = 5000;
    settings.limiter = Arc::new(Fixed(|| ConnectionDecision::Drop));
    setup.edge.configure(&settings).unwrap();
    let head = [&GET[..], &[("x-more", "1")]].concat();
    setup.client.open(Dir::Bi, &headers(&head));
    setup.run();
    let event = setup.edge.next_event().unwrap();
    assert!(matches!(event.kind, EventKind::Refused { .. }), "{event:?}");
    let id = setup.client.open(Dir::Bi, &headers(&POST));
    setup.client.write(id, &[&crate::peer::data(8000, &[1; 8000])[..]].concat());
    setup.run();
    let stream = setup.edge.next_event().unwrap().stream;
    assert!(setup.edge.unread(stream) > 7900, "the window that was announced counts");
    let mut dropped = Peer::new(&setup.roots, 3, setup.client.now, TransportConfig::default());
    let first = dropped.send(&mut setup.edge) as u64;
    assert_eq!((setup.edge.connections(), setup.edge.dropped(Dropped::ConnectionRate)), (1, first));
    settings.max_data = 1 << 62;
    assert!(setup.edge.configure(&settings).is_err());
}

#[test]
fn a_request_for_a_name_with_another_certificate_is_misdirected() {
    let mut setup = Setup::new();
    let (_, stream) = setup.request(&GET, b"", true);
    let mut scratch = Vec::new();
    for (authority, expected) in [
        ("localhost", false),
        ("LOCALHOST:8443", false),
        ("other.test", true),
        ("Other.Test:443", true),
        ("unknown.test", false),
    ] {
        assert_eq!(setup.edge.is_misdirected(stream, authority.as_bytes(), &mut scratch), expected, "{authority}");
    }
    assert!(!setup.edge.is_misdirected(crate::StreamRef::default(), b"other.test", &mut scratch), "no connection");
    // A connection for the other name.
    let config = client_config(setup.roots.clone(), TransportConfig::default());
    let mut other = Peer::with(config, "other.test", 1, setup.client.now);
    other.finish(&mut setup.edge);
    let id = other.open(Dir::Bi, &headers(&GET));
    other.end(id);
    other.finish(&mut setup.edge);
    let stream_of_other = setup.edge.next_event().unwrap().stream;
    for (authority, expected) in [("other.test", false), ("localhost", false)] {
        let is_misdirected = setup.edge.is_misdirected(stream_of_other, authority.as_bytes(), &mut scratch);
        assert_eq!(is_misdirected, expected, "{authority}");
    }
    assert_eq!(setup.edge.client_subject(stream), None, "no certificate");
}

#[test]
fn a_client_keeps_its_requests_when_its_address_and_its_keys_change() {
    for active_migration in [true, false] {
        let mut setup =
            Setup::with(TransportConfig::default(), |settings| settings.active_migration = active_migration);
        let (id, stream) = setup.request(&POST, b"", false);
        setup.client.connection.force_key_update();
        setup.client.write(id, &crate::peer::data(3, b"abc"));
        setup.run();
        setup.client.rebind(other_address(9));
        setup.client.connection.ping();
        setup.run();
        assert!(matches!(setup.edge.read_body(stream, 9), crate::BodyRead::Data(bytes) if bytes == "abc"));
        setup.edge.respond(stream, &ResponseHead::new(200), Body::Known(100_000));
        let mut taken = setup.edge.send_body(stream, Bytes::from(vec![1; 100_000]));
        let mut length = 0;
        for _ in 0..100 {
            setup.run();
            setup.client.now += Duration::from_millis(5);
            length += setup.client.read(id).0.len();
            for event in setup.events() {
                if let EventKind::Accepted(count) = event.kind {
                    taken += count;
                }
            }
        }
        assert!((taken, length) > (100_000, 100_000) || taken == 100_000 && length > 100_000, "{taken} {length}");
        setup.wait(Duration::from_millis(100));
        assert!(setup.settings.responses.used() < 20_000, "what was acknowledged on both paths counts");
        assert_eq!(setup.edge.dropped(Dropped::Undecryptable), 0);
    }
}
