//! The end of connections and streams: GOAWAY (RFC 9113 6.8), `RST_STREAM` (6.4), late frames (5.1).

use super::*;
use crate::h2::SendRequestError;

const OK: (&str, &str) = (":status", "200");

#[test]
fn goaway_excludes_the_streams_above_its_last() {
    let mut wire = Wire::new();
    for _ in 0..4 {
        wire.get();
    }
    let events = wire.feed(&go_away(3, Code::NO_ERROR));
    assert_eq!(
        events,
        ["goaway 3 NO_ERROR", "reset 5 REFUSED_STREAM unprocessed", "reset 7 REFUSED_STREAM unprocessed"]
    );
    assert_eq!((wire.client.active(), wire.client.capacity()), (2, 0));
    assert!(wire.client.is_closing());
    assert_eq!(wire.client.send_request(&request(Method::Get), true, 9), Err(SendRequestError::Closing));
    assert_eq!(wire.feed(&go_away(1, Code::NO_ERROR)), ["goaway 1 NO_ERROR", "reset 3 REFUSED_STREAM unprocessed"]);
    let head = wire.headers(1, &[OK], true);
    assert_eq!(wire.feed(&head), ["head 1 200 end"], "what is left goes on");
    assert_eq!(wire.fails(&go_away(3, Code::NO_ERROR)), Code::PROTOCOL_ERROR, "it must not rise");
}

#[test]
fn a_graceful_shutdown_in_two_steps() {
    let mut wire = Wire::new();
    wire.get();
    assert_eq!(wire.feed(&go_away(0x7fff_ffff, Code::NO_ERROR)), ["goaway 2147483647 NO_ERROR"]);
    assert_eq!(wire.client.capacity(), 0);
    assert_eq!(wire.feed(&go_away(1, Code::NO_ERROR)), ["goaway 1 NO_ERROR"]);
    assert_eq!(wire.client.active(), 1);
}

#[test]
fn goaway_of_our_own_lets_open_streams_end() {
    let mut wire = Wire::new();
    wire.get();
    wire.client.go_away(Code::NO_ERROR);
    wire.client.go_away(Code::NO_ERROR);
    assert_eq!(wire.shown(), ["goaway NO_ERROR"]);
    assert_eq!(wire.client.send_request(&request(Method::Get), true, 9), Err(SendRequestError::Closing));
    let head = wire.headers(1, &[OK], true);
    assert_eq!(wire.feed(&head), ["head 1 200 end"]);
    assert_eq!(wire.fails(&window_update(0, 0)), Code::PROTOCOL_ERROR, "another GOAWAY says why");
}

#[test]
fn a_reset_says_whether_the_request_was_processed() {
    let mut wire = Wire::new();
    for _ in 0..3 {
        wire.get();
    }
    assert_eq!(wire.feed(&reset(1, Code::REFUSED_STREAM)), ["reset 1 REFUSED_STREAM unprocessed"]);
    assert_eq!(wire.feed(&reset(3, Code(0xbeef))), ["reset 3 UNKNOWN"]);
    let head = wire.headers(5, &[OK], false);
    wire.feed(&head);
    assert_eq!(
        wire.feed(&reset(5, Code::REFUSED_STREAM)),
        ["reset 5 REFUSED_STREAM"],
        "it answered, so it did process"
    );
    assert_eq!(wire.client.active(), 0);
}

#[test]
fn late_frames_of_a_reset_stream_are_ignored_and_keep_the_state() {
    let mut wire = Wire::new();
    let id = wire.open(Method::Post, false);
    wire.get();
    wire.client.reset(id, Code::CANCEL);
    wire.written();
    // The block changes the dynamic tables of both sides although its stream is closed.
    let indexed = raw(Kind::Headers, flag::END_HEADERS, 1, b"\x88\x40\x03x-a\x01b");
    assert_eq!(wire.feed(&indexed), [""; 0]);
    for frame in [
        data(1, b"late", false),
        raw(Kind::Data, flag::PADDED | flag::END_STREAM, 1, b"\x02late\0\0"),
        window_update(1, 10),
        window_update(1, 0),
        reset(1, Code::CANCEL),
        raw(Kind::Priority, 0, 1, &[0; 5]),
    ] {
        assert_eq!(wire.feed(&frame), [""; 0]);
    }
    assert_eq!(wire.shown(), [""; 0]);
    let head = raw(Kind::Headers, flag::END_HEADERS | flag::END_STREAM, 3, b"\x88\xbe");
    assert_eq!(wire.feed(&head), ["head 3 200 x-a=b end"]);
}

#[test]
fn data_in_flight_when_its_stream_is_reset_is_dropped() {
    let mut wire = Wire::new();
    let id = wire.get();
    wire.get();
    let mut bytes = wire.headers(1, &[OK], false);
    let frame = data(1, &[b'x'; 10_000], true);
    bytes.extend_from_slice(&frame[..5000]);
    assert_eq!(wire.feed(&bytes), ["head 1 200", "data 1 [4991]"]);
    wire.client.reset(id, Code::CANCEL);
    assert_eq!(wire.feed(&frame[5000..9000]), [""; 0]);
    let mut rest = frame[9000..].to_vec();
    rest.extend(wire.headers(3, &[OK], true));
    assert_eq!(wire.feed(&rest), ["head 3 200 end"]);
}

#[test]
fn a_reset_stream_may_send_no_more_than_its_window() {
    let config = Config { initial_stream_window: 1000, ..Config::default() };
    let mut wire = Wire::with(&config, &[]);
    let id = wire.get();
    wire.client.reset(id, Code::CANCEL);
    wire.written();
    assert_eq!(wire.feed(&data(1, &[b'x'; 1000], false)), [""; 0]);
    assert_eq!(wire.fails(&data(1, b"x", false)), Code::STREAM_CLOSED);
}

#[test]
fn data_after_a_complete_response_is_an_error() {
    let mut wire = Wire::new();
    wire.get();
    let head = wire.headers(1, &[OK], true);
    wire.feed(&head);
    assert_eq!(wire.fails(&data(1, b"x", false)), Code::STREAM_CLOSED);
}
