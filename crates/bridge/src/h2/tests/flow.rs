//! Flow control in both directions (RFC 9113 5.2, 6.9).

use super::*;

const OK: (&str, &str) = (":status", "200");

fn small() -> Config {
    Config { initial_stream_window: 1000, connection_window: 65_535, ..Config::default() }
}

/// Opens a stream and receives its response head.
fn responding(wire: &mut Wire) -> StreamId {
    let id = wire.get();
    let head = wire.headers(id.number(), &[OK], false);
    wire.feed(&head);
    id
}

#[test]
fn stream_credit_returns_as_it_is_released() {
    let mut wire = Wire::with(&small(), &[]);
    let id = responding(&mut wire);
    wire.feed(&data(1, &[b'x'; 900], false));
    assert_eq!(wire.shown(), [""; 0], "nothing was consumed");
    wire.client.release(id, 499);
    assert_eq!(wire.shown(), [""; 0]);
    wire.client.release(id, 1);
    assert_eq!(wire.shown(), ["window 1 500"]);
    assert_eq!(wire.feed(&data(1, &[b'x'; 600], false)), ["data 1 [600]"]);
    wire.client.release(id, 1_000_000);
    assert_eq!(wire.shown(), ["window 1 1000"], "no more than was taken");
    wire.feed(&data(1, &[b'x'; 10], true));
    wire.client.release(id, 1000);
    assert_eq!(wire.shown(), [""; 0], "the stream has ended");
}

#[test]
fn a_body_whose_rest_fits_the_window_needs_no_more_credit() {
    let mut wire = Wire::with(&small(), &[]);
    let id = wire.get();
    let head = wire.headers(id.number(), &[OK, ("content-length", "1500")], false);
    wire.feed(&head);
    wire.feed(&data(1, &[b'x'; 700], false));
    wire.client.release(id, 700);
    assert_eq!(wire.shown(), ["window 1 700"], "300 bytes of window for the 800 that are missing");
    wire.feed(&data(1, &[b'x'; 600], false));
    wire.client.release(id, 600);
    assert_eq!(wire.shown(), [""; 0], "400 for the last 200");
    // Padding takes window too; the rest of the body must still fit.
    let mut payload = vec![250, b'x'];
    payload.extend_from_slice(&[0; 250]);
    wire.feed(&raw(Kind::Data, flag::PADDED, 1, &payload));
    assert_eq!(wire.shown(), ["window 1 851"]);
}

#[test]
fn the_initial_window_changes_with_all_streams() {
    let mut wire = Wire::with(&small(), &[]);
    let ack = raw(Kind::Settings, flag::ACK, 0, &[]);
    assert!(!wire.client.set_initial_stream_window(400), "the first SETTINGS are not acknowledged");
    wire.feed(&ack);
    responding(&mut wire);
    wire.feed(&data(1, &[b'x'; 300], false));
    wire.written();
    assert!(wire.client.set_initial_stream_window(400));
    assert_eq!(wire.shown(), ["Settings 0 6"]);
    assert!(wire.client.set_initial_stream_window(400), "nothing changes");
    assert!(!wire.client.set_initial_stream_window(500), "one change at a time");
    assert_eq!(wire.feed(&data(1, &[b'x'; 700], false)), ["data 1 [700]"], "sent before it took effect");
    wire.feed(&ack);
    assert_eq!(wire.shown(), ["window 1 600"], "up to the size that the owner wants, 1000 bytes that are not released");
    assert_eq!(wire.feed(&data(1, b"x", false)), ["malformed 1 DATA beyond the stream's window"]);
    wire.written();
    let second = responding(&mut wire);
    wire.written();
    assert_eq!(wire.feed(&data(second.number(), &[b'x'; 401], false)), ["malformed 3 DATA beyond the stream's window"]);
    let third = responding(&mut wire);
    assert!(wire.client.set_initial_stream_window(700));
    assert_eq!(wire.feed(&data(third.number(), &[b'x'; 700], false)), ["data 5 [700]"], "before its acknowledgement");
    wire.feed(&ack);
    assert_eq!(wire.feed(&data(third.number(), b"x", false)), ["malformed 5 DATA beyond the stream's window"]);
}

#[test]
fn connection_credit_returns_at_once() {
    let mut wire = Wire::with(&Config { initial_stream_window: 50_000, ..small() }, &[]);
    responding(&mut wire);
    wire.feed(&[data(1, &[b'x'; 16_000], false), data(1, &[b'x'; 16_000], false)].concat());
    assert_eq!(wire.shown(), [""; 0]);
    wire.feed(&data(1, &[b'x'; 1000], false));
    assert_eq!(wire.shown(), ["window 0 33000"], "although nothing was released");
}

#[test]
fn padding_counts_and_is_given_back_by_itself() {
    let mut wire = Wire::with(&small(), &[]);
    let id = responding(&mut wire);
    let mut payload = vec![200];
    payload.extend_from_slice(b"body");
    payload.extend_from_slice(&[0; 200]);
    let frame = raw(Kind::Data, flag::PADDED, 1, &payload);
    for _ in 0..2 {
        assert_eq!(wire.feed(&frame), ["data 1 body"]);
    }
    assert_eq!(wire.shown(), [""; 0]);
    wire.client.release(id, 8);
    assert_eq!(wire.feed(&frame), ["data 1 body"]);
    assert_eq!(wire.shown(), ["window 1 611"]);
    let end = raw(Kind::Data, flag::PADDED | flag::END_STREAM, 1, &payload);
    assert_eq!(wire.feed(&end), ["data 1 body end"]);
    assert_eq!(wire.client.active(), 0);
    responding(&mut wire);
    assert_eq!(wire.feed(&raw(Kind::Data, flag::PADDED, 3, &[0])), [""; 0]);
}

#[test]
fn a_peer_that_ignores_windows() {
    let mut wire = Wire::with(&small(), &[]);
    responding(&mut wire);
    wire.feed(&data(1, &[b'x'; 1000], false));
    assert_eq!(wire.feed(&data(1, b"x", false)), ["malformed 1 DATA beyond the stream's window"]);
    assert_eq!(wire.shown(), ["reset 1 FLOW_CONTROL_ERROR"]);
    // The connection window is restored at once, so only a frame larger than the window can exceed it.
    wire.client.receive_window = super::super::flow::ReceiveWindow::new(10);
    responding(&mut wire);
    assert_eq!(wire.fails(&data(3, &[b'x'; 11], false)), Code::FLOW_CONTROL_ERROR);
}

#[test]
fn sending_stops_at_the_streams_window() {
    let mut wire = Wire::with(&Config::default(), &[(4, 100)]);
    let id = wire.open(Method::Post, false);
    let mut body = Bytes::from(vec![b'x'; 250]);
    assert_eq!(wire.client.sendable(id), 100);
    assert_eq!(wire.client.send_data(id, &mut body, true), 100);
    assert_eq!(wire.client.send_data(id, &mut body, true), 0);
    assert_eq!(body.len(), 150);
    assert_eq!(wire.shown(), ["data 1 100"]);
    assert_eq!(wire.feed(&window_update(1, 50)), ["sendable 1"]);
    assert_eq!(wire.client.send_data(id, &mut body, true), 50);
    assert_eq!(wire.feed(&window_update(1, 100)), ["sendable 1"]);
    assert_eq!(wire.client.send_data(id, &mut body, true), 100);
    assert_eq!(wire.shown(), ["data 1 50", "data 1 100 end"]);
    assert_eq!(wire.feed(&window_update(1, 100)), [""; 0]);
}

#[test]
fn sendable_is_reported_once_and_only_to_waiting_streams() {
    let mut wire = Wire::with(&Config::default(), &[(4, 100)]);
    let id = wire.open(Method::Post, false);
    assert_eq!(wire.feed(&window_update(1, 50)), [""; 0], "nothing waits");
    let mut body = Bytes::from(vec![b'x'; 250]);
    assert_eq!(wire.client.send_data(id, &mut body, true), 150);
    assert_eq!(wire.feed(&[window_update(1, 10), window_update(1, 10)].concat()), ["sendable 1"]);
    assert_eq!(wire.feed(&window_update(1, 10)), [""; 0], "it was told already");
    assert_eq!(wire.client.sendable(id), 30);
}

#[test]
fn large_parts_of_a_body_are_not_copied_and_small_ones_follow_their_header() {
    for (length, slices) in [(10, 1), (10_000, 2)] {
        let mut wire = Wire::new();
        let id = wire.open(Method::Post, false);
        wire.written();
        let mut body = Bytes::from(vec![b'x'; length]);
        let start = body.as_ptr();
        assert_eq!(wire.client.send_data(id, &mut body, true), length);
        let mut out = [IoSlice::new(&[]); 4];
        assert_eq!(wire.client.output().slices(&mut out), slices);
        assert_eq!(out.iter().any(|slice| slice.as_ptr() == start), slices == 2);
    }
}

#[test]
fn streams_share_the_connection_window_in_turn() {
    let mut wire = Wire::with(&Config::default(), &[(4, 1_000_000)]);
    let ids: Vec<StreamId> = (0..3).map(|_| wire.open(Method::Post, false)).collect();
    let mut bodies = vec![Bytes::from(vec![b'x'; 65_000]); 3];
    for (id, body) in ids.iter().zip(&mut bodies) {
        wire.client.send_data(*id, body, true);
    }
    assert_eq!(bodies.iter().map(Bytes::len).collect::<Vec<_>>(), [0, 64_465, 65_000]);
    wire.written();
    let mut order = Vec::new();
    for _ in 0..200 {
        wire.input.extend_from_slice(&window_update(0, 1000));
        while let Some(event) = wire.client.recv(&mut wire.input).unwrap() {
            let Event::Sendable { id, .. } = event else { panic!("{event:?}") };
            let at = ids.iter().position(|other| *other == id).unwrap();
            wire.client.send_data(id, &mut bodies[at], true);
            order.push(id.number());
        }
        wire.written();
    }
    assert!(bodies.iter().all(Bytes::is_empty));
    assert_eq!(order[..6], [3, 5, 3, 5, 3, 5]);
}

#[test]
fn space_in_the_output_limits_the_bytes_taken() {
    let mut wire = Wire::with(&Config::default(), &[(4, 0x7fff_ffff)]);
    wire.feed(&window_update(0, 0x7fff_0000 - 65_535));
    wire.written();
    let id = wire.open(Method::Post, false);
    let mut body = Bytes::from(vec![b'x'; 1_000_000]);
    let taken = wire.client.send_data(id, &mut body, true);
    assert!((200_000..300_000).contains(&taken), "{taken}");
    assert!(wire.client.output().len() < 300_000);
    assert_eq!(wire.feed(&[]), [""; 0], "the output is still full");
    wire.written();
    assert_eq!(wire.feed(&[]), ["sendable 1"]);
    assert_eq!(wire.feed(&[]), [""; 0], "said once");
    while !body.is_empty() {
        assert!(wire.client.send_data(id, &mut body, true) > 0);
        wire.written();
    }
}

#[test]
fn a_changed_initial_window_moves_open_streams() {
    let mut wire = Wire::with(&Config::default(), &[(4, 100)]);
    let id = wire.open(Method::Post, false);
    let mut body = Bytes::from(vec![b'x'; 1000]);
    wire.client.send_data(id, &mut body, true);
    assert_eq!(wire.feed(&settings_frame(&[(4, 40)])), [""; 0]);
    assert_eq!(wire.feed(&window_update(1, 60)), [""; 0], "from -60 to 0");
    assert_eq!(wire.feed(&settings_frame(&[(4, 45)])), ["sendable 1"]);
    assert_eq!(wire.client.sendable(id), 5);
    assert_eq!(wire.client.send_data(id, &mut body, true), 5);
    assert_eq!(wire.feed(&settings_frame(&[(4, 65_535)])), ["sendable 1"]);
}

#[test]
fn windows_that_overflow() {
    let mut wire = Wire::new();
    let id = wire.open(Method::Post, false);
    assert_eq!(wire.feed(&window_update(1, 0x7fff_ffff)), ["malformed 1 the stream's window overflows"]);
    assert_eq!(wire.shown(), ["reset 1 FLOW_CONTROL_ERROR"]);
    assert_eq!(wire.client.sendable(id), 0);
    assert_eq!(wire.fails(&window_update(0, 0x7fff_ffff)), Code::FLOW_CONTROL_ERROR);

    let mut wire = Wire::new();
    wire.open(Method::Post, false);
    wire.feed(&window_update(1, 0x7fff_ffff - 65_535));
    assert_eq!(wire.fails(&settings_frame(&[(4, 65_536)])), Code::FLOW_CONTROL_ERROR);
}

#[test]
fn an_update_by_zero_is_an_error() {
    let mut wire = Wire::new();
    wire.get();
    assert_eq!(wire.feed(&window_update(1, 0)), ["malformed 1 WINDOW_UPDATE by zero"]);
    assert_eq!(wire.shown(), ["reset 1 PROTOCOL_ERROR"]);
    assert_eq!(wire.fails(&window_update(0, 0)), Code::PROTOCOL_ERROR);
}
