//! Clients that send many useless frames (RFC 9113 10.5): more than 500 in 10 s, and more than half of all.

use super::*;
use crate::h2::flood::{MAX_CONTINUATIONS, MAX_PENDING_REPLIES};

/// Returns how many of these frames are accepted before the connection ends. The output is flushed after each.
fn taken(wire: &mut Wire, frame: &[u8]) -> u32 {
    for count in 0..10_000 {
        match wire.try_feed(frame) {
            Ok(events) => assert!(events.iter().all(|event| event.starts_with("pong")), "{events:?}"),
            Err(error) => {
                assert_eq!(error.code, Code::ENHANCE_YOUR_CALM, "{error}");
                return count;
            }
        }
        wire.written();
    }
    10_000
}

/// A connection with an upload on stream 1 and with stream 3 closed.
fn uploading() -> Wire {
    let mut wire = Wire::new();
    wire.post(1);
    let id = wire.get(3);
    wire.server.send_head(id, &response(204), true);
    wire.written();
    wire
}

fn useless_frames() -> Vec<Vec<u8>> {
    vec![
        raw(Kind::Ping, 0, 0, &[0; 8]),
        raw(Kind::Ping, flag::ACK, 0, &[0; 8]),
        settings_frame(&[]),
        settings_frame(&[(4, 65_535)]),
        raw(Kind::Settings, flag::ACK, 0, &[]),
        raw(Kind::Priority, 0, 1, &[0; 5]),
        raw(Kind::Priority, 0, 999, &[0; 5]),
        raw(Kind::Unknown, 0, 1, &[]),
        raw(Kind::Unknown, 0, 0, &[0; 100]),
        data(1, b"", false),
        raw(Kind::Data, flag::PADDED, 1, &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        window_update(0, 1),
        window_update(1, 1),
        reset(3, Code::CANCEL),
        window_update(3, 1),
        data(3, b"", false),
        data(3, b"", true),
    ]
}

#[test]
fn useless_frames_are_counted() {
    for frame in useless_frames() {
        let count = taken(&mut uploading(), &frame);
        assert!((498..=500).contains(&count), "{count} of {:?}", Header::read(&frame));
    }
}

#[test]
fn a_client_that_sends_them_slowly_or_among_useful_ones_goes_on() {
    for frame in useless_frames() {
        let (mut slow, mut mixed) = (uploading(), uploading());
        for _ in 0..2000 {
            slow.now += Duration::from_millis(25);
            slow.feed(&frame);
            slow.written();
            mixed.feed(&frame);
            assert_eq!(mixed.feed(&data(1, b"x", false)), ["data 101 x"]);
            mixed.server.release(StreamId(1), 1);
            mixed.written();
        }
    }
}

/// What is sent counts as well as what is received.
#[test]
fn two_useless_frames_for_each_response_are_no_flood() {
    let mut wire = uploading(); // outweighs the SETTINGS
    for number in 2..2000 {
        let request = wire.headers(2 * number + 1, &GET, true);
        let useless = [raw(Kind::Ping, 0, 0, &[0; 8]), raw(Kind::Priority, 0, 1, &[0; 5])].concat();
        assert_eq!(wire.feed(&[request, useless].concat()).len(), 1);
        wire.server.send_head(StreamId(2 * number + 1), &response(204), true);
        wire.written();
    }
}

/// A download in which the client reads 4 KB at a time, and updates both windows for each.
#[test]
fn window_updates_for_what_was_sent_are_not_useless() {
    let mut wire = Wire::new();
    let id = wire.get(1);
    wire.server.send_head(id, &response(200), false);
    wire.written();
    for _ in 0..3000 {
        assert_eq!(wire.server.send_data(id, &mut Bytes::from(vec![b'x'; 16_384]), false), 16_384);
        wire.written();
        let updates = [window_update(0, 4096), window_update(1, 4096)].concat();
        assert_eq!(wire.feed(&updates.repeat(4)), [""; 0]);
    }
    // What was sent does not allow updates without end.
    wire.now += Duration::from_secs(20);
    let updates = [window_update(0, 1), window_update(1, 1)].concat().repeat(10_000);
    assert!((0..5).any(|_| wire.try_feed(&updates).is_err()));
}

#[test]
fn acknowledgements_are_bounded() {
    for frame in [raw(Kind::Ping, 0, 0, &[0; 8]), settings_frame(&[])] {
        let mut wire = uploading();
        let mut sent = 0;
        while wire.try_feed(&[&frame[..], &data(1, b"x", false), &data(1, b"y", false)].concat()).is_ok() {
            wire.server.release(StreamId(1), 2);
            sent += 1;
        }
        assert_eq!(sent, MAX_PENDING_REPLIES, "although most frames are useful");
        assert!(wire.server.output().len() < 40_000);
    }
}

#[test]
fn continuations_are_counted() {
    let mut wire = Wire::new();
    wire.feed(&raw(Kind::Headers, 0, 1, &[0x82]));
    assert_eq!(taken(&mut wire, &raw(Kind::Continuation, 0, 1, &[])), MAX_CONTINUATIONS);
    // Few in each block, in many blocks.
    let mut wire = Wire::new();
    let blocks = (0..1000).take_while(|number| {
        let stream = 2 * number + 1;
        let block = wire.headers(stream, &GET, true)[HEADER_LEN..].to_vec();
        let mut bytes = raw(Kind::Headers, flag::END_STREAM, stream, &block[..1]);
        for byte in &block[1..block.len() - 1] {
            bytes.extend(raw(Kind::Continuation, 0, stream, &[*byte]));
        }
        bytes.extend(raw(Kind::Continuation, 0, stream, &[]).repeat(4));
        bytes.extend(raw(Kind::Continuation, flag::END_HEADERS, stream, &block[block.len() - 1..]));
        let result = wire.try_feed(&bytes);
        if result.is_ok() {
            wire.server.send_head(StreamId(stream), &response(204), true);
            wire.written();
        }
        result.is_ok()
    });
    let blocks = blocks.count();
    assert!((50..125).contains(&blocks), "{blocks}");
}

#[test]
fn a_large_head_in_whole_frames_is_no_flood() {
    let mut config = ServerConfig::default();
    config.limits.max_bytes = 100_000;
    let mut wire = Wire::with(&config, &[]);
    let large = "v".repeat(80_000);
    for number in 0..700 {
        let stream = 2 * number + 1;
        let bytes = wire.split_headers(stream, &with(&GET, &[("x", &large)]));
        assert_eq!(wire.feed(&bytes), [format!("request {stream} Get / end")]);
        wire.server.send_head(StreamId(stream), &response(204), true);
        wire.written();
    }
}

#[test]
fn refused_streams_are_counted_and_a_burst_is_not_a_flood() {
    let mut wire = Wire::with(&ServerConfig { max_streams: 10, ..ServerConfig::default() }, &[]);
    for stream in (1..21).step_by(2) {
        wire.get(stream);
    }
    let refused = (21..3000).step_by(2).take_while(|stream| {
        let head = wire.headers(*stream, &GET, true);
        wire.try_feed(&head).is_ok()
    });
    assert_eq!(refused.count(), 500);
}

/// A reset after the response was sent costs nothing, and is usual for an upload that was answered early.
#[test]
fn resets_after_the_response_are_no_flood() {
    let mut wire = Wire::new();
    let connect = [(":method", "CONNECT"), (":authority", "a.example:443")];
    for number in 0..2000 {
        let id = wire.request(2 * number + 1, &connect, false);
        wire.server.send_head(id, &response(200), false);
        wire.server.send_data(id, &mut Bytes::from_static(b"bye"), true);
        wire.written();
        assert_eq!(wire.feed(&[window_update(0, 3), reset(id.number(), Code::NO_ERROR)].concat()).len(), 1);
    }
}

/// A client that gives its window by single bytes would make each byte of a response a frame (CVE-2019-9511).
#[test]
fn a_window_given_by_single_bytes_is_a_flood() {
    for (step, is_flood) in [(1, true), (60, true), (70, false)] {
        let mut wire = Wire::with(&ServerConfig::default(), &[(4, 0)]);
        let id = wire.get(1);
        wire.server.send_head(id, &response(200), false);
        let mut body = Bytes::from(vec![b'x'; 200_000]);
        wire.server.send_data(id, &mut body, true);
        let rounds = (0..2000).take_while(|_| {
            wire.input.extend_from_slice(&[window_update(0, step), window_update(1, step)].concat());
            while let Ok(Some(_)) = wire.server.recv(&mut wire.input, wire.now) {
                wire.server.send_data(id, &mut body, true);
                wire.written();
            }
            wire.server.recv(&mut wire.input, wire.now).is_ok()
        });
        assert_eq!(rounds.count() < 500, is_flood, "{step} bytes");
    }
    // Small messages are no flood, whatever the client does with its windows.
    let mut wire = Wire::new();
    let id = wire.get(1);
    wire.server.send_head(id, &response(200), false);
    for _ in 0..2000 {
        wire.server.send_data(id, &mut Bytes::from_static(b"message"), false);
        wire.written();
        assert_eq!(wire.feed(&[window_update(0, 7), window_update(1, 7)].concat()), [""; 0]);
    }
}
