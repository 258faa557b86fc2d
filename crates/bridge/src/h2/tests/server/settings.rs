//! SETTINGS (RFC 9113 6.5), PING (6.7), and what other limits of this side mean.

use super::*;
use crate::message::check::HeadLimits;

#[test]
fn settings_are_acknowledged_and_unknown_ones_ignored() {
    let mut wire = Wire::silent(&ServerConfig::default());
    wire.written();
    assert_eq!(wire.feed(&[PREFACE, &settings_frame(&[(0x4242, 7), (2, 1), (3, 0), (8, 1)])].concat()), [""; 0]);
    assert_eq!(wire.shown(), ["settings ack"]);
    assert_eq!(wire.feed(&raw(Kind::Settings, 0xfe, 0, &[])), [""; 0], "undefined flags");
    assert_eq!(wire.shown(), ["settings ack"]);
}

#[test]
fn settings_out_of_range() {
    for (setting, value, code) in [
        (2, 2, Code::PROTOCOL_ERROR),
        (4, 0x8000_0000, Code::FLOW_CONTROL_ERROR),
        (5, 16_383, Code::PROTOCOL_ERROR),
        (5, 1 << 24, Code::PROTOCOL_ERROR),
        (8, 2, Code::PROTOCOL_ERROR),
    ] {
        assert_eq!(Wire::new().fails(&settings_frame(&[(setting, value)])), code, "{setting} = {value}");
    }
}

#[test]
fn the_header_table_of_the_client_is_used_as_it_allows() {
    let mut wire = Wire::with(&ServerConfig::default(), &[(1, 0)]);
    let mut head = response(200);
    head.fields.push(Known::ContentType, b"text/plain");
    for stream in [1, 3, 5] {
        let id = wire.get(stream);
        wire.server.send_head(id, &head, true);
    }
    let frames = split(&wire.written());
    let lengths: Vec<usize> = frames.iter().map(|(_, block)| block.len()).collect();
    assert_eq!(lengths[0], lengths[1] + 1, "the size update comes first");
    assert_eq!(lengths[1], lengths[2], "nothing enters the table");
}

#[test]
fn our_header_table_size_holds_once_acknowledged() {
    let config = ServerConfig { header_table_size: 0, ..ServerConfig::default() };
    let mut wire = Wire::silent(&config);
    wire.feed(&[PREFACE, &settings_frame(&[])].concat());
    let indexed = with(&GET, &[("user-agent", "a")]);
    for stream in [1, 3, 5] {
        let head = wire.headers(stream, &indexed, true);
        assert_eq!(wire.feed(&head), [format!("request {stream} Get / end")]);
    }
    wire.feed(&raw(Kind::Settings, flag::ACK, 0, &[]));
    let head = wire.headers(7, &indexed, true);
    assert_eq!(wire.fails(&head), Code::COMPRESSION_ERROR, "a size update is due");
}

#[test]
fn larger_frames_are_sent_where_the_client_takes_them() {
    let mut wire = Wire::with(&ServerConfig::default(), &[(5, 30_000)]);
    let id = wire.get(1);
    let mut head = response(200);
    head.fields.push(Name::Other(b"x-large"), &vec![b'v'; 40_000]);
    wire.server.send_head(id, &head, false);
    wire.server.send_data(id, &mut Bytes::from(vec![b'x'; 40_000]), true);
    let lengths: Vec<u32> = split(&wire.written()).iter().map(|(header, _)| header.len).collect();
    assert_eq!(lengths.len(), 4);
    assert_eq!((lengths[0], &lengths[2..]), (30_000, &[30_000, 10_000][..]));
}

/// The list size is advice (RFC 9113 6.5.2): a response that the client does not take is better than none.
#[test]
fn a_head_is_sent_whatever_the_client_says_of_its_size() {
    let mut wire = Wire::with(&ServerConfig::default(), &[(6, 10)]);
    let id = wire.get(1);
    wire.server.send_head(id, &response(200), false);
    wire.server.send_trailers(id, &fields(&[("grpc-status", "0")]));
    assert_eq!(wire.shown(), ["headers 1 :status=200", "headers 1 grpc-status=0 end"]);
}

#[test]
fn pings_both_ways() {
    let mut wire = Wire::new();
    assert_eq!(wire.feed(&raw(Kind::Ping, 0, 0, b"12345678")), [""; 0]);
    assert_eq!(wire.shown(), [format!("ping 1 {:?}", b"12345678")]);
    wire.server.ping(42);
    assert_eq!(wire.shown(), [format!("ping 0 {:?}", 42_u64.to_be_bytes())]);
    assert_eq!(wire.feed(&raw(Kind::Ping, flag::ACK, 0, &42_u64.to_be_bytes())), ["pong 42"]);
}

#[test]
fn extended_connect_only_where_it_was_announced() {
    let lines = with(&[(":method", "CONNECT"), (":protocol", "websocket")], &GET[1..]);
    let mut config = ServerConfig::default();
    Wire::with(&config, &[]).request(1, &lines, false);
    config.rules.extended_connect = false;
    let mut wire = Wire::with(&config, &[]);
    let head = wire.headers(1, &lines, false);
    assert_eq!(wire.feed(&head), ["malformed head 1 unknown pseudo-header"]);
}

#[test]
fn other_limits_hold_for_further_requests() {
    let mut wire = Wire::new();
    let large = "v".repeat(1000);
    let head = wire.headers(1, &with(&GET, &[("x", &large)]), true);
    assert_eq!(wire.feed(&head), ["request 1 Get / end"]);
    let config = ServerConfig::default();
    wire.server.configure(HeadLimits { max_bytes: 500, ..config.limits }, config.rules);
    let head = wire.headers(3, &with(&GET, &[("x", &large)]), true);
    assert_eq!(wire.feed(&head), ["refused 3 request headers exceed size limit end"]);
}
