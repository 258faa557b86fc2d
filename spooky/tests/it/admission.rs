//! Limits on requests in flight, and the queues before them (docs/reference/behaviour.md#limits).

use http::StatusCode;
use spooky_testkit::client::{Connection, Exchange, Failure, Reply};
use spooky_testkit::origin::Origin;
use spooky_testkit::rogue::{Fault, Rogue, Script, answer};
use spooky_testkit::wait;
use tokio::task::{JoinHandle, JoinSet};

use crate::proxy::Proxy;

/// No queueing, and no other limit than that under test.
const NO_WAIT: &str = "resilience:\n  route_queue: { max_wait_ms: 0 }\n  brownout: { enabled: false }";
/// A queue timeout that no test reaches.
const PATIENT: &str = "resilience:\n  brownout: { enabled: false }\n  route_queue: { max_wait_ms: 60s";

/// Checks the status and the fields of an overload refusal.
fn assert_shed(reply: &Reply, text: &str, details: &str) {
    assert_eq!((reply.status, reply.text()), (StatusCode::SERVICE_UNAVAILABLE, &*format!("{text}\n")));
    assert_eq!(reply.field("retry-after"), "1");
    let error = if details == "circuit_open" { "destination_unavailable" } else { "connection_limit_reached" };
    assert_eq!(reply.field("proxy-status"), format!("spooky; error={error}; details=\"{details}\""));
}

/// Sends a request that stays at the origin until its gate opens.
async fn held(connection: &Connection, origin: &Origin) -> JoinHandle<Result<Reply, Failure>> {
    let before = origin.journal().read(|record| record.requests.len());
    let clone = connection.clone();
    let task = tokio::spawn(async move { clone.get("/gate").await });
    origin.journal().until("the request to arrive", |record| record.requests.len() > before).await;
    task
}

/// Starts a proxy before this origin with one limit of `performance`.
async fn limited(origin: &Origin, limit: &str) -> Proxy {
    Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).performance(limit).block(NO_WAIT)).await
}

async fn opened(connection: &Connection, path: &str) -> Exchange {
    let request = http::Request::get(format!("https://localhost{path}")).body(()).unwrap();
    let mut exchange = connection.open(request).await.unwrap();
    exchange.sending.finish().await.unwrap();
    exchange
}

#[tokio::test]
async fn each_limit_refuses_in_its_own_words() {
    let cases = [
        ("global_inflight_limit: 1", "overloaded, retry later", "global_inflight"),
        ("per_upstream_inflight_limit: 1", "upstream overloaded, retry later", "upstream_inflight"),
        ("per_backend_inflight_limit: 1", "backend overloaded, retry later", "backend_inflight"),
    ];
    for (limit, text, details) in cases {
        let origin = Origin::h2c().await;
        let proxy = limited(&origin, limit).await;
        let connection = proxy.connect().await;
        let first = held(&connection, &origin).await;
        for _ in 0..3 {
            assert_shed(&connection.get("/").await.unwrap(), text, details);
        }
        origin.open_gate();
        assert_eq!(first.await.unwrap().unwrap().text(), "through");
        assert_eq!(connection.get("/").await.unwrap().text(), "hello", "the place is free again");
    }
}

#[tokio::test]
async fn a_connection_has_no_more_requests_at_once_than_it_was_granted() {
    let origin = Origin::h2c().await;
    let proxy = limited(&origin, "quic_initial_max_streams_bidi: 2").await;
    let connection = proxy.connect().await;
    let held = [held(&connection, &origin).await, held(&connection, &origin).await];
    let clone = connection.clone();
    let third = tokio::spawn(async move { clone.get("/").await });
    // Other requests are served meanwhile; this one has no stream and is not refused.
    let other = proxy.connect().await;
    for _ in 0..10 {
        assert_eq!(other.get("/").await.unwrap().text(), "hello");
    }
    assert!(!third.is_finished());
    assert_eq!(origin.journal().read(|record| record.requests.len()), 12);
    origin.open_gate();
    for request in held {
        assert_eq!(request.await.unwrap().unwrap().text(), "through");
    }
    assert_eq!(third.await.unwrap().unwrap().text(), "hello");
}

#[tokio::test]
async fn a_place_is_held_to_the_end_of_the_stream() {
    let origin = Origin::h2c().await;
    let proxy = limited(&origin, "per_upstream_inflight_limit: 1").await;
    let connection = proxy.connect().await;
    let mut streaming = opened(&connection, "/stall/10").await;
    assert_eq!(streaming.reading.head().await.unwrap().status(), StatusCode::OK);
    assert_eq!(streaming.reading.data().await.unwrap().unwrap().len(), 10);
    assert_shed(&connection.get("/").await.unwrap(), "upstream overloaded, retry later", "upstream_inflight");
    streaming.cancel();
    wait::until(wait::BOUND, "the place of a cancelled request", || async {
        (connection.get("/").await.unwrap().status == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_waits_is_served_in_turn_and_a_full_queue_refuses_at_once() {
    for (limit, more, text, details) in [
        ("per_upstream_inflight_limit: 1", ", default_cap: 1 }", "route queue cap exceeded", "route_cap"),
        ("per_backend_inflight_limit: 1", ", caps: { all: 1 } }", "route queue cap exceeded", "route_cap"),
        ("global_inflight_limit: 1", ", global_cap: 1 }", "global queue cap exceeded", "route_global_cap"),
    ] {
        let origin = Origin::h2c().await;
        let proxy = Proxy::start(|settings| {
            settings.upstream("all", "/", &[origin.url()]).performance(limit).block(&format!("{PATIENT}{more}"))
        })
        .await;
        let connection = proxy.connect().await;
        let first = held(&connection, &origin).await;
        // The first of these waits, the others are refused.
        let mut others = JoinSet::new();
        for _ in 0..4 {
            let connection = connection.clone();
            others.spawn(async move { connection.get("/").await.unwrap() });
        }
        for _ in 0..3 {
            assert_shed(&others.join_next().await.unwrap().unwrap(), text, details);
        }
        assert_eq!(origin.journal().now().requests.len(), 1, "{limit}: the one that waits is not sent");
        origin.open_gate();
        assert_eq!(first.await.unwrap().unwrap().text(), "through");
        assert_eq!(others.join_next().await.unwrap().unwrap().text(), "hello", "{limit}");
    }
}

#[tokio::test]
async fn a_wait_in_vain_ends_with_the_limit_waited_for_and_a_client_that_leaves_frees_its_place() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[origin.url()])
            .performance("per_upstream_inflight_limit: 1")
            .block("resilience:\n  brownout: { enabled: false }\n  route_queue: { max_wait_ms: 300, default_cap: 1 }")
    })
    .await;
    let connection = proxy.connect().await;
    let first = held(&connection, &origin).await;
    assert_shed(&connection.get("/").await.unwrap(), "upstream overloaded, retry later", "upstream_inflight");
    // Twenty requests that leave the queue: if one leaked its entry, the queue would stay full for the last.
    for _ in 0..20 {
        opened(&connection, "/").await.cancel();
    }
    wait::until(wait::BOUND, "a place in the queue", || async {
        let reply = connection.get("/").await.unwrap();
        (reply.text() == "upstream overloaded, retry later\n").then_some(())
    })
    .await;
    origin.open_gate();
    assert_eq!(first.await.unwrap().unwrap().text(), "through");
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    assert_eq!(origin.journal().now().requests.len(), 2, "who gave up was never sent");
}

#[tokio::test]
async fn requests_of_two_workers_wait_for_the_same_place() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .workers(2)
            .upstream("all", "/", &[origin.url()])
            .performance("per_upstream_inflight_limit: 1")
            .block(&format!("{PATIENT} }}"))
    })
    .await;
    let first = proxy.connect().await;
    let gate = held(&first, &origin).await;
    let mut others = JoinSet::new();
    for _ in 0..8 {
        // Each on a socket of its own: the kernel spreads them over the workers.
        let connection = proxy.connect().await;
        others.spawn(async move { connection.get("/").await.unwrap().text().to_owned() });
    }
    origin.open_gate();
    assert_eq!(gate.await.unwrap().unwrap().text(), "through");
    let texts = wait::within("all who waited", others.join_all()).await;
    assert_eq!(texts, vec!["hello"; 8]);
}

#[tokio::test]
async fn brownout_serves_core_routes_only_until_the_load_is_gone() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[origin.url()])
            .upstream("core", "/bytes", &[origin.url()])
            .performance("global_inflight_limit: 4")
            .block(
                "resilience:\n  brownout: { trigger_inflight_percent: 75, recover_inflight_percent: 25, \
                 core_routes: [core] }",
            )
    })
    .await;
    let connection = proxy.connect().await;
    let mut gates = Vec::new();
    for _ in 0..3 {
        gates.push(held(&connection, &origin).await);
    }
    assert_shed(&connection.get("/").await.unwrap(), "brownout active, non-core route shed", "brownout");
    assert_eq!(connection.get("/bytes/9").await.unwrap().body.len(), 9);
    origin.open_gate();
    for gate in gates {
        assert_eq!(gate.await.unwrap().unwrap().text(), "through");
    }
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
}

#[tokio::test]
async fn windows_of_timeouts_lower_the_adaptive_limit_and_time_raises_it() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream_with("all", "/", &[origin.url()], "timeouts: { connect_ms: 300, response_ms: 300 }").block(
            "resilience:\n  route_queue: { max_wait_ms: 0 }\n  adaptive_admission: \
                 { min_limit: 1, max_limit: 40, decrease_step: 39, increase_step: 1 }",
        )
    })
    .await;
    let connection = proxy.connect().await;
    let mut slow = JoinSet::new();
    for _ in 0..20 {
        let connection = connection.clone();
        slow.spawn(async move { connection.post("/hold", "").await.unwrap().status });
    }
    let statuses = slow.join_all().await;
    assert!(statuses.iter().all(|status| *status == StatusCode::SERVICE_UNAVAILABLE), "{statuses:?}");
    // The window is evaluated by the next request after it, and the change is logged.
    wait::until(wait::BOUND, "the limit to be lowered", || async {
        connection.get("/").await.unwrap();
        (proxy.count("Adaptive limit changed from 40 to ") == 1).then_some(())
    })
    .await;
    wait::until(wait::BOUND, "the limit to rise for two at a time", || async {
        let (one, two) = tokio::join!(Box::pin(connection.get("/")), Box::pin(connection.get("/")));
        (one.unwrap().status == StatusCode::OK && two.unwrap().status == StatusCode::OK).then_some(())
    })
    .await;
}

#[tokio::test]
async fn request_bytes_beyond_the_budget_are_503() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("request_buffer_global_cap_bytes: 1000")
    })
    .await;
    let connection = proxy.connect().await;
    let reply = connection.post("/echo", vec![0; 50_000]).await.unwrap();
    assert_shed(&reply, "request body backpressure overload", "request_buffer_cap");
    assert_eq!(connection.post("/echo", "small").await.unwrap().text(), "small", "what was taken has returned");
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
}

/// A request with a body of 300 KB, all of it given to QUIC; the end is still to come.
async fn uploading(connection: &Connection, path: &str) -> Exchange {
    let request = http::Request::post(format!("https://localhost{path}")).body(()).unwrap();
    let mut exchange = connection.open(request).await.unwrap();
    exchange.sending.data(vec![0; 300_000]).await.unwrap();
    exchange
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_bytes_count_while_they_lie_unread_with_the_clients_connection() {
    let rogue = Rogue::start(Fault::Script(Script { credit: false, after_request: true, ..answer(5).into() })).await;
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("stuck", "/stuck", &[rogue.url()])
            .upstream("all", "/", &[origin.url()])
            .performance("request_buffer_global_cap_bytes: 400000")
    })
    .await;
    // The backend takes one window of this. The rest stays in QUIC, which has granted a megabyte of credit.
    let other = proxy.connect().await;
    let mut first = uploading(&other, "/stuck").await;
    rogue.journal().until("the backend's window to be full", |record| record.body_bytes == 65_535).await;
    // They have been counted when the datagrams are sent and a later request is answered.
    let sent = || async { (other.quic().stats().udp_tx.bytes > 300_000).then_some(()) };
    wait::until(wait::BOUND, "the first body to be sent", sent).await;
    assert_eq!(other.get("/").await.unwrap().text(), "hello");
    // As many bytes again exceed the budget, although QUIC has granted credit for them.
    let connection = proxy.connect().await;
    let mut second = uploading(&connection, "/stuck").await;
    assert_shed(&second.reading.reply().await.unwrap(), "request body backpressure overload", "request_buffer_cap");
    // Small uploads still fit, and the first upload is complete.
    assert_eq!(connection.post("/echo", "small").await.unwrap().text(), "small");
    first.sending.reset(0x10c);
    rogue.journal().until("RST_STREAM with CANCEL", |record| record.resets.contains(&(1, 8))).await;
    let body = vec![7; 300_000];
    assert_eq!(connection.post("/echo", body.clone()).await.unwrap().body, body, "all of it has returned");
}
