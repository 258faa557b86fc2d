//! Responses, valid and malformed.

use super::*;

const OK: (&str, &str) = (":status", "200");

#[test]
fn a_response_with_body_and_its_end() {
    let mut wire = Wire::new();
    let id = wire.get();
    let head = wire.headers(1, &[OK, ("content-length", "5"), ("x-a", "b")], false);
    assert_eq!(wire.feed(&head), ["head 1 200 content-length=5 x-a=b"]);
    assert_eq!(wire.client.open_streams().collect::<Vec<_>>(), [(1, id, true)]);
    assert_eq!(wire.feed(&data(1, b"he", false)), ["data 1 he"]);
    assert_eq!(wire.feed(&data(1, b"llo", true)), ["data 1 llo end"]);
    assert_eq!(wire.client.active(), 0);
    assert_eq!(wire.shown(), [""; 0]);
}

#[test]
fn a_response_in_one_frame_and_one_ended_by_empty_data() {
    let mut wire = Wire::new();
    wire.get();
    wire.get();
    let head = wire.headers(3, &[(":status", "404")], true);
    assert_eq!(wire.feed(&head), ["head 3 404 end"]);
    let head = wire.headers(1, &[OK], false);
    assert_eq!(wire.feed(&head), ["head 1 200"]);
    assert_eq!(wire.feed(&data(1, b"", false)), [""; 0]);
    assert_eq!(wire.feed(&data(1, b"", true)), ["data 1  end"]);
    assert_eq!(wire.client.active(), 0);
}

#[test]
fn interim_responses_come_before_the_head() {
    let mut wire = Wire::new();
    wire.get();
    let mut bytes = wire.headers(1, &[(":status", "103"), ("link", "</a>")], false);
    bytes.extend(wire.headers(1, &[(":status", "100")], false));
    bytes.extend(wire.headers(1, &[OK], true));
    assert_eq!(wire.feed(&bytes), ["interim 1 103 link=</a>", "interim 1 100 ", "head 1 200 end"]);
}

#[test]
fn trailers_end_the_response() {
    let mut wire = Wire::new();
    wire.get();
    let mut bytes = wire.headers(1, &[OK, ("content-length", "2")], false);
    bytes.extend(data(1, b"ab", false));
    bytes.extend(wire.headers(1, &[("grpc-status", "0")], true));
    assert_eq!(wire.feed(&bytes), ["head 1 200 content-length=2", "data 1 ab", "trailers 1 grpc-status=0"]);
    assert_eq!(wire.client.active(), 0);
}

#[test]
fn an_early_response_leaves_the_request_open() {
    let mut wire = Wire::new();
    let id = wire.open(Method::Post, false);
    let head = wire.headers(1, &[(":status", "413")], true);
    assert_eq!(wire.feed(&head), ["head 1 413 end"]);
    assert_eq!(wire.client.active(), 1);
    assert_eq!(wire.client.send_data(id, &mut Bytes::from_static(b"more"), false), 4);
    assert_eq!(wire.feed(&reset(1, Code::NO_ERROR)), ["reset 1 NO_ERROR"]);
    assert_eq!(wire.client.active(), 0);
    let id = wire.open(Method::Post, false);
    let head = wire.headers(3, &[OK], true);
    wire.feed(&head);
    wire.client.send_data(id, &mut Bytes::new(), true);
    assert_eq!(wire.client.active(), 0, "both sides are done");
}

#[test]
fn responses_without_body() {
    let mut wire = Wire::new();
    for (method, status, bytes, expected) in [
        (Method::Head, "200", "", "data # "),
        (Method::Get, "304", "", "data # "),
        (Method::Head, "200", "x", "data # "),
        (Method::Get, "304", "x", "data # "),
        (Method::Get, "204", "x", "data # "),
    ] {
        wire.shown();
        let id = wire.open(method, true).number();
        let length: &[_] = if status == "204" { &[] } else { &[("content-length", "10")] };
        let mut frames = wire.headers(id, &[&[(":status", status)], length].concat(), false);
        frames.extend(data(id, bytes.as_bytes(), true));
        let events = wire.feed(&frames);
        assert_eq!(events.len(), 2, "{events:?}");
        assert!(events[1].starts_with(&expected.replace('#', &id.to_string())), "{events:?}");
        assert!(events[1].ends_with(" end") && !events[1].contains('x'), "{events:?}");
        assert_eq!(wire.client.active(), 0);
        let shown = wire.shown();
        assert_eq!(shown.contains(&format!("reset {id} CANCEL")), !bytes.is_empty(), "{shown:?}");
    }
    let id = wire.open(Method::Head, true).number();
    let head = wire.headers(id, &[OK, ("content-length", "10")], true);
    assert_eq!(wire.feed(&head), [format!("head {id} 200 content-length=10 end")]);
}

/// A truncated body is not reported as complete, and no bytes beyond its length are delivered.
#[test]
fn a_body_of_another_length_is_malformed() {
    for (length, frames) in [
        ("5", vec![data(1, b"hell", true)]),
        ("5", vec![data(1, b"hel", false), data(1, b"", true)]),
        ("5", vec![data(1, b"hello!", false)]),
        ("5", vec![data(1, b"hello", false), data(1, b"!", true)]),
        ("0", vec![data(1, b"x", true)]),
    ] {
        let mut wire = Wire::new();
        wire.get();
        let head = wire.headers(1, &[OK, ("content-length", length)], false);
        wire.feed(&head);
        let events = wire.feed(&frames.concat());
        assert!(events.last().unwrap().starts_with("malformed 1 "), "{events:?}");
        assert!(events.iter().all(|event| !event.ends_with("end") && !event.contains('!')), "{events:?}");
        assert_eq!(wire.shown(), ["reset 1 PROTOCOL_ERROR"]);
        assert_eq!(wire.client.active(), 0);
    }
}

#[test]
fn a_missing_body_or_short_trailers_are_malformed() {
    let mut wire = Wire::new();
    wire.get();
    let head = wire.headers(1, &[OK, ("content-length", "5")], true);
    assert!(wire.feed(&head)[0].starts_with("malformed 1 "));
    assert_eq!(wire.shown(), ["reset 1 PROTOCOL_ERROR"]);
    wire.get();
    let mut bytes = wire.headers(3, &[OK, ("content-length", "5")], false);
    bytes.extend(data(3, b"hell", false));
    bytes.extend(wire.headers(3, &[("x-t", "1")], true));
    assert!(wire.feed(&bytes)[2].starts_with("malformed 3 "));
    assert_eq!(wire.shown(), ["reset 3 PROTOCOL_ERROR"]);
}

/// Lines, and whether they end the stream.
type Section = (&'static [(&'static str, &'static str)], bool);

/// Heads and trailers that violate RFC 9113 8.1 to 8.3.
#[test]
fn malformed_sections_end_their_stream_only() {
    let cases: &[&[Section]] = &[
        &[(&[("x-a", "b")], false)],
        &[(&[(":status", "abc")], false)],
        &[(&[(":status", "099")], false)],
        &[(&[OK, OK], false)],
        &[(&[("x-a", "b"), OK], false)],
        &[(&[OK, (":path", "/")], false)],
        &[(&[OK, ("connection", "close")], false)],
        &[(&[OK, ("transfer-encoding", "chunked")], false)],
        &[(&[OK, ("X-Upper", "1")], false)],
        &[(&[OK, ("x-a", "b\r\nc: d")], false)],
        &[(&[OK, ("content-length", "1"), ("content-length", "2")], false)],
        &[(&[OK, ("content-length", "-1")], false)],
        &[(&[(":status", "101")], false)],
        &[(&[(":status", "100")], true)],
        &[(&[OK], false), (&[("x-t", "1")], false)],
        &[(&[OK], false), (&[(":status", "200")], true)],
    ];
    let mut wire = Wire::new();
    let bystander = wire.get().number();
    for case in cases {
        let id = wire.get().number();
        let mut events = Vec::new();
        for (lines, end) in *case {
            let bytes = wire.headers(id, lines, *end);
            events.extend(wire.feed(&bytes));
        }
        assert!(events.last().unwrap().starts_with(&format!("malformed {id} ")), "{case:?}: {events:?}");
        assert_eq!(wire.shown(), [format!("reset {id} PROTOCOL_ERROR")]);
    }
    let head = wire.headers(bystander, &[OK], true);
    assert_eq!(wire.feed(&head), ["head 1 200 end"]);
}

#[test]
fn unexpected_data_ends_its_stream_only() {
    let mut wire = Wire::new();
    wire.get();
    assert_eq!(wire.feed(&data(1, b"x", false)), ["malformed 1 DATA before the response head"]);
    assert_eq!(wire.shown(), ["reset 1 PROTOCOL_ERROR"]);
    let id = wire.open(Method::Post, false).number();
    let head = wire.headers(id, &[OK], true);
    wire.feed(&head);
    assert_eq!(wire.feed(&data(id, b"x", false)), ["malformed 3 DATA after the end of the message"]);
    assert_eq!(wire.shown(), ["reset 3 STREAM_CLOSED"]);
    let id = wire.open(Method::Post, false).number();
    let head = wire.headers(id, &[OK], true);
    wire.feed(&head);
    let again = wire.headers(id, &[OK], true);
    assert_eq!(wire.feed(&again), ["malformed 5 HEADERS after the end of the response"]);
    assert_eq!(wire.shown(), ["reset 5 STREAM_CLOSED"]);
}

#[test]
fn sections_over_the_limits_end_their_stream_only() {
    let config = Config { max_header_list: 1000, ..Config::default() };
    let mut wire = Wire::with(&config, &[]);
    wire.get();
    wire.get();
    wire.get();
    // `:status: 200` counts 42 bytes, `x-a: 1` counts 36.
    let value = "v".repeat(1000 - 42 - 35 + 1);
    let head = wire.headers(1, &[OK, ("x-a", &value)], true);
    assert_eq!(wire.feed(&head), ["headers too large 1"]);
    assert_eq!(wire.shown(), ["reset 1 CANCEL"]);
    let head = wire.headers(3, &[&[OK][..], &[("x-a", "1"); 27]].concat(), true);
    assert_eq!(wire.feed(&head), ["headers too large 3"]);
    let head = wire.headers(5, &[&[OK][..], &[("x-a", "1"); 26]].concat(), true);
    assert_eq!(wire.feed(&head).len(), 1);
    let id = wire.get().number();
    let head = wire.headers(id, &[OK], false);
    wire.feed(&head);
    let trailers = wire.headers(id, &[("x-a", "1"); 28], true);
    assert_eq!(wire.feed(&trailers), ["headers too large 7"]);
}

/// The size of the section is the only limit.
#[test]
fn a_head_may_have_many_fields() {
    let mut wire = Wire::new();
    wire.get();
    let head = wire.headers(1, &[vec![OK], vec![("x-a", "1"); 1800]].concat(), true);
    let events = wire.feed(&head);
    assert_eq!((events.len(), events[0].matches("x-a=1").count()), (1, 1800));
}

#[test]
fn connect_has_a_body_whatever_its_length_says() {
    let mut wire = Wire::new();
    wire.open(Method::Connect, false);
    let mut bytes = wire.headers(1, &[OK], false);
    bytes.extend(data(1, b"tunnel", false));
    assert_eq!(wire.feed(&bytes), ["head 1 200", "data 1 tunnel"]);
}

#[test]
fn trailers_in_a_tunnel_are_malformed() {
    let mut wire = Wire::new();
    let id = wire.open(Method::Connect, false);
    let head = wire.headers(id.number(), &[(":status", "200")], false);
    wire.feed(&head);
    assert_eq!(wire.feed(&data(1, b"bytes", false)), ["data 1 bytes"]);
    let trailers = wire.headers(1, &[("a", "b")], true);
    assert_eq!(wire.feed(&trailers), ["malformed 1 HEADERS in a tunnel"]);
    assert_eq!(wire.shown(), ["reset 1 PROTOCOL_ERROR"]);
}
