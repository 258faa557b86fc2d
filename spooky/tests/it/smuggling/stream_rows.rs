//! Requests of HTTP/2 and HTTP/3 clients that are malformed, or that an HTTP/1.1 backend would read differently if they were
//! copied.
//!
//! Each has 48 bytes of data, which as HTTP/1.1 would be the end of a chunked body and a request.

use super::rig::{Expected, LAST_CHUNK_AND_SMUGGLED};
use super::stream_heads::{FORWARDED_HEADS, MALFORMED_HEADS, REFUSED_HEADS};

/// The protocol of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http2,
    Http3,
}

/// A part of a stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part<'a> {
    Fields(Vec<(&'a str, &'a str)>),
    Data(&'a [u8]),
}

/// A request and its verdict.
pub(super) struct Row {
    pub(super) parts: Vec<Part<'static>>,
    pub(super) expected: Expected,
}

type Field = (&'static str, &'static str);

/// Fields that make a request malformed.
const MALFORMED_FIELDS: &[Field] = &[
    // Fields that belong to a connection.
    ("transfer-encoding", "chunked"),
    ("transfer-encoding", "identity"),
    ("transfer-encoding", ""),
    ("connection", "transfer-encoding"),
    ("connection", "close"),
    ("connection", ""),
    ("keep-alive", "timeout=5"),
    ("upgrade", "h2c"),
    ("upgrade", "websocket"),
    ("proxy-connection", "keep-alive"),
    ("te", "chunked"),
    ("te", "gzip"),
    ("te", "trailers, chunked"),
    ("te", ""),
    // Names.
    ("Transfer-Encoding", "chunked"),
    ("Content-Length", "0"),
    ("X", "y"),
    ("x-Upper", "y"),
    ("transfer-encoding ", "chunked"),
    (" transfer-encoding", "chunked"),
    ("transfer encoding", "chunked"),
    ("transfer-encoding\t", "chunked"),
    ("transfer-encoding:", "chunked"),
    ("transfer-encoding: chunked\r\nx", "y"),
    ("x: y\r\ntransfer-encoding", "chunked"),
    ("x\r\n\r\nGET /smuggled HTTP/1.1\r\nhost", "localhost"),
    ("x: y\ntransfer-encoding", "chunked"),
    ("x\r", "y"),
    ("x\n", "y"),
    ("x\0", "y"),
    ("\0", "y"),
    ("", "y"),
    ("x:y", "z"),
    ("x/y", "z"),
    ("x(y)", "z"),
    ("x[y]", "z"),
    ("x{y}", "z"),
    ("x,y", "z"),
    ("x;y", "z"),
    ("x=y", "z"),
    ("x@y", "z"),
    ("x\"y", "z"),
    ("x\\y", "z"),
    ("x\u{7f}", "y"),
    ("\u{e9}", "y"),
    // Pseudo-fields behind others: `x` stands before them.
    (":path", "/smuggled"),
    (":method", "GET"),
    (":authority", "other.test"),
    (":scheme", "http"),
    (":status", "200"),
    (":protocol", "websocket"),
    (":unknown", "x"),
    (":", "x"),
    (":transfer-encoding", "chunked"),
    // Values.
    ("x", "a\r\ntransfer-encoding: chunked"),
    ("x", "a\r\ncontent-length: 0"),
    ("x", "a\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: localhost"),
    ("x", "a\ntransfer-encoding: chunked"),
    ("x", "a\rtransfer-encoding: chunked"),
    ("x", "a\r\n b"),
    ("x", "a\0b"),
    ("x", "\0"),
    ("x", "\r\n"),
    ("x", "a\u{1}b"),
    ("x", "a\u{b}b"),
    ("x", "a\u{7f}b"),
    ("x", " a"),
    ("x", "a "),
    ("x", "\ta"),
    ("x", "a\t"),
    ("x", " "),
    ("cookie", "a=b\r\ntransfer-encoding: chunked"),
    ("user-agent", "a\r\n\r\nGET /smuggled HTTP/1.1"),
    ("host", "localhost\r\ntransfer-encoding: chunked"),
    ("host", ""),
    ("host", " localhost"),
    // Lengths.
    ("content-length", "+48"),
    ("content-length", "-48"),
    ("content-length", "48 "),
    ("content-length", " 48"),
    ("content-length", "4 8"),
    ("content-length", "0x30"),
    ("content-length", "48,48"),
    ("content-length", "48, 48"),
    ("content-length", "48, 0"),
    ("content-length", ""),
    ("content-length", "forty-eight"),
    ("content-length", "48.0"),
    ("content-length", "48e0"),
    ("content-length", "48;"),
    ("content-length", "\"48\""),
    ("content-length", "48\r\nx: y"),
    ("content-length", "48\0"),
    ("content-length", "\u{ff14}\u{ff18}"),
    ("content-length", "18446744073709551664"),
    ("content-length", "99999999999999999999999"),
];

/// Fields that are legal or removed, and what arrives.
const FORWARDED_FIELDS: &[(Field, &str)] = &[
    (("content-length", "48"), "POST /a [x: y, content-length: 48]"),
    (("content-length", "048"), "POST /a [x: y, content-length: 48]"),
    (("transfer_encoding", "chunked"), "POST /a [x: y]"),
    (("content_length", "0"), "POST /a [x: y]"),
    (("te", "trailers"), "POST /a [x: y, te: trailers]"),
    (("trailer", "content-length"), "POST /a [x: y]"),
    (("host", "localhost"), "POST /a [x: y]"),
    (("host", "LOCALHOST:443"), "POST /a [x: y]"),
    (("x-transfer-encoding", "chunked"), "POST /a [x: y, x-transfer-encoding: chunked]"),
    (("transfer-encoding-x", "chunked"), "POST /a [x: y, transfer-encoding-x: chunked]"),
    (("expect", "100-continue"), "POST /a [x: y, expect: 100-continue]"),
    (("x", "transfer-encoding: chunked"), "POST /a [x: y, x: transfer-encoding: chunked]"),
    (("x", "a\tb"), "POST /a [x: y, x: a\tb]"),
    (("x", ""), "POST /a [x: y, x: ]"),
    (("x", "\u{e9}"), "POST /a [x: y, x: \u{c3}\u{a9}]"),
    (("http2-settings", "AAMAAABk"), "POST /a [x: y, http2-settings: AAMAAABk]"),
];

/// Two fields `content-length`, and whether they are malformed.
const PAIRS_OF_LENGTHS: &[([&str; 2], bool)] =
    &[(["48", "0"], true), (["0", "48"], true), (["48", ""], true), (["48", "+48"], true), (["48", "48"], false)];

/// Lengths that differ from that of the data.
const OTHER_LENGTHS: &[&str] = &["0", "1", "5", "47", "49", "1000"];

/// Trailers that make a request malformed.
const MALFORMED_TRAILERS: &[Field] = &[
    ("transfer-encoding", "chunked"),
    ("connection", "close"),
    ("upgrade", "h2c"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "close"),
    (":path", "/smuggled"),
    (":method", "GET"),
    (":status", "200"),
    (":unknown", "x"),
    ("X", "y"),
    ("x y", "z"),
    ("", "y"),
    ("x", "a\r\nb: c"),
    ("x", "a\r\n\r\nGET /smuggled HTTP/1.1"),
    ("x", "a\nb"),
    ("x", "a\0"),
    ("x", " a"),
    ("x\r\ntransfer-encoding", "chunked"),
];

/// Trailers that are legal or removed, and what arrives.
const TRAILERS: &[(Field, &str)] = &[
    (("x", "y"), "[x: y]"),
    (("content-length", "0"), "[]"),
    (("content-length", "+1"), "[]"),
    (("host", "other.test"), "[]"),
    (("transfer_encoding", "chunked"), "[]"),
    (("te", "chunked"), "[]"),
    (("trailer", "x"), "[]"),
    (("x-forwarded-for", "192.0.2.1"), "[]"),
];

const POST: [Field; 4] = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/a")];
const BODY: Part<'static> = Part::Data(LAST_CHUNK_AND_SMUGGLED);

impl Row {
    pub(super) fn is_head(&self) -> bool {
        matches!(self.parts.first(), Some(Part::Fields(head)) if head.contains(&(":method", "HEAD")))
    }
}

fn forwarded(head: &'static str, trailers: &'static str) -> Expected {
    Expected::Forwarded { head, body: LAST_CHUNK_AND_SMUGGLED, trailers }
}

/// Returns a POST with further fields, data, and trailers.
fn post(more: &[Field], trailers: Option<Field>, expected: Expected) -> Row {
    let head = Part::Fields([&POST[..], &[("x", "y")], more].concat());
    let trailers = trailers.map(|field| Part::Fields(vec![field]));
    Row { parts: [head, BODY].into_iter().chain(trailers).collect(), expected }
}

/// Returns all rows for clients of a protocol.
pub(super) fn rows(protocol: Protocol) -> Vec<Row> {
    let whole = |head: &[Field], expected| Row { parts: vec![Part::Fields(head.to_vec()), BODY], expected };
    let mut all: Vec<_> = MALFORMED_FIELDS.iter().map(|field| post(&[*field], None, Expected::Malformed)).collect();
    all.extend(MALFORMED_HEADS.iter().map(|head| whole(head, Expected::Malformed)));
    all.extend(REFUSED_HEADS.iter().map(|(head, status)| whole(head, Expected::Refused(*status))));
    all.extend(FORWARDED_HEADS.iter().map(|(head, arrives)| whole(head, forwarded(arrives, "[]"))));
    all.extend(FORWARDED_FIELDS.iter().map(|(field, head)| post(&[*field], None, forwarded(head, "[]"))));
    all.extend(PAIRS_OF_LENGTHS.iter().map(|(values, is_malformed)| {
        let expected =
            if *is_malformed { Expected::Malformed } else { forwarded("POST /a [x: y, content-length: 48]", "[]") };
        post(&values.map(|value| ("content-length", value)), None, expected)
    }));
    all.extend(OTHER_LENGTHS.iter().map(|length| post(&[("content-length", length)], None, Expected::CutOff)));
    all.extend(MALFORMED_TRAILERS.iter().map(|field| post(&[], Some(*field), Expected::CutOff)));
    all.extend(TRAILERS.iter().map(|(field, trailers)| post(&[], Some(*field), forwarded("POST /a [x: y]", trailers))));
    all.extend(sequences(protocol));
    all
}

/// Returns requests whose parts are in a wrong order, or whose data comes in several parts.
fn sequences(protocol: Protocol) -> Vec<Row> {
    let head = |more: &[Field]| Part::Fields([&POST[..], more].concat());
    let trailers = || Part::Fields(vec![("x", "y")]);
    let length = |value| head(&[("content-length", value)]);
    // In HTTP/3 a frame in a wrong place ends the connection (RFC 9114 section 4.1).
    let misplaced = || if protocol == Protocol::Http3 { Expected::Closed } else { Expected::CutOff };
    let row = |parts: &[Part<'static>], expected| Row { parts: parts.to_vec(), expected };
    let (five, rest) = LAST_CHUNK_AND_SMUGGLED.split_at(5);
    let (five, rest) = (Part::Data(five), Part::Data(rest));
    let whole = |head| Expected::Forwarded { head, body: LAST_CHUNK_AND_SMUGGLED, trailers: "[]" };
    vec![
        row(&[head(&[]), BODY, trailers(), BODY], misplaced()),
        row(&[head(&[]), BODY, trailers(), trailers()], misplaced()),
        row(&[head(&[]), BODY, head(&[])], Expected::CutOff),
        row(&[length("48")], Expected::Malformed),
        row(&[length("18446744073709551615")], Expected::Malformed),
        row(&[length("5"), five.clone(), rest.clone()], Expected::CutOff),
        row(&[length("0"), Part::Data(b""), BODY], Expected::CutOff),
        row(
            &[length("5"), five.clone(), trailers()],
            Expected::Forwarded { head: "POST /a [content-length: 5]", body: b"0\r\n\r\n", trailers: "[]" },
        ),
        row(&[length("48"), five.clone(), trailers()], Expected::CutOff),
        row(&[length("48"), five.clone(), rest.clone()], whole("POST /a [content-length: 48]")),
        row(&[length("48"), Part::Data(b""), BODY, Part::Data(b"")], whole("POST /a [content-length: 48]")),
        row(&[head(&[]), five, Part::Data(b""), rest], whole("POST /a []")),
        row(
            &[head(&[]), Part::Data(b""), Part::Data(b"")],
            Expected::Forwarded { head: "POST /a []", body: b"", trailers: "[]" },
        ),
    ]
}

/// Requests whose data is longer than their length: what is sent first, which has that length, and what is sent later.
pub(super) fn longer_than_their_length() -> Vec<(Vec<Part<'static>>, Vec<Part<'static>>)> {
    let (five, rest) = LAST_CHUNK_AND_SMUGGLED.split_at(5);
    let head = |length| Part::Fields([&POST[..], &[("content-length", length)]].concat());
    vec![
        (vec![head("0")], vec![BODY]),
        (vec![head("0"), Part::Data(b"")], vec![BODY]),
        (vec![head("5"), Part::Data(five)], vec![Part::Data(rest)]),
        (vec![head("5"), Part::Data(five), Part::Data(b"")], vec![Part::Data(rest)]),
        (vec![head("48"), BODY], vec![BODY]),
    ]
}
