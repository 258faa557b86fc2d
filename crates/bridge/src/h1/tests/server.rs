//! The server role.

use super::*;
use crate::{
    h1::{InvalidHead, Server, ServerConfig, ServerEvent},
    message::ResponseHead,
};

/// A connection of a scripted client.
pub(super) struct Peer {
    pub(super) server: Server,
    input: BytesMut,
}

impl Peer {
    pub(super) fn new() -> Self {
        Self { server: Server::new(&ServerConfig::default()), input: BytesMut::new() }
    }

    pub(super) fn feed(&mut self, bytes: impl AsRef<[u8]>) -> Vec<String> {
        self.input.extend_from_slice(bytes.as_ref());
        let mut events = Vec::new();
        while let Some(event) = self.server.recv(&mut self.input) {
            events.push(show(&event));
        }
        events
    }

    fn eof(&mut self) -> Vec<String> {
        self.server.on_eof();
        self.feed("")
    }

    pub(super) fn head(&mut self, status: u16, more: &[(&str, &str)], end: bool) -> Result<(), InvalidHead> {
        self.server.send_head(&response(status, more), end)
    }

    /// Sends a response with a body and returns what was written.
    pub(super) fn answer(&mut self, status: u16, more: &[(&str, &str)], body: &'static str) -> String {
        self.head(status, more, false).unwrap();
        self.data(body, true);
        self.written()
    }

    pub(super) fn data(&mut self, bytes: &'static str, end: bool) -> usize {
        self.server.send_data(&mut Bytes::from_static(bytes.as_bytes()), end)
    }

    pub(super) fn written(&mut self) -> String {
        drain(self.server.output())
    }
}

fn response(status: u16, more: &[(&str, &str)]) -> ResponseHead {
    let mut head = ResponseHead::new(status);
    for (name, value) in more {
        head.fields.push(Name::from_bytes(name.as_bytes()), value.as_bytes());
        if *name == "content-length" {
            head.content_length = value.parse().ok();
        }
    }
    head
}

fn show(event: &ServerEvent) -> String {
    match event {
        ServerEvent::Request { head, end } => format!("request {}{}", show_fields(&head.fields), ending(*end)),
        ServerEvent::Refused { refusal } => format!("refused: {refusal}"),
        ServerEvent::Data { data, end } => format!("data {:?}{}", text(data), ending(*end)),
        ServerEvent::Trailers { fields } => format!("trailers {}", show_fields(fields)),
        ServerEvent::Malformed { reason } => format!("malformed: {reason}"),
        ServerEvent::Aborted => "aborted".to_owned(),
        ServerEvent::Sendable => "sendable".to_owned(),
    }
}

fn ending(end: bool) -> &'static str {
    if end { " end" } else { "" }
}

const GET: &str = "GET /a HTTP/1.1\r\nHost: o.test\r\n\r\n";
const GET_SHOWN: &str = "request [:method: GET, :scheme: https, :authority: o.test, :path: /a, host: o.test] end";
pub(super) const POST: &str = "POST /a HTTP/1.1\r\nhost: o.test\r\n";

#[test]
fn a_request_becomes_the_neutral_message() {
    let mut peer = Peer::new();
    assert_eq!(peer.feed(GET), [GET_SHOWN]);
    let sent = peer.answer(200, &[("content-length", "2"), ("x-own", "1")], "ok");
    assert_eq!(sent, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-own: 1\r\n\r\nok");
    assert!(peer.server.is_idle() && !peer.server.is_closing());
    assert_eq!(peer.feed("\r\n"), [""; 0], "one empty line");
    assert_eq!(peer.feed(GET), [GET_SHOWN]);
}

#[test]
fn pipelined_requests_are_served_one_after_the_other() {
    let mut peer = Peer::new();
    assert_eq!(peer.feed(format!("{POST}content-length: 2\r\n\r\nab{GET}{GET}"))[1..], ["data \"ab\" end"]);
    peer.answer(200, &[("content-length", "0")], "");
    assert_eq!(peer.feed(""), [GET_SHOWN]);
    assert_eq!(peer.eof(), [""; 0], "a half-closed client is answered");
    peer.head(204, &[], true).unwrap();
    assert_eq!(peer.feed(""), [GET_SHOWN]);
    peer.head(204, &[], true).unwrap();
    assert!(!peer.server.is_closing());
    assert_eq!(peer.feed(""), [""; 0]);
    assert!(peer.server.is_closing());
    assert_eq!(peer.written().matches("HTTP/1.1 ").count(), 2);
}

#[test]
fn a_chunked_request_with_trailers() {
    let mut peer = Peer::new();
    let events = peer.feed(format!("{POST}transfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX-T: 1\r\n\r\n"));
    assert_eq!(events[1..], ["data \"abc\"", "trailers [x-t: 1]"]);
}

#[test]
fn a_response_of_unknown_length_is_chunked() {
    let mut peer = Peer::new();
    peer.feed(GET);
    peer.head(200, &[], false).unwrap();
    assert_eq!(peer.written(), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
    peer.data("abc", false);
    assert_eq!(peer.written(), "3\r\nabc\r\n");
    peer.data("", true);
    assert_eq!(peer.written(), "0\r\n\r\n");
    assert!(peer.server.is_idle() && !peer.server.is_closing());
    peer.feed(GET);
    peer.head(200, &[], true).unwrap();
    assert_eq!(peer.written(), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
}

#[test]
fn responses_without_a_body_have_no_transfer_coding() {
    for (method, status, length, expected) in [
        ("HEAD", 200, None, ""),
        ("HEAD", 200, Some("5"), "content-length: 5\r\n"),
        ("GET", 304, Some("5"), "content-length: 5\r\n"),
        ("GET", 304, None, ""),
        ("GET", 204, Some("5"), ""),
        ("GET", 204, None, ""),
    ] {
        let mut peer = Peer::new();
        peer.feed(GET.replace("GET", method));
        let fields: Vec<_> = length.map(|length| ("content-length", length)).into_iter().collect();
        peer.head(status, &fields, false).unwrap();
        let sent = peer.written();
        assert_eq!(sent.split_once("\r\n").unwrap().1, format!("{expected}\r\n"), "{method} {status} {length:?}");
        assert_eq!((peer.data("dropped", true), peer.written()), (7, String::new()));
        assert!(peer.server.is_idle() && !peer.server.is_closing());
    }
}

#[test]
fn trailers_go_to_clients_that_accept_them() {
    for (te, expected) in [("te: trailers\r\n", "0\r\nx-t: 1\r\n\r\n"), ("", "0\r\n\r\n")] {
        let mut peer = Peer::new();
        peer.feed(format!("GET / HTTP/1.1\r\nhost: h\r\n{te}\r\n"));
        peer.head(200, &[], false).unwrap();
        peer.written();
        peer.server.send_trailers(&response(200, &[("x-t", "1")]).fields);
        assert_eq!(peer.written(), expected);
        assert!(peer.server.is_idle());
    }
}

#[test]
fn clients_of_http_1_0() {
    for (fields, length, expected, closes) in [
        ("", None, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok", true),
        ("", Some("2"), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok", true),
        ("Connection: Keep-Alive\r\n", None, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok", true),
        (
            "Connection: Keep-Alive\r\n",
            Some("2"),
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok",
            false,
        ),
    ] {
        let mut peer = Peer::new();
        assert_eq!(peer.feed(format!("GET / HTTP/1.0\r\nhost: h\r\n{fields}\r\n")).len(), 1);
        peer.server.send_interim(&response(103, &[])).unwrap();
        assert_eq!(peer.written(), "", "HTTP/1.0 has no interim responses");
        let length: Vec<_> = length.map(|length| ("content-length", length)).into_iter().collect();
        assert_eq!(peer.answer(200, &length, "ok"), expected);
        assert_eq!(peer.server.is_closing(), closes);
    }
}

#[test]
fn the_connection_closes_after_the_response_if_the_client_or_the_owner_says_so() {
    let mut peer = Peer::new();
    peer.feed("GET / HTTP/1.1\r\nhost: h\r\nconnection: x, Close\r\n\r\nGET");
    assert!(peer.answer(200, &[("content-length", "0")], "").ends_with("connection: close\r\n\r\n"));
    assert!(peer.server.is_closing());
    assert_eq!(peer.feed(GET), [""; 0]);
    assert!(peer.input.is_empty(), "input is discarded");

    let mut peer = Peer::new();
    peer.feed(GET);
    peer.server.close_after_response(false);
    assert!(!peer.server.is_closing());
    assert!(peer.answer(200, &[("content-length", "0")], "").ends_with("connection: close\r\n\r\n"));
    assert!(peer.server.is_closing());

    let mut peer = Peer::new();
    peer.server.close_after_response(false);
    assert!(peer.server.is_closing());

    let mut peer = Peer::new();
    let (begun, rest) = GET.split_at(9);
    peer.feed(begun);
    peer.server.close_after_response(!peer.input.is_empty());
    assert!(!peer.server.is_closing(), "a head has begun");
    peer.feed(rest);
    assert!(peer.answer(200, &[("content-length", "0")], "").ends_with("connection: close\r\n\r\n"));
    assert!(peer.server.is_closing());
}

#[test]
fn a_response_goes_on_although_the_request_is_not_read() {
    let mut peer = Peer::new();
    peer.feed(format!("{POST}content-length: 2\r\n\r\na"));
    peer.head(200, &[], false).unwrap();
    let mut data = Bytes::from(vec![b'x'; 1_000_000]);
    assert!(peer.server.send_data(&mut data, false) > 0 && !data.is_empty());
    assert!(peer.server.sendable_again().is_none(), "the output is full");
    peer.written();
    assert!(matches!(peer.server.sendable_again(), Some(ServerEvent::Sendable)));
    assert!(peer.server.sendable_again().is_none(), "once");
    assert!(peer.server.send_data(&mut data, false) > 0);
}

#[test]
fn a_100_goes_out_before_the_body() {
    let expect = format!("{POST}content-length: 2\r\nexpect: 100-continue\r\n\r\n");
    let mut peer = Peer::new();
    peer.feed(&expect);
    peer.server.send_interim(&response(100, &[])).unwrap();
    assert_eq!(peer.written(), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(peer.feed("ab"), ["data \"ab\" end"]);
    assert!(!peer.answer(200, &[("content-length", "0")], "").contains("close"));

    let mut peer = Peer::new();
    peer.feed(&expect);
    assert!(peer.answer(403, &[("content-length", "0")], "").ends_with("connection: close\r\n\r\n"));
    assert!(peer.server.is_closing(), "whether the body comes is unknown");
}

#[test]
fn an_early_response_ends_the_connection() {
    let mut peer = Peer::new();
    peer.feed(format!("{POST}content-length: 10\r\n\r\nab"));
    peer.answer(200, &[("content-length", "0")], "");
    assert!(peer.server.is_closing());
    assert_eq!((peer.feed("cdefghij"), peer.input.len()), (vec![], 0));
}

#[test]
fn a_truncated_request_is_never_complete() {
    for body in ["content-length: 3\r\n\r\nab", "transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"] {
        let mut peer = Peer::new();
        let events = peer.feed(format!("{POST}{body}"));
        assert!(!events.iter().any(|event| event.ends_with("end")), "{events:?}");
        assert_eq!(peer.eof(), ["aborted"]);
        peer.answer(400, &[("content-length", "0")], "");
        assert!(peer.server.is_closing());
    }
    let mut peer = Peer::new();
    assert_eq!(peer.feed("GET / HT"), [""; 0]);
    assert_eq!(peer.eof(), [""; 0]);
    assert!(peer.server.is_closing());
}

#[test]
fn a_malformed_body_can_be_answered() {
    let mut peer = Peer::new();
    let events = peer.feed(format!("{POST}transfer-encoding: chunked\r\n\r\n1\r\nab\r\n"));
    assert_eq!(events[1..], ["data \"a\"", "malformed: chunk without CRLF after its data"]);
    let sent = peer.answer(400, &[("content-length", "0")], "");
    assert_eq!(sent, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    assert!(peer.server.is_closing());
}

#[test]
fn a_refused_request_is_answered_and_ends_the_connection() {
    let mut peer = Peer::new();
    let events = peer.feed(format!("GET / HTTP/1.1\r\n\r\n{GET}"));
    assert_eq!(events, ["refused: no host (RFC 9112 3.2)"]);
    assert!(!peer.server.is_idle() && !peer.server.is_closing());
    assert!(peer.answer(400, &[("content-length", "3")], "no\n").ends_with("connection: close\r\n\r\nno\n"));
    assert!(peer.server.is_closing());
}

#[test]
fn tunnels() {
    let connect = "CONNECT o.test:443 HTTP/1.1\r\nhost: o.test:443\r\n\r\nraw";
    let mut peer = Peer::new();
    assert_eq!(peer.feed(connect), ["request [:method: CONNECT, :authority: o.test:443, host: o.test:443]"]);
    peer.head(200, &[("content-length", "5")], false).unwrap();
    assert_eq!(peer.written(), "HTTP/1.1 200 OK\r\n\r\n");
    assert_eq!(peer.feed(""), ["data \"raw\""]);
    peer.data("down", false);
    assert_eq!(peer.eof(), ["data \"\" end"]);
    assert!(!peer.server.is_closing());
    peer.data("", true);
    assert_eq!(peer.written(), "down");
    assert!(peer.server.is_closing());

    let mut peer = Peer::new();
    peer.feed(connect);
    assert!(peer.answer(403, &[("content-length", "0")], "").contains("connection: close"));
    assert!(peer.server.is_closing(), "the bytes after the head are no request");
}

const UPGRADE: &str = "GET /w HTTP/1.1\r\nhost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn an_upgrade_to_websocket_becomes_extended_connect() {
    let mut peer = Peer::new();
    let events = peer.feed(format!("{UPGRADE}raw"));
    let expected = "request [:protocol: websocket, :method: CONNECT, :scheme: https, :authority: h, :path: /w, ";
    assert!(events[0].starts_with(expected) && !events[0].ends_with("end"), "{events:?}");
    peer.head(200, &[("x-own", "1")], false).unwrap();
    let expected = [
        "HTTP/1.1 101 Switching Protocols",
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "x-own: 1",
        "",
        "",
    ];
    assert_eq!(peer.written(), expected.join("\r\n"));
    assert_eq!(peer.feed(""), ["data \"raw\""]);
    peer.data("", true);
    assert!(peer.server.wants_shutdown() && peer.server.is_tunnel());

    let mut peer = Peer::new();
    peer.feed(format!("{UPGRADE}{GET}"));
    peer.answer(403, &[("content-length", "2")], "no");
    assert_eq!(peer.feed(""), [GET_SHOWN], "a refused upgrade was an ordinary request");
}

#[test]
fn other_upgrades_are_ordinary_requests() {
    for other in [
        UPGRADE.replace("Upgrade: WebSocket", "Upgrade: h2c"),
        UPGRADE.replace("Upgrade: WebSocket", "Upgrade: websocket, h2c"),
        UPGRADE.replace("Upgrade: WebSocket", "Upgrade: websocket\r\nUpgrade: h2c"),
        UPGRADE.replace(", Upgrade", ""),
        UPGRADE.replace("GET", "POST"),
        UPGRADE.replace("HTTP/1.1", "HTTP/1.0"),
        UPGRADE.replace("Key: ", "Key: x"),
        UPGRADE.replace("Sec", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec"),
        UPGRADE.replace("Sec-WebSocket-Key", "x"),
    ] {
        let mut peer = Peer::new();
        assert!(peer.feed(&other)[0].ends_with("end"), "{other}");
        peer.head(200, &[], true).unwrap();
        assert!(!peer.server.is_tunnel());
    }
    let mut config = ServerConfig::default();
    config.rules.extended_connect = false;
    let mut peer = Peer::new();
    peer.server.configure(&config);
    assert!(peer.feed(UPGRADE)[0].ends_with("end"));
}

#[test]
fn heads_that_cannot_be_sent() {
    for (status, fields, end) in [
        (200, ("x", "a\r\nb"), true),
        (200, ("a b", "c"), true),
        (103, ("x", "1"), true),
        (101, ("x", "1"), true),
        (1000, ("x", "1"), true),
        (200, ("content-length", "5"), true),
    ] {
        let mut peer = Peer::new();
        peer.feed(GET);
        assert_eq!(peer.head(status, &[fields], end), Err(InvalidHead), "{status} {fields:?}");
        assert_eq!(peer.written(), "");
        peer.head(200, &[], true).unwrap();
        assert_eq!(peer.head(200, &[], true), Err(InvalidHead), "a second head");
    }
}

#[test]
fn a_body_that_breaks_its_length_is_never_complete() {
    for (bytes, end) in [("a", true), ("abc", false)] {
        let mut peer = Peer::new();
        peer.feed(GET);
        peer.head(200, &[("content-length", "2")], false).unwrap();
        peer.data(bytes, end);
        assert!(peer.server.is_closing());
        assert!(!peer.written().ends_with("ab"));
    }
}
