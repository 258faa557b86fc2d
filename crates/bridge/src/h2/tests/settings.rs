//! SETTINGS (RFC 9113 6.5) and PING (6.7).

use super::{super::SendRequestError, *};

#[test]
fn settings_are_acknowledged_and_unknown_ones_ignored() {
    let mut wire = Wire::silent(&Config::default());
    wire.written();
    assert_eq!(wire.feed(&settings_frame(&[(0x4242, 7), (2, 0)])), ["ready"]);
    assert!(wire.client.is_ready());
    assert_eq!(wire.shown(), ["settings ack"]);
    assert_eq!(wire.client.capacity(), 4096, "unlimited for the peer, not for us");
    assert_eq!(wire.feed(&settings_frame(&[])), [""; 0]);
    assert_eq!(wire.shown(), ["settings ack"]);
    assert_eq!(wire.feed(&raw(Kind::Settings, flag::ACK, 0, &[])), [""; 0]);
    assert_eq!(wire.shown(), [""; 0]);
}

#[test]
fn settings_out_of_range() {
    for (setting, value, code) in [
        (2, 1, Code::PROTOCOL_ERROR),
        (2, 2, Code::PROTOCOL_ERROR),
        (4, 0x8000_0000, Code::FLOW_CONTROL_ERROR),
        (5, 16_383, Code::PROTOCOL_ERROR),
        (5, 1 << 24, Code::PROTOCOL_ERROR),
        (8, 2, Code::PROTOCOL_ERROR),
    ] {
        assert_eq!(Wire::new().fails(&settings_frame(&[(setting, value)])), code, "{setting} = {value}");
    }
}

/// A peer that receives more resets the stream, some peers the connection (RFC 9113 6.5.2).
#[test]
fn no_section_is_larger_than_the_peer_accepts() {
    let size = request(Method::Post).fields.section_size() as u32;
    let mut wire = Wire::with(&Config::default(), &[(6, size)]);
    let id = wire.client.send_request(&request(Method::Post), false, 1).unwrap();
    let mut larger = request(Method::Post);
    larger.fields.push(Name::Other(b""), b"");
    assert_eq!(wire.client.send_request(&larger, true, 3), Err(SendRequestError::HeadersTooLarge));
    assert_eq!(wire.client.active(), 1);
    wire.written();
    let trailers = |value: &str| fields(&[("x-sum", value)]);
    let most = "v".repeat(size as usize - 32 - 5);
    assert!(!wire.client.send_trailers(id, &trailers(&(most.clone() + "v"))));
    assert_eq!(wire.shown(), [""; 0], "nothing was sent");
    assert!(wire.client.send_trailers(id, &trailers(&most)));
    assert_eq!(wire.shown(), [format!("headers 1 x-sum={most} end")]);
    // The limit applies from the next section on.
    wire.feed(&settings_frame(&[(6, size + 32)]));
    assert!(wire.client.send_request(&larger, true, 5).is_ok());
    assert!(Wire::new().client.send_request(&larger, true, 1).is_ok(), "without the setting there is no limit");
}

#[test]
fn extended_connect_is_announced_and_never_withdrawn() {
    let mut wire = Wire::new();
    let mut websocket = request(Method::Connect);
    websocket.fields.push(Known::Protocol, b"websocket");
    assert_eq!(wire.client.send_request(&websocket, false, 1), Err(SendRequestError::NoExtendedConnect));
    wire.feed(&settings_frame(&[(8, 1)]));
    assert!(wire.client.send_request(&websocket, false, 1).is_ok());
    assert_eq!(wire.fails(&settings_frame(&[(8, 0)])), Code::PROTOCOL_ERROR);
}

#[test]
fn larger_frames_are_sent_where_the_peer_takes_them() {
    let mut wire = Wire::with(&Config::default(), &[(5, 30_000)]);
    let id = wire.open(Method::Post, false);
    wire.client.send_data(id, &mut Bytes::from(vec![b'x'; 40_000]), true);
    assert_eq!(wire.shown(), ["data 1 30000", "data 1 10000 end"]);
}

#[test]
fn a_header_table_size_is_followed_by_the_next_block() {
    let mut wire = Wire::new();
    for _ in 0..3 {
        wire.client.send_request(&request(Method::Get), true, 1).unwrap();
    }
    let indexed = wire.frames().pop().unwrap();
    assert_eq!(indexed.1.len(), 4, "all of it is in the tables: {indexed:?}");
    wire.feed(&settings_frame(&[(1, 0)]));
    wire.feed(&settings_frame(&[(1, 200)]));
    wire.written();
    wire.client.send_request(&request(Method::Get), true, 1).unwrap();
    let (_, block) = wire.frames().pop().unwrap();
    assert_eq!(block[..4], [0x20, 0x3f, 0xa9, 0x01], "to 0, then to 200");
    let mut decoder = Decoder::new(4096);
    decoder.set_limit(200);
    assert_eq!(decoder.decode(&block, &mut Fields::new(), 1000), Ok(true));
}

#[test]
fn our_header_table_size_holds_once_acknowledged() {
    let config = Config { header_table_size: 0, ..Config::default() };
    let mut wire = Wire::with(&config, &[]);
    wire.get();
    wire.get();
    wire.feed(&raw(Kind::Settings, flag::ACK, 0, &[]));
    let mut head = wire.block(&[(":status", "200")]);
    head.insert(0, 0x20);
    let head = raw(Kind::Headers, flag::END_HEADERS | flag::END_STREAM, 1, &head);
    assert_eq!(wire.feed(&head), ["head 1 200 end"]);
    let grown = raw(Kind::Headers, flag::END_HEADERS | flag::END_STREAM, 3, &[0x3f, 0x01, 0x88]);
    assert_eq!(wire.fails(&grown), Code::COMPRESSION_ERROR);
}

#[test]
fn pings_both_ways() {
    let mut wire = Wire::new();
    assert_eq!(wire.feed(&raw(Kind::Ping, 0, 0, b"12345678")), [""; 0]);
    assert_eq!(wire.shown(), [format!("ping 1 {:?}", b"12345678")]);
    wire.client.ping(42);
    assert_eq!(wire.shown(), [format!("ping 0 {:?}", 42_u64.to_be_bytes())]);
    assert_eq!(wire.feed(&raw(Kind::Ping, flag::ACK, 0, &42_u64.to_be_bytes())), ["pong 42"]);
}
