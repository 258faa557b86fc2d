//! Flow control in both directions (RFC 9113 5.2, 6.9).

use super::*;

fn small() -> ServerConfig {
    ServerConfig { initial_stream_window: 1000, connection_window: 65_535, ..ServerConfig::default() }
}

#[test]
fn credit_returns_as_it_is_released_and_to_the_connection_at_once() {
    let mut wire = Wire::with(&small(), &[]);
    let id = wire.post(1);
    wire.feed(&data(1, &[b'x'; 900], false));
    assert_eq!(wire.shown(), [""; 0], "nothing was consumed");
    wire.server.release(id, 500);
    assert_eq!(wire.shown(), ["window 1 500"]);
    assert_eq!(wire.feed(&data(1, &[b'x'; 601], false)), ["malformed 101 DATA beyond the stream's window"]);
    assert_eq!(wire.shown(), ["reset 1 FLOW_CONTROL_ERROR"]);
    // 1501 bytes of the connection window are used; an owner that reads no body does not stop the others.
    let mut streams = (3..).step_by(2);
    while wire.shown() != ["window 0 33501"] {
        let stream = streams.next().unwrap();
        assert!(stream < 100);
        wire.post(stream);
        wire.feed(&data(stream, &[b'x'; 1000], false));
    }
}

#[test]
fn more_than_the_connection_window() {
    let mut wire = Wire::with(&small(), &[]);
    wire.server.receive_window = crate::h2::flow::ReceiveWindow::new(10);
    wire.post(1);
    assert_eq!(wire.fails(&data(1, &[b'x'; 11], false)), Code::FLOW_CONTROL_ERROR);
}

/// Until the client has read the SETTINGS, its streams have the default window (RFC 9113 6.9.2).
#[test]
fn a_client_that_has_not_read_the_settings() {
    let ack = raw(Kind::Settings, flag::ACK, 0, &[]);
    let mut wire = Wire::silent(&small());
    wire.feed(&[PREFACE, &settings_frame(&[])].concat());
    wire.written();
    for stream in [1, 3] {
        wire.post(stream);
    }
    assert_eq!(wire.feed(&data(1, &[b'x'; 16_000], false)), ["data 101 [16000]"]);
    assert_eq!(wire.feed(&data(3, &[b'x'; 600], false)), ["data 103 [600]"]);
    wire.feed(&ack);
    wire.post(5);
    for (stream, length) in [(3, 400), (5, 1000)] {
        wire.feed(&data(stream, &vec![b'x'; length], false));
        let event = format!("malformed 10{stream} DATA beyond the stream's window");
        assert_eq!(wire.feed(&data(stream, b"x", false)), [event]);
    }
    wire.written();
    wire.server.release(StreamId(1), 15_000);
    assert_eq!(wire.feed(&data(1, b"", false)), [""; 0]);
    assert_eq!(wire.shown(), ["window 1 15000"], "from -15000 to 0");
    wire.server.release(StreamId(1), 600);
    assert_eq!(wire.shown(), ["window 1 600"]);
    assert_eq!(wire.feed(&data(1, &[b'x'; 600], false)), ["data 101 [600]"]);
    assert_eq!(wire.feed(&data(1, b"x", false)), ["malformed 101 DATA beyond the stream's window"]);
}

#[test]
fn a_changed_initial_window_holds_for_streams_after_its_acknowledgement() {
    let ack = raw(Kind::Settings, flag::ACK, 0, &[]);
    let mut wire = Wire::with(&ServerConfig { initial_stream_window: 5000, ..small() }, &[]);
    assert!(wire.server.set_initial_stream_window(1000));
    wire.post(1);
    assert_eq!(wire.feed(&data(1, &[b'x'; 5000], false)), ["data 101 [5000]"], "the client may not know of it");
    wire.feed(&ack);
    wire.post(3);
    assert_eq!(wire.feed(&data(3, &[b'x'; 1001], false)), ["malformed 103 DATA beyond the stream's window"]);
    assert!(wire.server.set_initial_stream_window(2000));
    wire.post(5);
    assert_eq!(wire.feed(&data(5, &[b'x'; 2000], false)), ["data 105 [2000]"], "the client may know of it");
    wire.server.release(StreamId(1), 5000);
    assert_eq!(wire.feed(&data(1, &[b'x'; 1000], true)), ["data 101 [1000] end"]);
}

#[test]
fn a_response_stops_at_the_windows() {
    let mut wire = Wire::with(&ServerConfig::default(), &[(4, 100)]);
    let id = wire.get(1);
    let mut body = Bytes::from(vec![b'x'; 250]);
    assert_eq!(wire.server.sendable(id), 0, "the head comes first");
    wire.server.send_head(id, &response(200), false);
    assert_eq!(wire.server.sendable(id), 100);
    assert_eq!(wire.server.send_data(id, &mut body, true), 100);
    assert_eq!(wire.shown(), ["headers 1 :status=200", "data 1 100"]);
    assert_eq!(wire.feed(&window_update(1, 50)), ["sendable 101"]);
    assert_eq!(wire.server.send_data(id, &mut body, true), 50);
    assert_eq!(wire.feed(&settings_frame(&[(4, 10)])), [""; 0], "from 0 to -90");
    assert_eq!(wire.feed(&window_update(1, 90)), [""; 0]);
    assert_eq!(wire.feed(&window_update(1, 200)), ["sendable 101"]);
    assert_eq!(wire.server.send_data(id, &mut body, true), 100);
    assert_eq!(wire.server.active(), 0);
}

#[test]
fn responses_share_the_connection_window_in_turn() {
    let mut wire = Wire::with(&ServerConfig::default(), &[(4, 1_000_000)]);
    let mut bodies = Vec::new();
    for stream in [1, 3, 5] {
        let id = wire.get(stream);
        wire.server.send_head(id, &response(200), false);
        let mut body = Bytes::from(vec![b'x'; 65_000]);
        wire.server.send_data(id, &mut body, true);
        bodies.push(body);
    }
    assert_eq!(bodies.iter().map(Bytes::len).collect::<Vec<_>>(), [0, 64_465, 65_000]);
    wire.written();
    let mut order = Vec::new();
    for _ in 0..6 {
        wire.input.extend_from_slice(&window_update(0, 1000));
        while let Some(event) = wire.server.recv(&mut wire.input, wire.now).unwrap() {
            let ServerEvent::Sendable { id, .. } = event else { panic!("{event:?}") };
            wire.server.send_data(id, &mut bodies[id.number() as usize / 2], true);
            order.push(id.number());
        }
        wire.written();
    }
    assert_eq!(order, [3, 5, 3, 5, 3, 5]);
}

#[test]
fn windows_that_overflow() {
    let mut wire = Wire::new();
    wire.get(1);
    assert_eq!(wire.feed(&window_update(1, 0x7fff_ffff)), ["malformed 101 the stream's window overflows"]);
    assert_eq!(wire.fails(&window_update(0, 0x7fff_ffff)), Code::FLOW_CONTROL_ERROR);
    let mut wire = Wire::new();
    wire.get(1);
    wire.feed(&window_update(1, 0x7fff_ffff - 65_535));
    assert_eq!(wire.fails(&settings_frame(&[(4, 65_536)])), Code::FLOW_CONTROL_ERROR);
    // Negative windows and back.
    let mut wire = Wire::new();
    let id = wire.get(1);
    wire.server.send_head(id, &response(200), false);
    for window in [0x7fff_ffff, 0, 0x7fff_ffff] {
        wire.feed(&settings_frame(&[(4, window)]));
        wire.server.send_data(id, &mut Bytes::from_static(b"byte"), false);
    }
    assert_eq!(wire.server.sendable(id), 65_535 - 8, "the window of the connection");
    assert_eq!(wire.feed(&window_update(1, 8)), [""; 0]);
    assert_eq!(wire.feed(&window_update(1, 1)), ["malformed 101 the stream's window overflows"]);
}

/// Without the acknowledgement the windows stay at what the RFC grants, so memory is bounded in any case.
#[test]
fn a_client_that_never_acknowledges_the_settings() {
    for window in [1000, 100_000] {
        let mut wire = Wire::silent(&ServerConfig { initial_stream_window: window, ..small() });
        wire.feed(&[PREFACE, &settings_frame(&[])].concat());
        wire.post(1);
        let most = window.max(65_535) as usize;
        let mut sent = 0;
        while sent < most {
            let part = (most - sent).min(16_384);
            assert_eq!(wire.feed(&data(1, &vec![b'x'; part], false)).len(), 1);
            sent += part;
            wire.written();
        }
        assert_eq!(wire.feed(&data(1, b"x", false)), ["malformed 101 DATA beyond the stream's window"]);
    }
}
