//! Connection errors (RFC 9113 5.4.1).

use super::*;

#[test]
fn the_first_frame_must_be_settings() {
    for first in [
        raw(Kind::Ping, 0, 0, &[0; 8]),
        raw(Kind::Settings, flag::ACK, 0, &[]),
        window_update(0, 1),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
    ] {
        let mut wire = Wire::silent(&Config::default());
        assert_eq!(wire.fails(&first), Code::PROTOCOL_ERROR);
    }
}

#[test]
fn frames_of_a_wrong_length() {
    let frames = [
        raw(Kind::Ping, 0, 0, &[0; 7]),
        raw(Kind::Ping, 0, 0, &[0; 9]),
        raw(Kind::Settings, 0, 0, &[0; 5]),
        raw(Kind::Settings, flag::ACK, 0, &[0; 6]),
        raw(Kind::GoAway, 0, 0, &[0; 7]),
        raw(Kind::RstStream, 0, 1, &[0; 3]),
        raw(Kind::RstStream, 0, 1, &[0; 5]),
        raw(Kind::WindowUpdate, 0, 0, &[0; 3]),
        raw(Kind::WindowUpdate, 0, 1, &[0; 5]),
        raw(Kind::Priority, 0, 3, &[0; 4]),
        raw(Kind::Data, 0, 1, &vec![0; 16_385]),
        raw(Kind::Unknown, 0, 0, &vec![0; 16_385]),
    ];
    for frame in frames {
        let mut wire = Wire::new();
        wire.get();
        assert_eq!(wire.fails(&frame), Code::FRAME_SIZE_ERROR, "{:?}", Header::read(&frame));
    }
}

#[test]
fn frames_on_the_wrong_stream() {
    let settings = raw(Kind::Settings, 0, 1, &[]);
    let frames = [
        // Frames that need a stream.
        data(0, b"x", false),
        raw(Kind::Headers, flag::END_HEADERS, 0, &[0x88]),
        reset(0, Code::CANCEL),
        raw(Kind::Priority, 0, 0, &[0; 5]),
        // Frames that must be on stream 0.
        settings,
        raw(Kind::Ping, 0, 1, &[0; 8]),
        raw(Kind::GoAway, 0, 1, &[0; 8]),
        // Idle streams: not opened yet, or the peer's own.
        data(3, b"x", false),
        data(2, b"x", false),
        raw(Kind::Headers, flag::END_HEADERS, 3, &[0x88]),
        raw(Kind::Headers, flag::END_HEADERS, 2, &[0x88]),
        reset(3, Code::CANCEL),
        reset(2, Code::CANCEL),
        window_update(3, 1),
        window_update(2, 1),
        // Never allowed.
        raw(Kind::PushPromise, flag::END_HEADERS, 1, &[0, 0, 0, 2, 0x82]),
    ];
    for frame in frames {
        let mut wire = Wire::new();
        wire.get();
        assert_eq!(wire.fails(&frame), Code::PROTOCOL_ERROR, "{:?}", Header::read(&frame));
    }
}

#[test]
fn padding_longer_than_its_frame() {
    for (kind, payload) in [
        (Kind::Data, &[5, 0, 0, 0, 0][..]),
        (Kind::Data, &[1]),
        (Kind::Headers, &[4, 0x88, 0, 0]),
        (Kind::Headers, &[]),
    ] {
        let mut wire = Wire::new();
        wire.get();
        assert_eq!(wire.fails(&raw(kind, flag::PADDED | flag::END_HEADERS, 1, payload)), Code::PROTOCOL_ERROR);
    }
}

#[test]
fn a_field_block_may_be_split_but_not_interrupted() {
    let pieces = |wire: &mut Wire| {
        let block = wire.block(&[(":status", "200"), ("x-a", "0123456789")]);
        let padded = [&[1, 0, 0, 0, 0, 7][..], &block[..3], &[0]].concat();
        let flags = flag::PADDED | flag::PRIORITY | flag::END_STREAM;
        let head = raw(Kind::Headers, flags, 1, &padded);
        (head, raw(Kind::Continuation, 0, 1, &block[3..5]), block[5..].to_vec())
    };
    let mut wire = Wire::new();
    wire.get();
    let (head, middle, last) = pieces(&mut wire);
    let last = raw(Kind::Continuation, flag::END_HEADERS, 1, &last);
    assert_eq!(wire.feed(&[head, middle, last].concat()), ["head 1 200 x-a=0123456789 end"]);
    assert_eq!(wire.client.active(), 0);

    for intruder in [
        raw(Kind::Ping, 0, 0, &[0; 8]),
        raw(Kind::Unknown, 0, 1, &[]),
        data(1, b"x", false),
        raw(Kind::Headers, flag::END_HEADERS, 1, &[]),
        raw(Kind::Continuation, flag::END_HEADERS, 3, &[]),
    ] {
        let mut wire = Wire::new();
        wire.get();
        wire.get();
        let (head, ..) = pieces(&mut wire);
        assert_eq!(wire.feed(&head), [""; 0]);
        assert_eq!(wire.fails(&intruder), Code::PROTOCOL_ERROR);
    }
    let mut wire = Wire::new();
    wire.get();
    assert_eq!(wire.fails(&raw(Kind::Continuation, flag::END_HEADERS, 1, &[0x88])), Code::PROTOCOL_ERROR);
}

#[test]
fn malformed_blocks_are_connection_errors() {
    for block in [&b"\xbe"[..], b"\x40", b"\x04\x81\xff"] {
        let mut wire = Wire::new();
        wire.get();
        let frame = raw(Kind::Headers, flag::END_HEADERS, 1, block);
        assert_eq!(wire.fails(&frame), Code::COMPRESSION_ERROR);
    }
}

#[test]
fn errors_say_what_and_where() {
    let mut wire = Wire::new();
    let error = wire.try_feed(&window_update(0, 0)).unwrap_err();
    assert_eq!(error.to_string(), "WINDOW_UPDATE by zero (PROTOCOL_ERROR (0x1), RFC 9113 6.9)");
    assert_eq!(Code(0xd).to_string(), "HTTP_1_1_REQUIRED (0xd)");
}
