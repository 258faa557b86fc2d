//! Connection errors (RFC 9113 5.4.1), and errors that must stay those of a stream.

use super::*;

#[test]
fn frames_of_a_wrong_length() {
    let frames = [
        raw(Kind::Ping, 0, 0, &[0; 7]),
        raw(Kind::Settings, 0, 0, &[0; 5]),
        raw(Kind::Settings, flag::ACK, 0, &[0; 6]),
        raw(Kind::GoAway, 0, 0, &[0; 7]),
        raw(Kind::RstStream, 0, 1, &[0; 3]),
        raw(Kind::WindowUpdate, 0, 0, &[0; 3]),
        raw(Kind::WindowUpdate, 0, 1, &[0; 5]),
        raw(Kind::Priority, 0, 5, &[0; 4]),
        raw(Kind::Data, 0, 1, &vec![0; 16_385]),
        raw(Kind::Headers, flag::END_HEADERS, 3, &vec![0; 16_385]),
        raw(Kind::Unknown, 0, 0, &vec![0; 16_385]),
        raw(Kind::Data, flag::PADDED, 1, &[]),
    ];
    for frame in frames {
        let mut wire = Wire::new();
        wire.post(1);
        assert_eq!(wire.fails(&frame), Code::FRAME_SIZE_ERROR, "{:?}", Header::read(&frame));
    }
}

#[test]
fn frames_on_the_wrong_stream() {
    let frames = [
        // Frames that need a stream.
        data(0, b"x", false),
        raw(Kind::Headers, flag::END_HEADERS, 0, &[0x82]),
        reset(0, Code::CANCEL),
        raw(Kind::Priority, 0, 0, &[0; 5]),
        // Frames that must be on stream 0.
        raw(Kind::Settings, 0, 1, &[]),
        raw(Kind::Ping, 0, 1, &[0; 8]),
        raw(Kind::GoAway, 0, 1, &[0; 8]),
        // Idle streams: not opened yet, or those of a server.
        data(3, b"x", false),
        data(2, b"x", false),
        raw(Kind::Headers, flag::END_HEADERS, 2, &[0x82]),
        reset(3, Code::CANCEL),
        reset(2, Code::CANCEL),
        window_update(3, 1),
        window_update(2, 1),
        // Never allowed.
        raw(Kind::PushPromise, flag::END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
        raw(Kind::Continuation, flag::END_HEADERS, 1, &[0x82]),
    ];
    for frame in frames {
        let mut wire = Wire::new();
        wire.post(1);
        assert_eq!(wire.fails(&frame), Code::PROTOCOL_ERROR, "{:?}", Header::read(&frame));
    }
}

#[test]
fn a_priority_is_ignored_on_any_stream_and_with_any_content() {
    let mut wire = Wire::new();
    wire.post(3);
    for stream in [1, 2, 3, 5] {
        // Depends on itself, which RFC 9113 no longer calls an error.
        let payload = [&u32::to_be_bytes(stream)[..], &[255]].concat();
        assert_eq!(wire.feed(&raw(Kind::Priority, 0, stream, &payload)), [""; 0]);
    }
    assert_eq!(wire.feed(&raw(Kind::Priority, 0, 3, &[0; 6])), ["malformed 103 PRIORITY of a wrong length"]);
    assert_eq!(wire.shown(), ["reset 3 FRAME_SIZE_ERROR"]);
    let block = wire.headers(5, &GET, true);
    let padded = [&[3][..], &[0; 5], &block[HEADER_LEN..], &[0; 3]].concat();
    let flags = flag::PADDED | flag::PRIORITY | flag::END_HEADERS | flag::END_STREAM;
    assert_eq!(wire.feed(&raw(Kind::Headers, flags, 5, &padded)), ["request 5 Get / end"]);
}

#[test]
fn padding_longer_than_its_frame() {
    for (kind, stream, payload) in [
        (Kind::Data, 1, &[5, 0, 0, 0, 0][..]),
        (Kind::Data, 1, &[1]),
        (Kind::Headers, 3, &[4, 0x82, 0, 0]),
        (Kind::Headers, 3, &[]),
    ] {
        let mut wire = Wire::new();
        wire.post(1);
        assert_eq!(wire.fails(&raw(kind, flag::PADDED | flag::END_HEADERS, stream, payload)), Code::PROTOCOL_ERROR);
    }
}

#[test]
fn a_field_block_may_be_split_but_not_interrupted() {
    let pieces = |wire: &mut Wire| {
        let block = wire.headers(1, &GET, true)[HEADER_LEN..].to_vec();
        let part = |kind, flags, range: std::ops::Range<usize>| raw(kind, flags, 1, &block[range]);
        let middle = block.len() - 1;
        (
            part(Kind::Headers, flag::END_STREAM, 0..1),
            [part(Kind::Continuation, 0, 1..1), part(Kind::Continuation, 0, 1..middle)].concat(),
            part(Kind::Continuation, flag::END_HEADERS, middle..block.len()),
        )
    };
    let mut wire = Wire::new();
    let (head, middle, last) = pieces(&mut wire);
    assert_eq!(wire.feed(&[head, middle, last].concat()), ["request 1 Get / end"]);
    for intruder in [
        raw(Kind::Ping, 0, 0, &[0; 8]),
        raw(Kind::Unknown, 0, 1, &[]),
        data(1, b"x", false),
        raw(Kind::Headers, flag::END_HEADERS, 1, &[]),
        raw(Kind::Headers, flag::END_HEADERS, 3, &[]),
        raw(Kind::Continuation, flag::END_HEADERS, 3, &[]),
    ] {
        let mut wire = Wire::new();
        let (head, ..) = pieces(&mut wire);
        assert_eq!(wire.feed(&head), [""; 0]);
        assert_eq!(wire.fails(&intruder), Code::PROTOCOL_ERROR);
    }
}

#[test]
fn blocks_that_cannot_be_decoded() {
    for block in [&b"\xbe"[..], b"\x40", b"\x04\x81\xff", b"\x82\x20", b"\x3f\xff\xff\x7f"] {
        for stream in [1, 3] {
            let mut wire = Wire::new();
            wire.post(1);
            let frame = raw(Kind::Headers, flag::END_HEADERS | flag::END_STREAM, stream, block);
            assert_eq!(wire.fails(&frame), Code::COMPRESSION_ERROR, "as a head and as trailers");
        }
    }
}

/// Everything that makes this side reset a stream leaves the connection and its other streams alone.
#[test]
fn errors_of_a_stream_stay_there() {
    type Frames = fn(&mut Wire) -> Vec<u8>;
    let cases: [(Frames, &str); 6] = [
        (|_| window_update(1, 0), "PROTOCOL_ERROR"),
        (|_| window_update(1, 0x7fff_ffff), "FLOW_CONTROL_ERROR"),
        (|_| data(1, &[0; 1001], false), "FLOW_CONTROL_ERROR"),
        (|_| [data(1, b"", true), data(1, b"x", false)].concat(), "STREAM_CLOSED"),
        (|wire| [data(1, b"", true), wire.headers(1, &[("a", "b")], true)].concat(), "STREAM_CLOSED"),
        (|wire| wire.headers(1, &[(":path", "/")], true), "PROTOCOL_ERROR"),
    ];
    let config = ServerConfig { initial_stream_window: 1000, ..ServerConfig::default() };
    for (bytes, code) in cases {
        let mut wire = Wire::with(&config, &[]);
        wire.post(1);
        wire.post(3);
        let bytes = bytes(&mut wire);
        let events = wire.feed(&bytes);
        assert!(events.last().unwrap().starts_with("malformed 101 "), "{events:?}");
        assert_eq!(wire.shown(), [format!("reset 1 {code}")]);
        assert_eq!(wire.server.active(), 1);
        assert_eq!(wire.feed(&data(3, b"fine", true)), ["data 103 fine end"]);
    }
}
