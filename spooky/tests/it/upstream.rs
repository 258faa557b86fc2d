//! Backends that close, refuse, stall, violate the protocol or cannot be reached (docs/reference/behaviour.md#aborts,
//! docs/reference/behaviour.md#health, docs/reference/behaviour.md#retries).

use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::raw::End;
use spooky_testkit::client::{Connection, Failure, Reply, frame};
use spooky_testkit::journal::REQUEST_ID;
use spooky_testkit::origin::Origin;
use spooky_testkit::origin::handler::fixed;
use spooky_testkit::rogue::{Fault, Flood, On, Rogue, Script, Step, fields, flag, kind};
use spooky_testkit::{port, wait};
use tokio::task::JoinSet;

use crate::proxy::{LONG, NAME, Proxy};
use crate::relay::Relay;

/// A limit that no test reaches.
const ROOMY: &str = "per_backend_inflight_limit: 100000";
/// Failures do not make a backend unhealthy.
const FORGIVING: &str = "passive_health: { enabled: false }";
const NO_BREAKER: &str = "resilience:\n  circuit_breaker: { enabled: false }";

/// Returns the status, the text and the `error` of `proxy-status`.
fn verdict(reply: &Reply) -> (u16, &str, &str) {
    let status = reply.field("proxy-status");
    let error = status.strip_prefix("spooky; error=").and_then(|rest| rest.split(';').next());
    (reply.status.as_u16(), reply.text(), error.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_survive_an_origin_that_retires_its_connections() {
    const CONNECTIONS: usize = 100;
    const REQUESTS: usize = 100;
    let origin = Rogue::start(Fault::GoawayEvery(500)).await;
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).performance(ROOMY)).await;
    let client = proxy.client();
    let mut clients = JoinSet::new();
    for number in 0..CONNECTIONS {
        let connection = client.connect(proxy.settings.addr(), NAME).await;
        clients.spawn(async move {
            for count in 0..REQUESTS {
                let body = if count % 2 == 0 { "" } else { "payload" };
                let request = Request::post("https://localhost/").header(REQUEST_ID, format!("{number}.{count}"));
                let reply = connection.send(request.body(body.into()).unwrap()).await.unwrap();
                assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 5), "{}", reply.text());
            }
        });
    }
    wait::within_time(LONG, "all clients", clients.join_all()).await;
    let record = origin.journal().now();
    assert_eq!(record.duplicates(), Vec::<String>::new());
    assert_eq!((record.requests.len(), record.completed), (CONNECTIONS * REQUESTS, CONNECTIONS * REQUESTS));
    assert!(record.connections >= CONNECTIONS * REQUESTS / 500, "{} connections", record.connections);
    eprintln!("{} connections, {} requests beyond a GOAWAY", record.connections, record.refused);
}

async fn until_served(connection: &Connection) {
    wait::until(wait::BOUND, "the backend to serve again", || async {
        let reply = connection.get("/").await.expect("an answer, good or bad");
        (reply.status == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_backend_that_is_down_is_502_and_one_line_until_it_is_back() {
    let (at, origin) = (port::free(), Origin::h2c().await);
    let url = format!("http://{at}");
    let backends = [url.clone()];
    let proxy = Proxy::before(&backends).await;
    let connection = proxy.connect().await;
    for round in 1..=2 {
        let reply = connection.get("/").await.unwrap();
        let (status, text, error) = verdict(&reply);
        assert_eq!((status, text), (502, "upstream error\n"));
        assert!(["connection_refused", "connection_terminated"].contains(&error), "{error}");
        for _ in 0..20 {
            let reply = connection.get("/").await.unwrap();
            let (status, text, _) = verdict(&reply);
            assert_eq!((status, text), (502, "upstream error\n"));
        }
        proxy.logged(&format!("Backend {url} became unreachable"), round).await;
        let relay = Relay::open(at, origin.addr()).await;
        until_served(&connection).await;
        proxy.logged(&format!("Backend {url} became reachable"), round).await;
        relay.close().await;
    }
}

#[tokio::test]
async fn answers_and_silence_that_make_a_backend_unhealthy_are_told_at_once() {
    let failing = Origin::with(fixed(StatusCode::INTERNAL_SERVER_ERROR, "broken")).await;
    let (mute, good) = (Origin::h2c().await, Origin::with(fixed(StatusCode::OK, "good")).await);
    let proxy = Proxy::start(|settings| {
        let health = "passive_health: { failure_threshold: 2, cooldown_ms: 60s, count_5xx: true }";
        let silent = format!("{health}\ntimeouts: {{ connect_ms: 100, response_ms: 100 }}");
        settings
            .upstream_with("failing", "/failing", &[failing.url(), good.url()], health)
            .upstream_with("silent", "/hold", &[mute.url(), good.url()], &silent)
            .block(NO_BREAKER)
    })
    .await;
    let connection = proxy.connect().await;
    for _ in 0..2 {
        assert_eq!(connection.get("/failing").await.unwrap().text(), "broken");
        assert_eq!(connection.get("/failing").await.unwrap().text(), "good");
    }
    proxy.logged(&format!("Backend {} became unhealthy upstream=failing id=b1 reason=5xx", failing.url()), 1).await;
    for _ in 0..2 {
        assert_eq!(connection.post("/hold", "").await.unwrap().text(), "upstream timeout\n");
        assert_eq!(connection.post("/hold", "").await.unwrap().text(), "good");
    }
    proxy.logged(&format!("Backend {} became unhealthy upstream=silent id=b1 reason=timeout", mute.url()), 1).await;
    for path in ["/failing", "/hold"] {
        for _ in 0..4 {
            assert_eq!(connection.post(path, "").await.unwrap().text(), "good");
        }
    }
}

#[tokio::test]
async fn a_backend_that_fails_is_passed_over_while_another_serves() {
    let origin = Origin::h2c().await;
    let dead = format!("http://{}", port::free());
    let proxy = Proxy::before(&[dead, origin.url()]).await;
    let connection = proxy.connect().await;
    for _ in 0..50 {
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
        assert_eq!(connection.post("/echo", "body").await.unwrap().text(), "body");
    }
    assert!(proxy.count("became unhealthy") <= 1, "a line for each request");
}

#[tokio::test]
async fn silence_before_the_head_is_503_and_after_it_a_reset() {
    let origin = Origin::h2c().await;
    let mute = Rogue::start(Fault::Mute).await;
    let timeouts = "timeouts: { connect_ms: 300, response_ms: 300, body_idle_ms: 300, first_byte_ms: 300 }";
    let more = format!("{timeouts}\n{FORGIVING}");
    let proxy = Proxy::start(|settings| {
        settings
            .protocol("h2")
            .upstream_with("all", "/", &[origin.url()], &more)
            .upstream_with("mute", "/mute", &[mute.url()], &more)
            .block(NO_BREAKER)
    })
    .await;
    let connection = proxy.connect().await;
    let reply = connection.get("/hold").await.unwrap();
    assert_eq!(verdict(&reply), (503, "upstream timeout\n", "http_response_timeout"));
    let reply = connection.get("/mute").await.unwrap();
    assert_eq!(verdict(&reply), (502, "upstream error\n", "connection_timeout"));
    for path in ["/stall/0", "/stall/10"] {
        let Err(failure) = connection.get(path).await else { panic!("{path} looks complete") };
        assert_eq!(failure, Failure::Stream(0x102), "{path}");
    }
    origin.journal().until("all of them to be cancelled", |record| record.cancelled >= 3).await;
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
}

#[tokio::test]
async fn a_client_that_stops_uploading_gets_408() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("client_body_idle_timeout_ms: 300")
    })
    .await;
    let connection = proxy.connect().await;
    let request = Request::post("https://localhost/digest").body(()).unwrap();
    let mut exchange = connection.open(request).await.unwrap();
    exchange.sending.data("some").await.unwrap();
    let reply = exchange.reading.reply().await.unwrap();
    assert_eq!(verdict(&reply), (408, "request body idle timeout\n", "http_request_error"));
    origin.journal().until("the upload to be cancelled", |record| record.cancelled + record.completed == 1).await;
}

#[tokio::test]
async fn refused_streams_are_tried_again() {
    let origin = Rogue::start(Fault::RefuseFirst(2)).await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let reply = proxy.connect().await.post("/", "body").await.unwrap();
    assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 5));
    let record = origin.journal().now();
    assert_eq!((record.refused, record.requests.len()), (2, 1));
}

#[tokio::test]
async fn the_stream_limit_of_an_origin_is_obeyed_without_an_error_to_anyone() {
    let origin = Rogue::start(Fault::StreamLimit(2)).await;
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).performance(ROOMY)).await;
    let connection = proxy.connect().await;
    // The limit is known after the first answer.
    assert_eq!(connection.get("/").await.unwrap().status, StatusCode::OK);
    let mut requests = JoinSet::new();
    for _ in 0..80 {
        let connection = connection.clone();
        requests.spawn(async move { connection.get("/").await.unwrap().status });
    }
    let statuses = wait::within("all answers", requests.join_all()).await;
    assert!(statuses.iter().all(|status| *status == StatusCode::OK), "{statuses:?}");
    assert_eq!(origin.journal().now().requests.len(), 81);
}

#[tokio::test]
async fn a_backend_over_tls_is_verified() {
    let (known, unknown) = (Authority::new(), Authority::new());
    let origin = Origin::tls(&known.issue(&["127.0.0.1"])).await;
    let named = Origin::tls(&known.issue(&["inner.example"])).await;
    let trust = Files::write(&known, &known.issue(&["unused"]));
    let distrust = Files::write(&unknown, &unknown.issue(&["unused"]));
    let tls = |files: &Files, more: &str| format!("tls: {{ ca_file: \"{}\"{more} }}", files.ca.display());
    let proxy = Proxy::start(|settings| {
        settings
            .upstream_with("good", "/", &[origin.url()], &tls(&trust, ""))
            .upstream_with("ca", "/ca", &[origin.url()], &tls(&distrust, ""))
            .upstream_with("name", "/name", &[named.url()], &tls(&trust, ""))
            .upstream_with("as", "/bytes", &[named.url()], &tls(&trust, ", server_name: inner.example"))
            .upstream_with("off", "/status", &[named.url()], "tls: { verify_certificates: false }")
    })
    .await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    assert_eq!(connection.get("/bytes/70000").await.unwrap().body.len(), 70_000);
    assert_eq!(connection.get("/status/204").await.unwrap().status, StatusCode::NO_CONTENT);
    let before = (origin.journal().now().requests.len(), named.journal().now().requests.len());
    for path in ["/ca", "/name"] {
        let reply = connection.get(path).await.unwrap();
        assert_eq!(verdict(&reply), (502, "upstream error\n", "tls_certificate_error"), "{path}");
    }
    let after = (origin.journal().now().requests.len(), named.journal().now().requests.len());
    assert_eq!(after, before, "a backend that is not trusted got a request");
}

fn status(value: &str) -> Step {
    Step::Head(fields(&[(":status", value)]), true)
}

#[tokio::test]
async fn malformed_answers_are_502() {
    let with = |name: &str, value: &str| vec![Step::Head(fields(&[(":status", "200"), (name, value)]), true)];
    let cases = [
        ("no status", vec![Step::Head(fields(&[("x", "y")]), true)]),
        ("no number", vec![status("abc")]),
        ("two digits", vec![status("20")]),
        ("switching protocols", vec![status("101")]),
        ("two statuses", with(":status", "200")),
        ("unknown pseudo-header", with(":path", "/")),
        ("upper case", with("Server", "x")),
        ("invalid name", with("a b", "x")),
        ("line feed", with("x", "a\nb")),
        ("NUL", with("x", "a\0b")),
        ("length that is no number", with("content-length", "5x")),
        ("length without the body", with("content-length", "5")),
        ("body before the head", vec![Step::Data(5, true)]),
    ];
    for (what, steps) in cases {
        let rogue = Rogue::answering(steps).await;
        let proxy = Proxy::before(&[rogue.url()]).await;
        let reply = proxy.connect().await.get("/").await.unwrap();
        assert_eq!(verdict(&reply), (502, "upstream protocol error\n", "http_protocol_error"), "{what}");
        assert_eq!(rogue.journal().now().requests.len(), 1, "{what}: never sent again");
    }
}

#[tokio::test]
async fn connections_that_break_the_protocol_are_502() {
    let script = |steps: Vec<Step>| Fault::Script(Script::from(steps));
    let garbage = Step::Frame(kind::HEADERS, flag::END_HEADERS, On::Stream, vec![0xff; 9].into());
    let faults = [
        Fault::CloseOnAccept,
        Fault::CloseAfterPreface,
        Fault::Http1,
        script(vec![garbage]),
        script(vec![Step::Frame(kind::DATA, flag::NONE, On::Connection, vec![0].into())]),
        script(vec![Step::Frame(kind::WINDOW_UPDATE, flag::NONE, On::Connection, vec![0; 4].into())]),
        script(vec![Step::Frame(kind::PUSH_PROMISE, flag::END_HEADERS, On::Stream, vec![0, 0, 0, 2, 0x88].into())]),
        script(vec![Step::Bytes(vec![0xff; 64].into())]),
    ];
    for fault in faults {
        let rogue = Rogue::start(fault.clone()).await;
        let proxy = Proxy::start(|settings| settings.protocol("h2").upstream("all", "/", &[rogue.url()])).await;
        let connection = proxy.connect().await;
        let reply = connection.post("/", "body").await.unwrap();
        assert_eq!(reply.status, StatusCode::BAD_GATEWAY, "{fault:?}: {}", reply.text());
        rogue.journal().until("the end of the connection", |record| record.closed > 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_from_one_origin_hurts_no_other() {
    let floods = [
        Flood::Settings,
        Flood::Ping,
        Flood::Continuation,
        Flood::EmptyData,
        Flood::Informational,
        Flood::WindowUpdate,
        Flood::Priority,
    ];
    for flood in floods {
        let (good, bad) = (Origin::h2c().await, Rogue::start(Fault::Flood(flood)).await);
        let proxy = Proxy::start(|settings| {
            settings.upstream("good", "/", &[good.url()]).upstream("bad", "/bad", &[bad.url()])
        })
        .await;
        let connection = proxy.connect().await;
        // Uses the raw client, because the other one does not support interim responses.
        let victim = proxy.greeted().await;
        let asking = tokio::spawn(async move { victim.request(&frame::get("/bad"), true).await.answer().await });
        for _ in 0..50 {
            assert_eq!(connection.get("/").await.unwrap().text(), "hello", "{flood:?}");
        }
        let before = proxy.resident_bytes();
        match wait::within("an end of the flooded request", asking).await.unwrap() {
            Ok(answer) => assert_eq!(answer.statuses().last(), Some(&"502"), "{flood:?}"),
            Err(end) => assert!(matches!(end, End::Reset(_)), "{flood:?}: {end:?}"),
        }
        bad.journal().until("Spooky to give the connection up", |record| record.closed > 0).await;
        assert!(proxy.resident_bytes() < before + (32 << 20), "{flood:?} costs memory");
        assert_eq!(connection.get("/").await.unwrap().text(), "hello", "{flood:?}");
    }
}

#[tokio::test]
async fn an_origin_that_dies_between_requests_is_not_noticed_by_clients() {
    let (at, origin) = (port::free(), Origin::h2c().await);
    let proxy = Proxy::before(&[format!("http://{at}")]).await;
    let connection = proxy.connect().await;
    for _ in 0..5 {
        let relay = Relay::open(at, origin.addr()).await;
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
        // The idle connection is closed; the port is open again at once.
        relay.close().await;
    }
}

#[tokio::test]
async fn concurrent_requests_share_one_attempt_to_connect() {
    let mute = Arc::new(Rogue::start(Fault::Mute).await);
    let proxy = Proxy::start(|settings| {
        let timeouts = "timeouts: { connect_ms: 500, response_ms: 500 }";
        settings.protocol("h2").upstream_with("all", "/", &[mute.url()], timeouts)
    })
    .await;
    let connection = proxy.connect().await;
    let mut requests = JoinSet::new();
    for _ in 0..30 {
        let connection = connection.clone();
        requests.spawn(async move { connection.get("/").await.unwrap().status });
    }
    let statuses = wait::within_time(Duration::from_secs(20), "all answers", requests.join_all()).await;
    assert!(statuses.iter().all(StatusCode::is_server_error), "{statuses:?}");
    assert!(mute.journal().now().connections <= 8, "{} connections", mute.journal().now().connections);
}
