//! Frames of closed streams (RFC 9113 5.1), and identifiers (5.1.1).

use super::*;

/// Opens and completes a request and its response.
fn completed(wire: &mut Wire, stream: u32) {
    let id = wire.get(stream);
    wire.server.send_head(id, &response(204), true);
    wire.written();
}

#[test]
fn identifiers_grow() {
    let mut wire = Wire::new();
    completed(&mut wire, 5);
    completed(&mut wire, 0x7fff_ffff);
    let earlier = wire.headers(3, &GET, true);
    assert_eq!(wire.fails(&earlier), Code::PROTOCOL_ERROR, "3 was passed over, so it is closed");
    let mut wire = Wire::new();
    completed(&mut wire, 1);
    let again = wire.headers(1, &GET, true);
    assert_eq!(wire.fails(&again), Code::STREAM_CLOSED);
}

#[test]
fn what_follows_the_end_of_a_stream() {
    let mut wire = Wire::new();
    completed(&mut wire, 1);
    // May be in flight when the stream closes, or is allowed always.
    for frame in [
        window_update(1, 10),
        window_update(1, 0),
        reset(1, Code::CANCEL),
        raw(Kind::Priority, 0, 1, &[0; 5]),
        data(1, b"", true),
    ] {
        assert_eq!(wire.feed(&frame), [""; 0]);
    }
    assert_eq!(wire.shown(), [""; 0]);
    assert_eq!(wire.fails(&data(1, b"x", false)), Code::STREAM_CLOSED);
    let mut wire = Wire::new();
    completed(&mut wire, 1);
    let trailers = wire.headers(1, &[("a", "b")], true);
    assert_eq!(wire.fails(&trailers), Code::STREAM_CLOSED);
}

#[test]
fn what_was_in_flight_when_this_side_reset_a_stream() {
    let config = ServerConfig { initial_stream_window: 1000, ..ServerConfig::default() };
    let mut wire = Wire::with(&config, &[]);
    let id = wire.post(1);
    wire.feed(&data(1, &[b'x'; 400], false));
    wire.server.reset(id, Code::INTERNAL_ERROR);
    assert_eq!(wire.shown(), ["reset 1 INTERNAL_ERROR"]);
    assert_eq!(wire.feed(&data(1, &[b'x'; 600], false)), [""; 0]);
    let trailers = wire.headers(1, &[("accept", "late"), ("accept", "late")], true);
    assert_eq!(wire.feed(&trailers), [""; 0]);
    assert_eq!(wire.shown(), [""; 0]);
    let head = wire.headers(3, &with(&GET, &[("accept", "late")]), true);
    assert_eq!(head.last(), Some(&0xbf), "it refers to the table");
    assert_eq!(wire.feed(&head), ["request 3 Get / end"]);
    assert_eq!(wire.fails(&data(1, b"x", false)), Code::STREAM_CLOSED, "beyond its window");
}

#[test]
fn trailers_twice_after_a_reset() {
    let mut wire = Wire::new();
    let id = wire.post(1);
    wire.server.reset(id, Code::INTERNAL_ERROR);
    let trailers = wire.headers(1, &[("a", "b")], true);
    assert_eq!(wire.feed(&trailers), [""; 0]);
    assert_eq!(wire.fails(&trailers), Code::STREAM_CLOSED);
}

#[test]
fn after_its_own_reset_a_client_sends_nothing() {
    let late: [fn(&mut Wire) -> Vec<u8>; 2] = [|_| data(1, b"x", true), |wire| wire.headers(1, &[("a", "b")], true)];
    for late in late {
        let mut wire = Wire::new();
        wire.post(1);
        wire.feed(&reset(1, Code::CANCEL));
        let late = late(&mut wire);
        assert_eq!(wire.feed(&late), [""; 0]);
        assert_eq!(wire.shown(), ["reset 1 STREAM_CLOSED"]);
        assert_eq!(wire.fails(&late), Code::STREAM_CLOSED, "once for each reset");
    }
}

#[test]
fn a_body_that_was_refused_with_its_head() {
    let cases: [(&[(&str, &str)], &str); 2] = [(&POST[..3], "PROTOCOL_ERROR"), (&POST, "REFUSED_STREAM")];
    for (lines, code) in cases {
        let config = ServerConfig { initial_stream_window: 70_000, max_streams: 2, ..ServerConfig::default() };
        let mut wire = Wire::with(&config, &[]);
        wire.get(1);
        if code == "REFUSED_STREAM" {
            wire.get(3);
        }
        let head = wire.headers(5, lines, false);
        wire.feed(&head);
        assert_eq!(wire.shown(), [format!("reset 5 {code}")]);
        for _ in 0..7 {
            assert_eq!(wire.feed(&data(5, &[b'x'; 10_000], false)), [""; 0]);
        }
        let trailers = wire.headers(5, &[("a", "b")], true);
        assert_eq!(wire.feed(&trailers), [""; 0]);
        assert_eq!(wire.fails(&data(5, b"x", false)), Code::STREAM_CLOSED);
    }
}

#[test]
fn a_stream_that_is_reset_within_a_frame() {
    let mut wire = Wire::new();
    let id = wire.post(1);
    let frame = data(1, &[b'x'; 10_000], true);
    assert_eq!(wire.feed(&frame[..5000]), ["data 101 [4991]"]);
    wire.server.reset(id, Code::CANCEL);
    assert_eq!(wire.feed(&frame[5000..]), [""; 0]);
    wire.get(3);
}
