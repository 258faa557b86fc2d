//! What the exchange does for all clients, with HTTP/1.1 and HTTP/2 clients: interim responses, unread uploads, sticky
//! backends.

use std::collections::HashSet;

use http::StatusCode;
use spooky_testkit::origin::Origin;
use spooky_testkit::origin::handler::fixed;
use spooky_testkit::rogue::{Fault, Rogue, Script, Step, answer, fields};
use spooky_testkit::tcp::frames::{END_HEADERS, END_STREAM, Frames, frame, head, kind};
use spooky_testkit::tcp::{self, Http1, Http2};
use spooky_testkit::{port, wait};

use crate::proxy::{NAME, Proxy};
use crate::relay::Relay;
use crate::tcp::listening;

/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW: u16 = 4;

#[tokio::test]
async fn interim_responses_pass_in_order() {
    let early = |link: &str| Step::Head(fields(&[(":status", "103"), ("link", link)]), false);
    let mut steps = vec![early("</a>"), early("</b>")];
    steps.extend(answer(5));
    let rogue = Rogue::answering(steps).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let mut connection = proxy.http1().await;
    connection.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    for link in ["</a>", "</b>"] {
        let interim = connection.try_head().await.unwrap();
        assert_eq!((interim.status(), interim.field("link").as_str()), (103, link));
    }
    let reply = connection.reply().await;
    assert_eq!((reply.status(), reply.body.len()), (200, 5));
    let Some(curl) = proxy.curl() else { return };
    let reply = curl.run(&["--http2"], "/").await;
    let lines = reply.heads.lines().map(str::trim);
    let lines: Vec<_> = lines.filter(|line| line.starts_with("HTTP/2") || line.starts_with("link")).collect();
    assert_eq!(lines, ["HTTP/2 103", "link: </a>", "HTTP/2 103", "link: </b>", "HTTP/2 200"], "{}", reply.heads);
    assert_eq!(reply.body.len(), 5);
}

/// Opens an HTTP/2 connection and uploads 240 KB on stream 1, which does not end.
async fn uploading(proxy: &Proxy, path: &str) -> Frames {
    let mut connection = Frames::connect(&proxy.authority, proxy.settings.addr(), NAME, &[]).await;
    connection.until(kind::WINDOW_UPDATE).await.unwrap();
    let mut bytes = head(1, END_HEADERS, "POST", path);
    for _ in 0..15 {
        bytes.extend(frame(kind::DATA, 0, 1, &[0; 16_000]));
    }
    connection.send(&bytes).await;
    connection
}

#[tokio::test]
async fn request_bytes_count_while_they_lie_unread_with_the_clients_connection() {
    let rogue = Rogue::start(Fault::Script(Script { credit: false, after_request: true, ..answer(5).into() })).await;
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("stuck", "/stuck", &[rogue.url()])
            .upstream("all", "/", &[origin.url()])
            .performance("request_buffer_global_cap_bytes: 300000")
    })
    .await;
    // The backend takes one window of this. The rest stays at the edge, and is counted when a later request is answered.
    let mut first = uploading(&proxy, "/stuck").await;
    rogue.journal().until("the backend's window to be full", |record| record.body_bytes == 65_535).await;
    first.send(&head(3, END_STREAM | END_HEADERS, "GET", "/")).await;
    assert_eq!(first.until(kind::HEADERS).await.unwrap().stream, 3);
    // As many bytes again exceed the budget, although the connections have granted credit for them.
    let mut http1 = proxy.http1().await;
    http1.send("POST /stuck HTTP/1.1\r\nhost: localhost\r\ncontent-length: 300000\r\n\r\n").await;
    http1.send(vec![0; 240_000]).await;
    let reply = http1.reply().await;
    assert_eq!((reply.status(), reply.text()), (503, "request body backpressure overload\n"));
    let mut second = uploading(&proxy, "/stuck").await;
    assert_eq!(second.until(kind::RST_STREAM).await.unwrap().stream, 1, "after the 503");
    // The bytes of the first upload return when it is cancelled.
    assert_eq!(proxy.http2().await.post("/echo", vec![0; 1000], None).await.unwrap().body.len(), 1000);
    first.send(&frame(kind::RST_STREAM, 0, 1, &8_u32.to_be_bytes())).await;
    rogue.journal().until("RST_STREAM with CANCEL", |record| record.resets.contains(&(1, 8))).await;
    let reply = proxy.http2().await.post("/echo", vec![0; 240_000], None).await.unwrap();
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 240_000));
}

async fn ask(connection: &mut Http2) -> String {
    connection.get("/").await.unwrap().text().to_owned()
}

#[tokio::test]
async fn a_connection_keeps_its_backend_and_after_its_loss_the_next() {
    let named = |name| Origin::with(fixed(StatusCode::OK, name));
    let origins = [named("a").await, named("b").await];
    let ports = [port::free(), port::free()];
    let [relay, _other] =
        [Relay::open(ports[0], origins[0].addr()).await, Relay::open(ports[1], origins[1].addr()).await];
    let proxy = Proxy::start(|settings| {
        let more = "load_balancing: { type: sticky-cid }\npassive_health: { enabled: false }";
        settings
            .upstream_with("all", "/", &ports.map(|port| format!("http://{port}")), more)
            .block("resilience:\n  circuit_breaker: { enabled: false }\n  retry_budget: { enabled: false }")
    })
    .await;
    let (mut connections, mut seen) = (Vec::new(), HashSet::new());
    while seen.len() < 2 {
        assert!(connections.len() < 64, "all connections use {seen:?}");
        let mut connection = proxy.http2().await;
        let name = ask(&mut connection).await;
        for _ in 0..5 {
            assert_eq!(ask(&mut connection).await, name);
        }
        seen.insert(name);
        connections.push(connection);
    }
    relay.close().await;
    for connection in &mut connections {
        assert_eq!(ask(connection).await, "b", "the only one left");
    }
    let _relay = Relay::open(ports[0], origins[0].addr()).await;
    wait::until(wait::BOUND, "the first backend to be used again", || {
        Box::pin(async { (ask(&mut proxy.http2().await).await == "a").then_some(()) })
    })
    .await;
    for connection in &mut connections {
        assert_eq!(ask(connection).await, "b", "a connection that has moved stays there");
    }
}

#[tokio::test]
async fn a_reload_changes_the_limits_of_open_and_new_connections() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).block("resilience: { protocol: { max_headers_bytes: 9000 } }")
    })
    .await;
    let status = async |http1: &mut Http1, http2: &mut Http2| {
        let long = "x".repeat(2000);
        http1.send(format!("GET / HTTP/1.1\r\nhost: localhost\r\nx-long: {long}\r\n\r\n")).await;
        let request = http2.request("GET", "/").header("x-long", long).body(()).unwrap();
        (http1.reply().await.status(), http2.fetch(request).await.unwrap().status.as_u16())
    };
    let (mut http1, mut http2) = (proxy.http1().await, proxy.http2().await);
    assert_eq!(status(&mut http1, &mut http2).await, (200, 200));
    let text = proxy.settings.text().replace("max_headers_bytes: 9000", "max_headers_bytes: 1000");
    proxy.reload(&text, 2).await;
    assert_eq!(status(&mut http1, &mut http2).await, (431, 431));
    drop(http1);
    let mut new = proxy.http1().await;
    assert_eq!(status(&mut new, &mut proxy.http2().await).await, (431, 431));
    drop(new);

    // One connection is open.
    proxy.reload(&listening(&text, "tcp: { max_connections: 1 }"), 3).await;
    tcp::connect(&proxy.authority, proxy.settings.addr(), NAME, &[b"h2"]).await.expect_err("a second connection");
    assert_eq!(http2.get("/").await.unwrap().text(), "hello");
}

/// A request holds its place until the client's window has taken the last bytes, after the end of the backend's response.
#[tokio::test]
async fn a_response_that_is_read_late_ends_its_request() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("per_upstream_inflight_limit: 1")
    })
    .await;
    let settings = [(INITIAL_WINDOW, 1000)];
    let mut client = Frames::connect(&proxy.authority, proxy.settings.addr(), NAME, &settings).await;
    client.send(&head(1, END_STREAM | END_HEADERS, "GET", "/bytes/50000")).await;
    origin.journal().until("the response to be sent", |record| record.completed == 1).await;
    let mut other = proxy.http2().await;
    assert_eq!(other.get("/").await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    client.send(&frame(kind::WINDOW_UPDATE, 0, 1, &49_000_u32.to_be_bytes())).await;
    let mut read = 0;
    while read < 50_000 {
        read += client.until(kind::DATA).await.unwrap().payload.len();
    }
    assert_eq!(other.get("/").await.unwrap().status, StatusCode::OK);
}
