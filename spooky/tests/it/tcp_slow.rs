//! Slow, silent and lost TCP clients: their time limits, what they may hold, and that they harm no one else.

use std::time::{Duration, Instant};

use spooky_testkit::origin::Origin;
use spooky_testkit::tcp::frames::{END_HEADERS, END_STREAM, Frames, frame, head, kind};
use spooky_testkit::tcp::{Http1, Reason, handshake};
use spooky_testkit::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::proxy::{NAME, Proxy};

const ENHANCE_YOUR_CALM: u32 = 11;
const NO_ERROR: u32 = 0;
/// `SETTINGS_INITIAL_WINDOW_SIZE`.
const INITIAL_WINDOW: u16 = 4;

async fn limited(origin: &Origin, performance: &str) -> Proxy {
    Proxy::start(|settings| settings.level("debug").upstream("all", "/", &[origin.url()]).performance(performance))
        .await
}

async fn frames(proxy: &Proxy, settings: &[(u16, u32)]) -> Frames {
    Frames::connect(&proxy.authority, proxy.settings.addr(), NAME, settings).await
}

/// Waits until the peer has closed a connection that it was silent on.
async fn closed(mut stream: TcpStream) {
    let read = wait::within("the end of a silent connection", stream.read(&mut [0; 64])).await;
    assert!(!matches!(read, Ok(1..)), "{read:?}");
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_closed() {
    let origin = Origin::h2c().await;
    let proxy = limited(&origin, "client_handshake_timeout_ms: 1s").await;
    let silent = TcpStream::connect(proxy.settings.addr()).await.unwrap();
    let mut partial = TcpStream::connect(proxy.settings.addr()).await.unwrap();
    partial.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
    let begun = Instant::now();
    closed(silent).await;
    closed(partial).await;
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    proxy.logged("client_handshake_timeout_ms expired", 2).await;
    proxy.stop().await;
}

#[tokio::test]
async fn an_incomplete_head_is_answered_or_ends_the_connection() {
    let origin = Origin::h2c().await;
    let proxy = limited(&origin, "client_header_timeout_ms: 1s").await;
    let mut http1 = proxy.http1().await;
    assert_eq!(http1.get("/").await.text(), "hello");
    http1.send("GET / HTTP/1.1\r\nhost: local").await;
    let reply = http1.reply().await;
    assert_eq!((reply.status(), reply.text()), (408, "request head timeout\n"));
    assert_eq!((reply.field("connection").as_str(), http1.rest().await.unwrap().len()), ("close", 0));
    assert!(reply.field("proxy-status").contains("request head timeout") && !reply.field("x-request-id").is_empty());

    for slow in [&head(1, END_STREAM, "GET", "/")[..], &head(1, END_STREAM | END_HEADERS, "GET", "/")[..20], b"\0\0"] {
        let mut connection = frames(&proxy, &[]).await;
        connection.send(slow).await;
        assert_eq!(connection.until(kind::GOAWAY).await.unwrap().code(), ENHANCE_YOUR_CALM);
        connection.next().await.unwrap_err();
    }
    proxy.stop().await;
}

/// Returns when a head that begins now has been incomplete for too long.
async fn head_expired(proxy: &Proxy) {
    let mut slow = frames(proxy, &[]).await;
    slow.send(&head(1, END_STREAM, "GET", "/")).await;
    assert_eq!(slow.until(kind::GOAWAY).await.unwrap().code(), ENHANCE_YOUR_CALM);
}

#[tokio::test]
async fn bytes_of_the_next_frame_do_not_make_a_client_slow() {
    let origin = Origin::h2c().await;
    let proxy = limited(&origin, "client_header_timeout_ms: 1s").await;
    // Every write ends in the middle of a head, but never in the same one.
    let mut busy = frames(&proxy, &[]).await;
    let heads = (0..).map(|number| head(2 * number + 1, END_STREAM | END_HEADERS, "GET", "/"));
    let mut heads = heads.map(|head| (head[..20].to_vec(), head[20..].to_vec()));
    let (begin, mut rest) = heads.next().unwrap();
    busy.send(&begin).await;
    let mut expired = Box::pin(head_expired(&proxy));
    let mut is_expired = false;
    for (begin, next_rest) in heads {
        busy.send(&[&rest[..], &begin].concat()).await;
        rest = next_rest;
        let reply = busy.until(kind::HEADERS).await.unwrap();
        assert!(reply.payload.windows(3).any(|part| part == b"200"), "{reply:?}");
        if is_expired {
            break;
        }
        is_expired = tokio::time::timeout(Duration::from_millis(20), &mut expired).await.is_ok();
    }
    drop(expired);
    // DATA is no head: its stream has a time limit of its own, and the others go on.
    let mut paused = frames(&proxy, &[]).await;
    let body = frame(kind::DATA, END_STREAM, 1, &[b'x'; 900]);
    paused.send(&[&head(1, END_HEADERS, "POST", "/digest")[..], &body[..500]].concat()).await;
    head_expired(&proxy).await;
    paused.send(&body[500..]).await;
    let reply = paused.until(kind::DATA).await.unwrap();
    assert!(reply.payload.starts_with(b"900 "), "{reply:?}");
    proxy.stop().await;
}

#[tokio::test]
async fn idle_connections_end_in_order_and_those_with_a_request_stay() {
    let origin = Origin::h2c().await;
    let proxy = limited(&origin, "tcp_idle_timeout_ms: 1s").await;
    let mut waiting = proxy.http1().await;
    waiting.send("GET /gate HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut waiting2 = proxy.http2().await;
    let request = waiting2.request("GET", "/gate").body(()).unwrap();
    let (response, _) = waiting2.open(request, true).await.unwrap();
    origin.journal().until("the requests", |seen| seen.requests.len() == 2).await;

    let (mut fresh, mut used, mut connection) = (proxy.http1().await, proxy.http1().await, frames(&proxy, &[]).await);
    assert_eq!(used.get("/").await.text(), "hello");
    assert_eq!((fresh.rest().await.unwrap(), used.rest().await.unwrap()), (vec![], vec![]), "ended by close_notify");
    assert_eq!(connection.until(kind::GOAWAY).await.unwrap().code(), NO_ERROR);
    proxy.logged("Connection closed: idle", 3).await;
    origin.open_gate();
    assert_eq!(waiting.reply().await.text(), "through");
    assert_eq!(response.await.unwrap().status().as_u16(), 200);
    proxy.stop().await;
}

#[tokio::test]
async fn a_client_that_reads_nothing_is_cut_off() {
    let origin = Origin::h2c().await;
    let proxy = limited(&origin, "client_stall_timeout_ms: 1s\nclient_min_rate_bytes_per_sec: 0").await;
    let mut http1 = proxy.http1().await;
    http1.send("GET /bytes/50000000 HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    let mut http2 = frames(&proxy, &[(INITIAL_WINDOW, (1 << 31) - 1)]).await;
    http2.send(&frame(kind::WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes())).await;
    http2.send(&head(1, END_STREAM | END_HEADERS, "GET", "/bytes/50000000")).await;
    origin.journal().until("cancelled requests", |seen| seen.cancelled == 2).await;
    http1.try_reply().await.expect_err("an incomplete response");
    let mut stream = http2.into_stream();
    let read = wait::within("the rest", tokio::io::copy(&mut stream, &mut tokio::io::sink())).await;
    assert!(!matches!(read, Ok(50_000_000..)), "{read:?}");
    proxy.stop().await;
}

#[tokio::test]
async fn a_stream_that_is_not_read_costs_only_itself() {
    let origin = Origin::h2c().await;
    let proxy = limited(&origin, "client_stall_timeout_ms: 2s\nclient_min_rate_bytes_per_sec: 0").await;
    let mut connection = proxy.http2().await;
    let request = connection.request("GET", "/bytes/5000000").body(()).unwrap();
    let (unread, _) = connection.open(request, true).await.unwrap();
    let mut unread = unread.await.unwrap().into_body();
    for _ in 0..20 {
        assert_eq!(connection.get("/bytes/30000").await.unwrap().body.len(), 30_000);
    }
    let error = loop {
        match wait::within("the end of the stream", unread.data()).await.expect("a reset") {
            Ok(_) => {} // kept: no credit is given back
            Err(error) => break error,
        }
    };
    assert_eq!(error.reason(), Some(Reason::INTERNAL_ERROR));
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    drop(connection);
    proxy.stop().await;
}

#[tokio::test]
async fn a_lost_client_cancels_its_requests_at_once() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let mut lost = Vec::new();
    for alpn in [&b"http/1.1"[..], b"h2"] {
        let stream = TcpStream::connect(proxy.settings.addr()).await.unwrap();
        let mut tls = handshake(stream, NAME, proxy.authority.client_config(&[alpn])).await.unwrap();
        if alpn == b"h2" {
            let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
            tls.write_all(&[&preface[..], &head(1, END_STREAM | END_HEADERS, "GET", "/hold")].concat()).await.unwrap();
        } else {
            tls.write_all(b"GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        }
        tls.flush().await.unwrap();
        lost.push(tls);
    }
    origin.journal().until("the requests", |seen| seen.requests.len() == 2).await;
    // The end of TCP without close_notify, as when a process dies.
    for tls in &mut lost {
        tls.get_mut().0.shutdown().await.unwrap();
    }
    origin.journal().until("cancelled requests", |seen| seen.cancelled == 2).await;
    proxy.stop().await;
}

#[tokio::test]
async fn an_upload_that_the_backend_does_not_read_is_held_back() {
    let origin = Origin::h2c().await;
    let proxy = limited(&origin, "max_request_body_bytes: 200MB\nbackend_timeout_ms: 60s").await;
    let before = proxy.resident_bytes();
    let mut http1 = proxy.http1().await;
    http1.send("POST /hold HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000000\r\n\r\n").await;
    let mut http2 = frames(&proxy, &[]).await;
    http2.send(&head(1, END_HEADERS, "POST", "/hold")).await;
    let chunk = vec![0; 1 << 20];
    let stream = http1.stream();
    let filled = async {
        let mut sent = 0_usize;
        while let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(2), stream.write_all(&chunk)).await {
            sent += chunk.len();
        }
        sent
    };
    let sent = wait::within("the upload to stop", filled).await;
    assert!(sent < 40_000_000, "{sent} bytes were taken");
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 20_000_000, "{grown} bytes more");
    assert_eq!(proxy.http1().await.get("/").await.text(), "hello");
    // Over HTTP/1.1 the end of the connection is behind the upload.
    drop(http2);
    origin.journal().until("a cancelled request", |seen| seen.cancelled == 1).await;
    drop(http1);
}

#[tokio::test]
async fn responses_that_nobody_reads_use_a_bounded_amount_of_memory() {
    let origin = Origin::h2c().await;
    let limits =
        "client_stall_timeout_ms: 60s\nclient_min_rate_bytes_per_sec: 0\nresponse_buffer_global_cap_bytes: 16MB";
    let proxy = limited(&origin, limits).await;
    let before = proxy.resident_bytes();
    let mut clients = Vec::new();
    for _ in 0..60 {
        let mut client = proxy.http1().await;
        client.send("GET /bytes/20000000 HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        clients.push(client);
    }
    origin.journal().until("the requests", |seen| seen.requests.len() == 60).await;
    assert_eq!(Http1::over(clients.pop().unwrap().into_stream()).try_reply().await.unwrap().body.len(), 20_000_000);
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 60_000_000, "{grown} bytes more");
    drop(clients);
    proxy.stop().await;
}
