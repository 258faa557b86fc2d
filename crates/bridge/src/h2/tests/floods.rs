//! Peers that send many useless frames (RFC 9113 10.5).

use super::*;
use crate::h2::flood::{MAX_CONTINUATIONS, MAX_INTERIM, MAX_PENDING_REPLIES, MAX_USELESS_FRAMES};

const OK: (&str, &str) = (":status", "200");

/// Returns how many of these frames are accepted before the connection ends. The output is flushed after each.
fn taken(wire: &mut Wire, frame: &[u8], most: u32) -> u32 {
    for count in 0..most {
        match wire.try_feed(frame) {
            Ok(events) => assert_eq!(events, [""; 0]),
            Err(error) => {
                assert_eq!(error.code, Code::ENHANCE_YOUR_CALM);
                return count;
            }
        }
        wire.written();
    }
    most
}

#[test]
fn useless_frames_are_counted() {
    let frames = [
        raw(Kind::Ping, 0, 0, &[0; 8]),
        settings_frame(&[]),
        raw(Kind::Settings, flag::ACK, 0, &[]),
        raw(Kind::Priority, 0, 1, &[0; 5]),
        raw(Kind::Unknown, 0, 1, &[]),
        data(1, b"", false),
        window_update(0, 1),
        window_update(1, 1),
    ];
    for frame in frames {
        let mut wire = Wire::new();
        wire.get();
        let head = wire.headers(1, &[OK], false);
        wire.feed(&head);
        wire.feed(&raw(Kind::Settings, flag::ACK, 0, &[]));
        let count = taken(&mut wire, &frame, 20_000);
        assert!(
            (MAX_USELESS_FRAMES - 1..=MAX_USELESS_FRAMES).contains(&count),
            "{count} of {:?}",
            Header::read(&frame)
        );
    }
}

#[test]
fn late_frames_of_closed_streams_are_counted() {
    for frame in [raw(Kind::Headers, flag::END_HEADERS, 1, &[0x88]), data(1, b"", false), reset(1, Code::CANCEL)] {
        let mut wire = Wire::new();
        let id = wire.get();
        wire.client.reset(id, Code::CANCEL);
        assert!(taken(&mut wire, &frame, 20_000) <= MAX_USELESS_FRAMES);
    }
}

#[test]
fn progress_and_ticks_reset_the_count() {
    let mut wire = Wire::new();
    let ping = raw(Kind::Ping, 0, 0, &[0; 8]);
    for _ in 0..3 {
        assert_eq!(taken(&mut wire, &ping, MAX_USELESS_FRAMES - 10), MAX_USELESS_FRAMES - 10);
        wire.client.tick();
    }
    let id = wire.get().number();
    let head = wire.headers(id, &[OK], false);
    wire.feed(&head);
    assert_eq!(taken(&mut wire, &ping, MAX_USELESS_FRAMES - 10), MAX_USELESS_FRAMES - 10);
    wire.feed(&data(id, b"x", true));
    assert_eq!(taken(&mut wire, &ping, MAX_USELESS_FRAMES - 10), MAX_USELESS_FRAMES - 10);
}

#[test]
fn acknowledgements_are_bounded() {
    for frame in [raw(Kind::Ping, 0, 0, &[0; 8]), settings_frame(&[])] {
        let mut wire = Wire::new();
        let frames = frame.repeat(MAX_PENDING_REPLIES as usize);
        assert_eq!(wire.feed(&frames), [""; 0]);
        assert!(wire.client.output().len() < 20_000);
        assert_eq!(wire.try_feed(&frame).unwrap_err().code, Code::ENHANCE_YOUR_CALM);
    }
}

#[test]
fn continuations_are_bounded_in_number_and_bytes() {
    let config = Config { max_header_list: 1000, ..Config::default() };
    // A literal with an empty name and value is three bytes; the last one is a single string.
    let string = [&[0, 0, 0x7f, 0x80, 0xff, 0xff, 0x7f], &[b'v'; 15_000][..]].concat();
    for (first, payload) in [(&b"\x88"[..], vec![]), (b"\x88", vec![0; 15_000]), (&string, vec![b'v'; 15_000])] {
        let mut wire = Wire::with(&config, &[]);
        wire.get();
        wire.feed(&raw(Kind::Headers, 0, 1, first));
        let frame = raw(Kind::Continuation, 0, 1, &payload);
        for _ in 0..MAX_CONTINUATIONS {
            assert_eq!(wire.feed(&frame), [""; 0]);
            let held = wire.client.block.as_ref().unwrap().held();
            assert!(held <= 2 * (4 * 1000 + 16_384), "{held} bytes held");
        }
        assert_eq!(wire.fails(&frame), Code::ENHANCE_YOUR_CALM);
        assert!(wire.client.block.is_none(), "the block is given up");
    }
}

#[test]
fn a_block_too_large_to_keep_ends_its_stream_only() {
    let config = Config { max_header_list: 1000, ..Config::default() };
    let mut wire = Wire::with(&config, &[]);
    for _ in 0..3 {
        wire.get();
    }
    // In the table of both sides, then evicted by the long field.
    let small = wire.headers(1, &[OK, ("user-agent", "a"), ("user-agent", "a")], true);
    assert_eq!(wire.feed(&small), ["head 1 200 user-agent=a user-agent=a end"]);
    let mut block = b"\x88\x40\x01a\x7f\x81\xff\x04".to_vec(); // a string of 81 920 bytes
    block.resize(block.len() + 81_920, b'v');
    block.extend_from_slice(b"\x40\x01b\x01c");
    let parts: Vec<_> = block.chunks(16_000).collect();
    let mut bytes = raw(Kind::Headers, flag::END_STREAM, 3, parts[0]);
    for (index, part) in parts.iter().enumerate().skip(1) {
        let flags = if index == parts.len() - 1 { flag::END_HEADERS } else { 0 };
        bytes.extend(raw(Kind::Continuation, flags, 3, part));
    }
    assert_eq!(wire.feed(&bytes), ["headers too large 3"]);
    let indexed = raw(Kind::Headers, flag::END_HEADERS | flag::END_STREAM, 5, b"\x88\xbe");
    assert_eq!(wire.feed(&indexed), ["head 5 200 b=c end"], "the dynamic table is intact");
    let beyond = raw(Kind::Headers, flag::END_HEADERS | flag::END_STREAM, 5, b"\x88\xbf");
    assert_eq!(wire.fails(&beyond), Code::COMPRESSION_ERROR, "it has nothing else");
}

#[test]
fn interim_responses_are_bounded() {
    let mut wire = Wire::new();
    wire.get();
    let hints = wire.headers(1, &[(":status", "103")], false);
    let events = wire.feed(&hints.repeat(usize::from(MAX_INTERIM) + 1));
    assert_eq!(events.len(), 17);
    assert_eq!(events[16], "malformed 1 too many interim responses");
}
