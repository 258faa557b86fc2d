//! Preface, heads, bodies and trailers of requests.

use super::*;

#[test]
fn the_connection_opens_with_settings_and_window() {
    let mut wire = Wire::silent(&ServerConfig::default());
    let frames = split(&wire.written());
    let (settings, payload) = &frames[0];
    assert_eq!((settings.kind, settings.flags, settings.stream), (Kind::Settings, 0, 0));
    let list = 16_384 + 128 * 32;
    let expected = [(1_u16, 4096_u32), (4, 262_144), (5, 16_384), (6, list), (3, 100), (8, 1)];
    assert_eq!(*payload, settings_frame(&expected)[HEADER_LEN..]);
    assert_eq!(
        show_frame(&mut wire.decoder, frames[1].0, &frames[1].1),
        format!("window 0 {}", 16 * 1024 * 1024 - 65_535)
    );
    let mut without = ServerConfig::default();
    without.rules.extended_connect = false;
    let frames = split(&Wire::silent(&without).written());
    assert_eq!(frames[0].1, settings_frame(&expected[..5])[HEADER_LEN..], "RFC 8441 is announced only if allowed");
}

#[test]
fn the_client_preface_comes_first() {
    for cut in 0..PREFACE.len() {
        let mut wire = Wire::silent(&ServerConfig::default());
        assert_eq!(wire.feed(&PREFACE[..cut]), [""; 0]);
        let rest = [&PREFACE[cut..], &settings_frame(&[])].concat();
        assert_eq!(wire.feed(&rest), [""; 0]);
        assert!(wire.server.is_ready());
        let mut wire = Wire::silent(&ServerConfig::default());
        wire.feed(&PREFACE[..cut]);
        assert_eq!(
            wire.fails(b"GET / HTTP/1.1\r\n"[..].strip_prefix(&PREFACE[cut..=cut]).unwrap_or(b"?")),
            Code::PROTOCOL_ERROR
        );
    }
    let mut wire = Wire::silent(&ServerConfig::default());
    wire.feed(PREFACE);
    assert_eq!(wire.fails(&raw(Kind::Ping, 0, 0, &[0; 8])), Code::PROTOCOL_ERROR, "SETTINGS are due");
}

#[test]
fn a_request_and_its_body() {
    let mut wire = Wire::new();
    assert_eq!(wire.get(1).number(), 1);
    let head = wire.headers(3, &with(&POST, &[("content-length", "8")]), false);
    assert_eq!(wire.feed(&head), ["request 3 Post /"]);
    assert_eq!(wire.feed(&data(3, b"four", false)), ["data 103 four"]);
    assert_eq!(wire.feed(&data(3, b"more", true)), ["data 103 more end"]);
    assert_eq!(wire.server.active(), 2);
}

#[test]
fn trailers_end_a_request() {
    let mut wire = Wire::new();
    wire.post(1);
    wire.feed(&data(1, b"body", false));
    let trailers = wire.headers(1, &[("x-sum", "1")], true);
    assert_eq!(wire.feed(&trailers), ["trailers 101 x-sum=1"]);
    for (lines, end, reason) in [
        (&[("x-sum", "1")][..], false, "trailers that do not end the stream"),
        (&[(":path", "/")], true, "pseudo-header in trailers"),
        (&[("X-Sum", "1")], true, "upper-case letter in a field name"),
        (&[("connection", "close")], true, "field that belongs to a connection"),
    ] {
        let mut wire = Wire::new();
        wire.post(1);
        let trailers = wire.headers(1, lines, end);
        assert_eq!(wire.feed(&trailers), [format!("malformed 101 {reason}")]);
        assert_eq!(wire.shown(), ["reset 1 PROTOCOL_ERROR"]);
        wire.get(3);
    }
}

#[test]
fn a_body_has_the_announced_length() {
    let head = with(&POST, &[("content-length", "5")]);
    for (frames, reason) in [
        (vec![data(1, b"four", true)], "body shorter than its content-length"),
        (vec![data(1, b"sixsix", false)], "body longer than its content-length"),
        (vec![data(1, b"four", false), data(1, b"", true)], "body shorter than its content-length"),
    ] {
        let mut wire = Wire::new();
        wire.request(1, &head, false);
        let events = wire.feed(&frames.concat());
        assert_eq!(events.last().map(String::as_str), Some(&*format!("malformed 101 {reason}")));
        assert_eq!(wire.shown(), ["reset 1 PROTOCOL_ERROR"]);
    }
    let mut wire = Wire::new();
    wire.request(1, &head, false);
    let trailers = wire.headers(1, &[("x-sum", "1")], true);
    assert_eq!(wire.feed(&trailers), ["malformed 101 body shorter than its content-length"]);
    let head = wire.headers(3, &head, true);
    assert_eq!(wire.feed(&head), ["malformed head 3 body shorter than its content-length"]);
    assert_eq!(wire.shown(), ["reset 1 PROTOCOL_ERROR", "reset 3 PROTOCOL_ERROR"]);
}

#[test]
fn malformed_heads_end_their_stream_only() {
    for (lines, reason) in [
        (&GET[..3], "no :scheme or no :path"),
        (&with(&GET, &[("connection", "close")]), "field that belongs to a connection"),
        (&with(&GET, &[("te", "gzip")]), "te is not trailers"),
        (&with(&GET, &[(":protocol", "websocket")]), ":protocol without CONNECT"),
    ] {
        let mut wire = Wire::new();
        let head = wire.headers(1, lines, false);
        assert_eq!(wire.feed(&head), [format!("malformed head 1 {reason}")]);
        assert_eq!(wire.shown(), ["reset 1 PROTOCOL_ERROR"]);
        assert_eq!(wire.server.active(), 0);
        assert_eq!(wire.feed(&data(1, b"in flight", true)), [""; 0], "the client does not know yet");
        wire.get(3);
    }
}

#[test]
fn heads_over_the_limits_are_refused_and_far_over_them_reset() {
    let mut config = ServerConfig::default();
    config.limits.max_bytes = 1000;
    config.limits.max_fields = 10;
    let many: Vec<_> = (0..20).map(|_| ("x", "y")).collect();
    let (large, huge) = ("v".repeat(3900), "v".repeat(5300));
    let mut wire = Wire::with(&config, &[]);
    for (id, lines, event) in [
        (1, with(&GET, &many), "refused 1 too many request headers end"),
        (3, with(&GET, &[("x", &large)]), "refused 3 request headers exceed size limit end"),
    ] {
        let head = wire.headers(id, &lines, true);
        assert_eq!(wire.feed(&head), [event]);
        wire.server.send_head(StreamId(id), &response(431), true);
        assert_eq!(wire.shown(), [format!("headers {id} :status=431 end")]);
    }
    let head = wire.headers(5, &with(&GET, &[("x", &huge)]), true);
    assert_eq!(wire.feed(&head), [""; 0]);
    assert_eq!(wire.shown(), ["reset 5 ENHANCE_YOUR_CALM"]);
    assert_eq!(wire.server.active(), 0);
    wire.get(7);
}

#[test]
fn streams_over_the_limit_are_refused() {
    let mut wire = Wire::with(&ServerConfig { max_streams: 2, ..ServerConfig::default() }, &[]);
    let first = wire.get(1);
    wire.get(3);
    let head = wire.headers(5, &with(&GET, &[("user-agent", "in the table")]), true);
    assert_eq!(wire.feed(&head), [""; 0]);
    assert_eq!(wire.shown(), ["reset 5 REFUSED_STREAM"]);
    wire.server.send_head(first, &response(204), true);
    let head = wire.headers(7, &with(&GET, &[("user-agent", "in the table")]), true);
    assert_eq!(wire.feed(&head), ["request 7 Get / end"], "the dynamic table is intact");
}

/// Reserved bits, undefined flags and unknown codes mean nothing (RFC 9113 4.1, 7).
#[test]
fn what_has_no_meaning_is_ignored() {
    let mut wire = Wire::new();
    let mut head = wire.headers(1, &POST, false);
    head[4] |= 0xd2;
    head[5] |= 0x80;
    assert_eq!(wire.feed(&head), ["request 1 Post /"]);
    let mut body = data(1, &[b'x'; 16_384], false);
    body[4] |= 0xf6;
    body[5] |= 0x80;
    assert_eq!(wire.feed(&body), ["data 101 [16384]"]);
    let mut update = window_update(1, 1);
    update[5] |= 0x80;
    update[HEADER_LEN] |= 0x80;
    assert_eq!(wire.feed(&update), [""; 0]);
    assert_eq!(wire.feed(&reset(1, Code(0xbeef))), ["reset 101 UNKNOWN"]);
    assert_eq!(wire.feed(&go_away(0, Code(0xbeef))), ["goaway UNKNOWN"]);
    let debug = [&[0; 8][..], b"text for people"].concat();
    assert_eq!(wire.feed(&raw(Kind::GoAway, 0, 0, &debug)), ["goaway NO_ERROR"]);
    wire.get(3);
}
