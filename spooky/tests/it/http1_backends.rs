//! Backends that speak HTTP/1.1: detection, pooling, framing, aborts, retries
//! (docs/reference/behaviour.md#backend-connections).

use http::{HeaderMap, HeaderValue, Request, StatusCode};
use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::client::{Failure, get};
use spooky_testkit::http1::{Http1Origin, OnPreface, Step, answer};
use spooky_testkit::origin::Origin;
use spooky_testkit::pattern::{Pattern, sha256};
use spooky_testkit::wait;

use crate::health::probed;
use crate::proxy::Proxy;

/// Starts a proxy before one backend that is known to speak HTTP/1.1.
async fn before(url: &str) -> Proxy {
    Proxy::start(|settings| settings.protocol("http1").upstream("all", "/", &[url.to_owned()])).await
}

#[tokio::test]
async fn a_backend_that_does_not_know_the_preface_gets_http1() {
    let origin = Origin::http1().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    let reply = connection.get("/bytes/300000").await.unwrap();
    assert_eq!(sha256(&reply.body), Pattern::sha256(300_000, 300_000));
    assert_eq!(reply.field("via"), "1.1 spooky");
    let body = Pattern::bytes(7, 500_000);
    let reply = connection.post("/digest", body.clone()).await.unwrap();
    assert_eq!(reply.text(), format!("500000 {}", sha256(&body)));
    let record = origin.journal().now();
    assert_eq!((record.connections, record.requests.len()), (2, 3), "one for the preface, one for all requests");
}

#[tokio::test]
async fn a_backend_that_ignores_the_preface_is_served_after_the_connect_timeout() {
    let origin = Http1Origin::start(OnPreface::Ignore, |_, _| vec![answer("at last")]).await;
    let proxy = Proxy::start(|settings| {
        let timeouts = "timeouts: { connect_ms: 300, response_ms: 20s, total_ms: 30s }";
        settings.upstream_with("all", "/", &[origin.url()], timeouts)
    })
    .await;
    let connection = proxy.connect().await;
    for _ in 0..3 {
        assert_eq!(connection.get("/").await.unwrap().text(), "at last");
    }
    assert_eq!(origin.journal().now().connections, 2);
    assert_eq!(proxy.count("became unreachable"), 0);
}

#[tokio::test]
async fn alpn_decides_over_tls() {
    let authority = Authority::new();
    let identity = authority.issue(&["127.0.0.1"]);
    let files = Files::write(&authority, &identity);
    for (alpn, version) in [(&[&b"h2"[..], &b"http/1.1"[..]][..], "2.0"), (&[&b"http/1.1"[..]], "1.1"), (&[], "1.1")] {
        let origin = Origin::tls_with(&identity, alpn).await;
        let tls = format!("tls: {{ ca_file: \"{}\" }}", files.ca.display());
        let proxy = Proxy::start(|settings| settings.upstream_with("all", "/", &[origin.url()], &tls)).await;
        let connection = proxy.connect().await;
        let body = Pattern::bytes(3, 200_000);
        assert_eq!(connection.post("/echo", body.clone()).await.unwrap().body, body);
        let reply = connection.get("/bytes/200000").await.unwrap();
        assert_eq!(sha256(&reply.body), Pattern::sha256(200_000, 200_000));
        assert_eq!(reply.field("via"), format!("{version} spooky"));
        assert_eq!(origin.journal().now().connections, 1);
    }
}

#[tokio::test]
async fn the_backend_sees_an_http1_request() {
    let origin = Http1Origin::answering(vec![answer("yes")]).await;
    let proxy = before(&origin.url()).await;
    let request = Request::get("https://localhost/a/b?c=%20d")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-mine", "kept");
    proxy.connect().await.send(request.body("".into()).unwrap()).await.unwrap();
    let bytes = origin.received().remove(0);
    let head = String::from_utf8(bytes).unwrap();
    assert!(head.starts_with("GET /a/b?c=%20d HTTP/1.1\r\nhost: localhost\r\n"), "{head}");
    for line in ["cookie: a=1; b=2", "x-mine: kept", "via: 3.0 spooky", "te: trailers", "connection: te"] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
    assert!(!head.contains("transfer-encoding") && !head.contains("content-length"), "{head}");
    assert!(head.ends_with("\r\n\r\n"));
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let origin = Http1Origin::scripted(|_, _| {
        let chunks = "3\r\none\r\n0\r\nx-sum: 7\r\n\r\n";
        let head = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n";
        vec![Step::Body, Step::text(&format!("{head}{chunks}"))]
    })
    .await;
    let proxy = before(&origin.url()).await;
    let connection = proxy.connect().await;
    let mut exchange = connection.open(Request::post("https://localhost/").body(()).unwrap()).await.unwrap();
    exchange.sending.data("body").await.unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-check", HeaderValue::from_static("42"));
    exchange.sending.trailers(trailers).await.unwrap();
    exchange.sending.finish().await.unwrap();
    let reply = exchange.reading.reply().await.unwrap();
    assert_eq!((reply.text(), reply.trailers.as_ref().unwrap()["x-sum"].to_str().unwrap()), ("one", "7"));
    assert!(reply.headers.get("trailer").is_none() && reply.headers.get("transfer-encoding").is_none());
    let received = String::from_utf8(origin.received().remove(0)).unwrap();
    assert!(received.ends_with("\r\n4\r\nbody\r\n0\r\nx-check: 42\r\n\r\n"), "{received}");
}

/// The client ends the request with an empty DATA frame, or with FIN alone.
#[tokio::test]
async fn an_empty_end_of_a_body_is_one_last_chunk() {
    let origin = Http1Origin::answering(vec![Step::Body, answer("yes")]).await;
    let proxy = before(&origin.url()).await;
    let connection = proxy.greeted().await;
    let head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];
    for empty in [true, false] {
        let mut request = connection.request(&frame::headers(&head), false).await;
        request.write(&frame::frame(kind::DATA, b"abc")).await;
        origin.until_received("the first chunk", |all| all.iter().any(|bytes| bytes.ends_with(b"abc\r\n"))).await;
        if empty {
            request.write(&frame::frame(kind::DATA, b"")).await;
        }
        request.end();
        assert_eq!(request.answer().await.unwrap().statuses(), ["200"]);
    }
    let received = String::from_utf8(origin.received().remove(0)).unwrap();
    assert_eq!(received.matches("\r\n\r\n3\r\nabc\r\n0\r\n\r\n").count(), 2, "{received}");
    assert_eq!((received.matches("0\r\n\r\n").count(), origin.received().len()), (2, 1), "{received}");
}

#[tokio::test]
async fn interim_responses_pass_and_others_are_no_response() {
    let early = "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n";
    let cases = [
        // Unasked, but harmless (RFC 9110 15.2).
        (format!("HTTP/1.1 100 Continue\r\n\r\n{early}"), &["100", "103", "200"][..]),
        ("HTTP/1.1 102 Processing\r\n\r\n".to_owned(), &["102", "200"]),
        // Switching protocols without a request for it (RFC 9110 15.2.2).
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n".to_owned(), &["502"]),
        ("HTTP/1.1 103 Early Hints\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(), &["502"]),
    ];
    for (interim, statuses) in cases {
        let origin = Http1Origin::scripted(move |_, _| vec![Step::text(&interim), answer("end")]).await;
        let proxy = before(&origin.url()).await;
        let answer = proxy.greeted().await.request(&frame::get("/"), true).await.answer().await.unwrap();
        assert_eq!(answer.statuses(), statuses);
    }
}

#[tokio::test]
async fn an_upgrade_that_a_backend_offers_stays_behind() {
    let text = "HTTP/1.1 200 OK\r\nupgrade: h2,h2c\r\nconnection: upgrade, keep-alive, x-hop\r\nkeep-alive: timeout=5\r\n\
                x-hop: 1\r\ncontent-length: 2\r\n\r\nok";
    let origin = Http1Origin::answering(vec![Step::text(text)]).await;
    let proxy = before(&origin.url()).await;
    let connection = proxy.connect().await;
    for _ in 0..2 {
        let reply = connection.get("/").await.unwrap();
        assert_eq!((reply.status, reply.text()), (StatusCode::OK, "ok"));
        for name in ["upgrade", "connection", "keep-alive", "x-hop"] {
            assert!(reply.headers.get(name).is_none(), "{name}: {:?}", reply.headers);
        }
    }
    assert_eq!(origin.journal().now().connections, 1);
}

#[tokio::test]
async fn responses_without_a_body_have_none_whatever_their_framing_says() {
    for (text, status) in [
        ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n", 502),
        ("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", 204),
        ("HTTP/1.1 304 Not Modified\r\ntransfer-encoding: chunked\r\n\r\n", 304),
        ("HTTP/1.1 304 Not Modified\r\ncontent-length: 500\r\n\r\n", 304),
    ] {
        let origin = Http1Origin::answering(vec![Step::text(text)]).await;
        let proxy = before(&origin.url()).await;
        let connection = proxy.connect().await;
        for _ in 0..2 {
            let reply = connection.get("/").await.unwrap();
            assert_eq!(reply.status, status, "{text}");
            assert!(reply.headers.get("transfer-encoding").is_none(), "{text}");
        }
    }
}

#[tokio::test]
async fn malformed_responses_are_502_and_never_sent_again() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : a\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/2 200\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "<html>",
    ] {
        let origin = Http1Origin::answering(vec![Step::text(text), Step::Close]).await;
        let proxy = before(&origin.url()).await;
        let reply = proxy.connect().await.get("/").await.unwrap();
        assert_eq!((reply.status, reply.text()), (StatusCode::BAD_GATEWAY, "upstream protocol error\n"), "{text}");
        assert_eq!(origin.journal().now().requests.len(), 1, "{text}");
    }
}

#[tokio::test]
async fn what_breaks_off_never_looks_complete() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalfway\r\n0\r\n\r\n",
    ] {
        let origin = Http1Origin::answering(vec![Step::text(text), Step::Close]).await;
        let proxy = before(&origin.url()).await;
        let Err(failure) = proxy.connect().await.get("/").await else { panic!("{text} looks complete") };
        assert_eq!(failure, Failure::Stream(0x102), "{text}");
    }
}

/// The bytes after a response must not answer the next request.
#[tokio::test]
async fn a_response_queue_cannot_be_poisoned() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let origin =
        Http1Origin::scripted(
            move |entry, _| {
                if entry.path == "/poison" { vec![Step::text(poison)] } else { vec![answer("clean")] }
            },
        )
        .await;
    let proxy = before(&origin.url()).await;
    let connection = proxy.connect().await;
    for _ in 0..3 {
        assert_eq!(connection.get("/poison").await.unwrap().text(), "ok");
        assert_eq!(connection.get("/").await.unwrap().text(), "clean");
    }
    assert_eq!(origin.journal().now().requests.len(), 6);
}

#[tokio::test]
async fn an_early_response_ends_the_upload_and_the_connection() {
    let origin = Http1Origin::scripted(|_, _| vec![answer("enough")]).await;
    let proxy = before(&origin.url()).await;
    let connection = proxy.connect().await;
    let mut exchange = connection.open(Request::post("https://localhost/").body(()).unwrap()).await.unwrap();
    exchange.sending.data("some").await.unwrap();
    assert_eq!(exchange.reading.reply().await.unwrap().text(), "enough");
    origin.journal().until("the end of the connection", |record| record.closed == 1).await;
    assert_eq!(connection.get("/").await.unwrap().text(), "enough");
    let received = origin.received();
    assert_eq!(received.len(), 2);
    assert!(!received[0].ends_with(b"0\r\n\r\n"), "an upload that was given up looks complete");
}

#[tokio::test]
async fn a_client_that_goes_away_closes_the_connection_at_once() {
    let origin = Http1Origin::answering(vec![Step::Drain]).await;
    let proxy = before(&origin.url()).await;
    let connection = proxy.connect().await;
    let mut exchange = connection.open(Request::post("https://localhost/").body(()).unwrap()).await.unwrap();
    exchange.sending.data("some").await.unwrap();
    origin.until_received("the upload", |all| all.iter().any(|bytes| bytes.ends_with(b"some\r\n"))).await;
    exchange.cancel();
    origin.journal().until("the end of the connection", |record| record.closed == 1).await;
    assert!(!origin.received()[0].ends_with(b"0\r\n\r\n"), "an upload that broke off looks complete");
    assert_eq!(proxy.count("became unhealthy"), 0);
}

/// An idle connection that the backend has closed costs no request, whatever its method, and no mark.
#[tokio::test]
async fn connections_that_were_closed_while_idle_are_not_noticed() {
    let origin = Http1Origin::answering(vec![answer("yes"), Step::Body, Step::Close]).await;
    let proxy = before(&origin.url()).await;
    let connection = proxy.connect().await;
    for count in 1..=50 {
        assert_eq!(connection.post("/", "body").await.unwrap().text(), "yes");
        origin.journal().until("the end of the connection", |record| record.closed == count).await;
    }
    let record = origin.journal().now();
    assert_eq!((record.requests.len(), proxy.count("Transport error")), (50, 0));
}

#[tokio::test]
async fn a_connection_lost_after_the_request_is_tried_again_only_if_that_is_safe() {
    let origin =
        Http1Origin::scripted(
            |_, number| if number % 2 == 1 { vec![Step::Body, Step::Close] } else { vec![answer("yes")] },
        )
        .await;
    let proxy = Proxy::start(|settings| {
        let forgiving = "passive_health: { enabled: false }";
        settings
            .protocol("http1")
            .upstream_with("all", "/", &[origin.url()], forgiving)
            .block("resilience:\n  retry_budget: { enabled: false }\n  circuit_breaker: { enabled: false }")
    })
    .await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/").await.unwrap().text(), "yes");
    assert_eq!(origin.journal().now().requests.len(), 2);
    assert_eq!(connection.post("/", "once").await.unwrap().status, StatusCode::BAD_GATEWAY);
    assert_eq!(origin.journal().now().requests.len(), 3);
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each_and_idle_ones_are_few() {
    let origin = Http1Origin::answering(vec![Step::Gate, answer("yes")]).await;
    let proxy = Proxy::start(|settings| {
        settings
            .protocol("http1")
            .workers(2)
            .upstream("all", "/", &[origin.url()])
            .performance("h2_pool_max_idle_per_backend: 3")
    })
    .await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let connection = proxy.connect().await;
        for _ in 0..5 {
            let connection = connection.clone();
            requests.spawn(async move { connection.get("/").await.unwrap().status });
        }
    }
    origin.journal().until("all requests", |record| record.requests.len() == 20).await;
    assert_eq!(origin.journal().now().connections, 20);
    origin.open_gate(20);
    let statuses = wait::within("all answers", requests.join_all()).await;
    assert!(statuses.iter().all(StatusCode::is_success));
    origin.journal().until("the surplus connections to close", |record| record.closed == 17).await;
}

#[tokio::test]
async fn probes_use_the_protocol_of_the_backend() {
    let well =
        Http1Origin::scripted(|entry, _| vec![if entry.path == "/health" { answer("well") } else { answer("served") }])
            .await;
    let ill = Http1Origin::answering(vec![Step::text("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n")]).await;
    let proxy = Proxy::start_edited(
        |settings| settings.upstream("all", "/", &[well.url(), ill.url()]),
        |text| probed(&text, "interval: 100, timeout_ms: 5s, success_threshold: 1"),
    )
    .await;
    proxy.logged("Initial health checks complete: 1/2 backends healthy", 1).await;
    proxy.logged(&format!("Backend {} became unhealthy", ill.url()), 1).await;
    let connection = proxy.connect().await;
    for _ in 0..4 {
        assert_eq!(connection.get("/").await.unwrap().text(), "served");
    }
    let record = well.journal().until("several probes", |record| record.requests.len() > 7).await;
    let probe = record.requests.iter().find(|entry| entry.path == "/health").unwrap();
    assert!(probe.field("user-agent").unwrap().starts_with("spooky-health/"));
    assert_eq!(proxy.count(&format!("Probe of {} failed", well.url())), 0);
}

#[tokio::test]
async fn a_slow_client_holds_back_the_backend() {
    const OFFER: usize = 64 << 20;
    let origin = Http1Origin::scripted(|_, _| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {OFFER}\r\n\r\n");
        vec![Step::text(&head), Step::Send(vec![b'x'; OFFER].into()), Step::Gate]
    })
    .await;
    let proxy = before(&origin.url()).await;
    let connection = proxy.connect().await;
    let mut stalled = connection.open(get("/").map(drop)).await.unwrap();
    stalled.sending.finish().await.unwrap();
    assert_eq!(stalled.reading.head().await.unwrap().status(), StatusCode::OK);
    let before = proxy.resident_bytes();
    let mut other = connection.open(get("/other").map(drop)).await.unwrap();
    other.sending.finish().await.unwrap();
    other.reading.head().await.unwrap();
    let mut read = 0;
    while read < 8 << 20 {
        read += other.reading.data().await.unwrap().expect("more").len();
    }
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "memory grew by {grown} bytes");
    other.cancel();
    let mut read = 0;
    while let Some(data) = stalled.reading.data().await.unwrap() {
        read += data.len();
    }
    assert_eq!(read, OFFER);
}
