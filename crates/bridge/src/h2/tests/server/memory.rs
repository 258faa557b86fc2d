//! What a client can make a connection hold.

use super::*;

fn held(wire: &mut Wire) -> usize {
    wire.written();
    wire.server.held()
}

#[test]
fn many_resets_leave_nothing() {
    let mut wire = Wire::with(&ServerConfig { max_streams: 4096, ..ServerConfig::default() }, &[]);
    let before = held(&mut wire);
    for round in 0..3 {
        let streams = (0..4096).map(|number| 2 * (round * 4096 + number) + 1);
        for stream in streams.clone() {
            wire.post(stream);
        }
        assert!(held(&mut wire) > before + 100_000);
        for stream in streams {
            wire.now += Duration::from_millis(50); // not a flood
            wire.feed(&reset(stream, Code::CANCEL));
        }
        assert_eq!(wire.server.active(), 0);
        assert!(held(&mut wire) <= before + 1000, "{} after {before}", held(&mut wire));
    }
}

#[test]
fn a_header_bomb_leaves_nothing() {
    let mut wire = Wire::new();
    let before = held(&mut wire);
    let (large, huge) = ("v".repeat(60_000), "v".repeat(300_000));
    let bombs = [with(&GET, &[("x", &large)]), with(&GET, &[("x", &huge)]), with(&GET, &vec![("x", "y"); 10_000])];
    for (number, bomb) in (0..).zip(bombs) {
        let stream = 2 * number + 1;
        for frame in split(&wire.split_headers(stream, &bomb)) {
            wire.feed(&raw(frame.0.kind, frame.0.flags, stream, &frame.1));
            assert!(held(&mut wire) < before + 150_000, "{}", held(&mut wire));
        }
        wire.server.reset(StreamId(stream), Code::CANCEL);
        assert!(held(&mut wire) <= before + 1000, "{} after {before}", held(&mut wire));
    }
}

/// The table of RFC 7541 makes 4 KB out of each byte that refers to it.
#[test]
fn a_bomb_of_references_is_dropped() {
    let mut wire = Wire::new();
    let before = held(&mut wire);
    let mut block = b"\x82\x84\x87\x41\x09a.example\x40\x01a\x7f\x80\x1e".to_vec();
    block.resize(block.len() + 127 + 30 * 128, b'v');
    block.extend_from_slice(&[0xbe; 12_000]);
    assert!(block.len() <= 16_384);
    assert_eq!(wire.feed(&raw(Kind::Headers, flag::END_HEADERS | flag::END_STREAM, 1, &block)), [""; 0]);
    assert_eq!(wire.shown(), ["reset 1 ENHANCE_YOUR_CALM"]);
    assert!(held(&mut wire) <= before + 10_000, "{} after {before}", held(&mut wire));
}

#[test]
fn an_idle_connection_is_small() {
    let mut wire = Wire::new();
    let id = wire.get(1);
    let mut head = response(200);
    head.fields.push(Known::ContentType, b"text/plain");
    wire.server.send_head(id, &head, false);
    wire.server.send_data(id, &mut Bytes::from_static(b"body"), true);
    assert!(held(&mut wire) < 6000, "{} bytes", held(&mut wire));
}

#[test]
fn output_that_was_sent_leaves_little() {
    let mut wire = Wire::new();
    let before = held(&mut wire);
    let mut head = response(200);
    head.fields.push(Name::Other(b"x-large"), &vec![b'v'; 3000]);
    for number in 0..30 {
        let id = wire.get(2 * number + 1);
        wire.server.send_head(id, &head, false);
        wire.server.send_data(id, &mut Bytes::from(vec![b'x'; 2000]), true);
    }
    assert_eq!(wire.server.active(), 0);
    assert!(held(&mut wire) < before + 6000, "{} after {before}", held(&mut wire));
}

/// A slice would keep the whole read buffer, which a client can fill with other frames.
#[test]
fn small_pieces_of_a_body_keep_no_read_buffer() {
    for (length, is_slice) in [(4096, false), (8191, false), (8192, true)] {
        let mut wire = Wire::new();
        wire.post(1);
        wire.input.extend_from_slice(&data(1, &vec![b'x'; length], false));
        wire.input.extend_from_slice(&raw(Kind::Unknown, 0, 1, &[0; 10_000]));
        let buffer = wire.input.as_ptr_range();
        let event = wire.server.recv(&mut wire.input, wire.now).unwrap();
        let Some(ServerEvent::Data { data, .. }) = event else { panic!("{event:?}") };
        assert_eq!(buffer.contains(&data.as_ptr()), is_slice, "{length} bytes");
    }
}
