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
    for (payload, most) in [(&b""[..], MAX_CONTINUATIONS), (&[0; 1000], 20)] {
        let mut wire = Wire::with(&config, &[]);
        wire.get();
        wire.feed(&raw(Kind::Headers, 0, 1, &[0x88]));
        let count = taken(&mut wire, &raw(Kind::Continuation, 0, 1, payload), 1000);
        assert_eq!(count, most);
        assert!(wire.client.block.is_none(), "the block is given up");
    }
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
