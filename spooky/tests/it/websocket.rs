//! WebSocket: extended CONNECT from clients (docs/reference/behaviour.md#websocket-connect-and-grpc).

use bytes::Bytes;
use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::client::qpack;
use spooky_testkit::client::raw::{Connection, End, Request};
use spooky_testkit::external::ExternalOrigin;
use spooky_testkit::origin::Origin;
use spooky_testkit::program;
use spooky_testkit::rogue::{Fault, Rogue, Script, Step, fields};

use crate::proxy::Proxy;

/// The fields of a handshake by extended CONNECT.
fn handshake<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Bytes {
    let mut head = vec![
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("sec-websocket-version", "13"),
    ];
    head.extend_from_slice(more);
    frame::headers(&head)
}

/// Sends bytes and waits until the origin has echoed them.
async fn echo(socket: &mut Request, bytes: &[u8]) {
    socket.write(&frame::frame(kind::DATA, bytes)).await;
    let mut heard = Vec::new();
    while heard.len() < bytes.len() {
        let frame = socket.frames.next().await.unwrap();
        assert_eq!(frame.kind, kind::DATA);
        heard.extend_from_slice(&frame.payload);
    }
    assert_eq!(heard, bytes);
}

#[tokio::test]
async fn an_http3_client_opens_a_websocket_at_an_http2_backend() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.greeted().await;
    let more = [("origin", "https://localhost"), ("sec-websocket-protocol", "chat"), ("sec-websocket-key", "made up")];
    let mut socket = connection.request(&handshake("/echo?x=1", &more), false).await;
    assert_eq!(socket.frames.next().await.unwrap().kind, kind::HEADERS);
    echo(&mut socket, b"hello").await;
    echo(&mut socket, &vec![7; 100_000]).await;
    socket.end();
    let answer = socket.answer().await.unwrap();
    assert_eq!((answer.body.len(), origin.journal().now().resets.len()), (0, 0), "both directions end in order");
    let seen = origin.journal().last();
    assert_eq!((&*seen.method, &*seen.path, &*seen.authority), ("CONNECT", "/echo?x=1", "localhost"));
    assert_eq!(seen.count("sec-websocket-key"), 0, "the key is of HTTP/1.1 only");
    for (name, value) in [
        (":protocol", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat"),
        ("via", "3.0 spooky"),
    ] {
        assert_eq!(seen.field(name), Some(value), "{name}");
    }
    proxy.stop().await;
}

/// Opens a WebSocket and has a text echoed by a server that speaks HTTP/1.1.
async fn chat(connection: &Connection, path: &str) {
    // A masked text frame with the key 0, and the same without mask (RFC 6455 section 5.2).
    let (sent, answered) = (b"\x81\x85\0\0\0\0hello", b"\x81\x05hello");
    let mut socket = connection.request(&handshake(path, &[("sec-websocket-protocol", "chat")]), false).await;
    let head = socket.frames.next().await.unwrap();
    assert_eq!(head.kind, kind::HEADERS);
    let fields = qpack::decode(&head.payload).unwrap();
    let value = |name: &str| fields.iter().find(|field| field.0 == name).map(|field| &*field.1);
    assert_eq!((value(":status"), value("sec-websocket-protocol")), (Some("200"), Some("chat")));
    assert_eq!([value("upgrade"), value("connection"), value("sec-websocket-accept")], [None; 3]);
    socket.write(&frame::frame(kind::DATA, sent)).await;
    assert_eq!(&socket.frames.next().await.unwrap().payload[..], answered);
    // A close frame with the code 1000; the server answers it and ends.
    socket.write(&frame::frame(kind::DATA, b"\x88\x82\0\0\0\0\x03\xe8")).await;
    assert_eq!(&socket.answer().await.unwrap().body[..], b"\x88\x02\x03\xe8");
}

#[tokio::test]
async fn an_http3_client_opens_a_websocket_at_an_http1_backend() {
    let Some(python) = program::require_python() else { return };
    let origin = ExternalOrigin::script(&python, "ws_echo.py").await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.greeted().await;
    for _ in 0..3 {
        chat(&connection, "/chat").await;
    }
    let refused = connection.request(&handshake("/refuse", &[]), false).await.answer().await.unwrap();
    assert_eq!((refused.statuses(), &*refused.body), (vec!["403"], &b"not here\n"[..]));
    proxy.stop().await;
}

#[tokio::test]
async fn an_http2_client_opens_a_websocket_at_backends_of_both_protocols() {
    let Some(python) = program::require_python() else { return };
    let (old, new) = (ExternalOrigin::script(&python, "ws_echo.py").await, Origin::h2c().await);
    let proxy =
        Proxy::start(|settings| settings.upstream("new", "/", &[new.url()]).upstream("old", "/old", &[old.url()]))
            .await;
    let mut connection = proxy.http2().await;
    let mut socket = connection.websocket("/old").await.unwrap();
    assert_eq!(socket.status, 200);
    socket.send(b"\x81\x85\0\0\0\0hello").unwrap();
    assert_eq!(&socket.data().await.unwrap().unwrap()[..], b"\x81\x05hello");
    socket.send(b"\x88\x82\0\0\0\0\x03\xe8").unwrap();
    assert_eq!(&socket.data().await.unwrap().unwrap()[..], b"\x88\x02\x03\xe8");
    assert_eq!(socket.data().await.unwrap(), None);
    let mut tunnel = connection.websocket("/new").await.unwrap();
    tunnel.send(b"anything").unwrap();
    assert_eq!((tunnel.status, &tunnel.data().await.unwrap().unwrap()[..]), (200, &b"anything"[..]));
    assert_eq!(connection.websocket("/status/403").await.unwrap().status, 403);
    assert_eq!(connection.get("/").await.unwrap().text(), "hello", "the connection goes on");
    drop((connection, tunnel, socket));
    proxy.stop().await;
}

#[tokio::test]
async fn an_http1_client_opens_a_websocket_at_an_http2_backend() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let mut socket = proxy.http1().await;
    // The key and its answer are the example of RFC 6455 section 1.3.
    let handshake = "GET /chat HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                     sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.send(handshake).await;
    let head = socket.try_head().await.unwrap();
    assert_eq!((head.status(), &*head.field("upgrade")), (101, "websocket"));
    assert_eq!(head.field("sec-websocket-accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    socket.send("anything").await;
    socket.end().await;
    assert_eq!(socket.rest().await.unwrap(), b"anything", "both directions end in order");
    let seen = origin.journal().last();
    assert_eq!((&*seen.method, &*seen.path, seen.field(":protocol")), ("CONNECT", "/chat", Some("websocket")));
    proxy.stop().await;
}

#[tokio::test]
async fn a_backend_without_extended_connect_gets_websockets_by_http1_and_the_rest_by_http2() {
    let (Some(python), Some(nginx)) = (program::require_python(), program::require("nginx")) else { return };
    let authority = Authority::new();
    let files = Files::write(&authority, &authority.issue(&["127.0.0.1"]));
    let server = ExternalOrigin::script(&python, "ws_echo.py").await;
    let origin = ExternalOrigin::nginx_before(&nginx, server.addr(), &files).await;
    let tls = format!("tls: {{ ca_file: \"{}\" }}", files.ca.display());
    let proxy = Proxy::start(|settings| settings.upstream_with("all", "/", &[origin.url()], &tls)).await;
    let connection = proxy.greeted().await;
    for _ in 0..2 {
        chat(&connection, "/ws").await; // the first one waits for a connection, the second finds one that is open
        let page = connection.request(&frame::get("/page-10"), true).await.answer().await.unwrap();
        let via = page.sections[0].iter().find(|(name, _)| name == "via").map(|(_, value)| value.as_str());
        assert_eq!((page.statuses(), via), (vec!["200"], Some("2.0 spooky")));
    }
    let mut http2 = proxy.http2().await;
    let mut socket = http2.websocket("/ws").await.unwrap();
    socket.send(b"\x81\x85\0\0\0\0hello").unwrap();
    assert_eq!((socket.status, &socket.data().await.unwrap().unwrap()[..]), (200, &b"\x81\x05hello"[..]));
    drop((socket, http2));
    proxy.stop().await;
}

#[tokio::test]
async fn a_backend_that_must_speak_http2_without_extended_connect_takes_no_websocket() {
    let rogue = Rogue::answering(vec![Step::Head(fields(&[(":status", "200")]), true)]).await;
    let proxy = Proxy::start(|settings| settings.protocol("h2").upstream("all", "/", &[rogue.url()])).await;
    let connection = proxy.greeted().await;
    assert_eq!(connection.request(&frame::get("/"), true).await.answer().await.unwrap().statuses(), ["200"]);
    let answer = connection.request(&handshake("/", &[]), false).await.answer().await.unwrap();
    assert_eq!((answer.statuses(), &*answer.body), (vec!["502"], &b"upstream error\n"[..]));
    assert_eq!(rogue.journal().now().requests.len(), 1);
    proxy.stop().await;
}

#[tokio::test]
async fn policy_and_routing_see_a_websocket_as_a_get() {
    let origin = Origin::h2c().await;
    let policy = "resilience:\n  protocol: { allowed_methods: [GET], denied_path_prefixes: [/ws/denied] }";
    let proxy = Proxy::start_edited(
        |settings| settings.upstream("all", "/ws", &[origin.url()]).block(policy),
        |text| text.replace("path_prefix: \"/ws\"", "path_prefix: \"/ws\", method: GET"),
    )
    .await;
    assert!(proxy.settings.text().contains("path_prefix: \"/ws\""));
    let connection = proxy.greeted().await;
    let ask = async |head: Bytes| {
        let answer = connection.request(&head, true).await.answer().await.unwrap();
        answer.statuses()[0].to_owned()
    };
    assert_eq!(ask(handshake("/ws/a", &[])).await, "200");
    assert_eq!(ask(handshake("/ws/denied", &[])).await, "403");
    assert_eq!(ask(handshake("/other", &[])).await, "404");
    let tunnel = [
        (":method", "CONNECT"),
        (":protocol", "connect-udp"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/ws/a"),
    ];
    assert_eq!(ask(frame::headers(&tunnel)).await, "405", "WebSocket is the only protocol");
    let plain = frame::headers(&[(":method", "CONNECT"), (":authority", "localhost:443")]);
    assert_eq!(ask(plain).await, "405");
    assert_eq!(origin.journal().now().requests.len(), 1);
    proxy.stop().await;
}

#[tokio::test]
async fn without_allow_websocket_it_is_neither_announced_nor_accepted() {
    const H3_MESSAGE_ERROR: u64 = 0x10e;
    const ENABLE_CONNECT_PROTOCOL: [u8; 2] = [8, 1];
    let origin = Origin::h2c().await;
    for (allowed, announced) in [(true, true), (false, false)] {
        let proxy = Proxy::start(|settings| {
            let block = format!("resilience:\n  protocol: {{ allow_websocket: {allowed} }}");
            settings.upstream("all", "/", &[origin.url()]).block(&block)
        })
        .await;
        let connection = proxy.greeted().await;
        let mut control = connection.control().await;
        let settings = control.next().await.unwrap().payload;
        assert_eq!(settings.windows(2).any(|pair| pair == ENABLE_CONNECT_PROTOCOL), announced, "{settings:?}");
        if !allowed {
            let reset = connection.request(&handshake("/echo", &[]), true).await.answer().await.unwrap_err();
            assert_eq!(reset, End::Reset(H3_MESSAGE_ERROR));
        }
        proxy.stop().await;
    }
    assert_eq!(origin.journal().now().requests.len(), 0);
}

#[tokio::test]
async fn a_refused_websocket_is_an_ordinary_response_and_the_connection_stays() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.greeted().await;
    for _ in 0..3 {
        let mut socket = connection.request(&handshake("/status/403", &[]), false).await;
        let answer = socket.answer().await.unwrap();
        assert_eq!(answer.statuses(), ["403"]);
        assert_eq!(socket.stopped().await, Some(0x100), "H3_NO_ERROR: the rest of the request is not needed");
    }
    assert_eq!(connection.request(&frame::get("/"), true).await.answer().await.unwrap().statuses(), ["200"]);
    assert_eq!(origin.journal().now().connections, 1);
    proxy.stop().await;
}

#[tokio::test]
async fn both_sides_end_at_once_when_one_breaks_off() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.greeted().await;
    let mut socket = connection.request(&handshake("/echo", &[]), false).await;
    assert_eq!(socket.frames.next().await.unwrap().kind, kind::HEADERS);
    echo(&mut socket, b"hello").await;
    origin.stop().await;
    assert_eq!(socket.answer().await.unwrap_err(), End::Reset(0x102), "H3_INTERNAL_ERROR");
    let silent = vec![Step::Head(fields(&[(":status", "200")]), false)];
    let rogue = Rogue::start(Fault::Script(Script { settings: vec![(8, 1)], ..Script::from(silent) })).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let connection = proxy.greeted().await;
    let mut socket = connection.request(&handshake("/", &[]), false).await;
    assert_eq!(socket.frames.next().await.unwrap().kind, kind::HEADERS);
    socket.reset(0x10c);
    let record = rogue.journal().until("the reset", |record| !record.resets.is_empty()).await;
    assert_eq!(record.resets, [(1, 8)], "CANCEL");
    proxy.stop().await;
}
