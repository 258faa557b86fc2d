//! Each request ends exactly once, with the right counter in the line that a worker logs when it stops.

use http::StatusCode;
use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::client::raw::{Connection, Request};
use spooky_testkit::origin::Origin;
use spooky_testkit::{port, wait};

use rustix::process::Signal;

use crate::proxy::{Proxy, RequestCounts};

const H3_REQUEST_CANCELLED: u64 = 0x10c;

fn head(method: &str, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let mut head = vec![(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    head.extend_from_slice(more);
    frame::headers(&head).to_vec()
}

/// Sends a request that the origin receives and does not answer.
async fn held(connection: &Connection, origin: &Origin, method: &str, path: &str) -> Request {
    let before = origin.journal().read(|record| record.requests.len());
    let request = connection.request(&head(method, path, &[]), method == "GET").await;
    origin.journal().until("the request to arrive", |record| record.requests.len() > before).await;
    request
}

/// Only a response below 500 that was delivered completely is a success.
#[tokio::test]
async fn what_is_answered_counts_as_success_or_failure() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("dead", "/dead", &[format!("http://{}", port::free())])
            .upstream("slow", "/hold", &[origin.url()])
            .upstream_with("all", "/", &[origin.url()], "passive_health: { enabled: false }")
            .performance("max_request_body_bytes: 100")
            .performance("max_response_body_bytes: 1000")
            .block("resilience:\n  retry_budget: { max_retries: 0 }\n  protocol: { denied_path_prefixes: [/secret], allowed_methods: [GET, POST] }")
    })
    .await;
    let connection = proxy.greeted().await;
    let (mut success, mut failure) = (0, 0);
    // Refused before there is an exchange: by the request checks, the policy and the routes.
    for (bytes, statuses) in [
        (head("GET", "/", &[]), &["200"][..]),
        (head("GET", "/status/404", &[]), &["404"]),
        (head("GET", "/trailers", &[]), &["200"]),
        (head("GET", "/status/503", &[]), &["503"]),
        (head("GET", "/<", &[]), &["400"]),
        (head("GET", "/secret/x", &[]), &["403"]),
        (head("TRACE", "/", &[]), &["405"]),
        (head("GET", "/dead", &[]), &["502"]),
        (head("GET", "/bytes/2000", &[]), &["503"]),
        // Cut off, or reset.
        (head("GET", "/chunks/2000", &[]), &[]),
        (head("GET", "/", &[("x", "a\0b")]), &[]),
        (head("GET", "/", &[("content-length", "5")]), &[]),
    ] {
        let answer = connection.request(&bytes, true).await.answer().await;
        assert_eq!(answer.as_ref().map(|answer| answer.statuses()).unwrap_or_default(), statuses, "{bytes:?}");
        match statuses {
            ["200" | "404"] => success += 1,
            _ => failure += 1,
        }
    }
    // Reset by the backend, possibly before the head was forwarded.
    let broken = connection.request(&head("GET", "/abort/10", &[]), true).await.answer().await;
    assert_eq!(broken.map_or("502".to_owned(), |answer| answer.statuses().join(" ")), "502");
    failure += 1;
    // Refused uploads, and one that does not match its content-length.
    for (bytes, body, status) in [
        (head("POST", "/digest", &[("content-length", "101")]), 0, "413"),
        (head("POST", "/digest", &[]), 101, "413"),
        (head("POST", "/digest", &[("content-length", "10")]), 5, ""),
    ] {
        let mut request = connection.request(&bytes, false).await;
        request.write(&frame::frame(kind::DATA, &vec![0; body])).await;
        request.end();
        let answer = request.answer().await;
        assert_eq!(answer.ok().map(|answer| answer.statuses().join(" ")).unwrap_or_default(), status);
        failure += 1;
    }
    // The backend answers before the end of the upload.
    let mut early = connection.request(&head("POST", "/early", &[]), false).await;
    assert_eq!(early.answer().await.unwrap().statuses(), ["200"]);
    drop(early);
    let counts = proxy.stop_counted(connection).await;
    assert_eq!(counts, RequestCounts { total: success + 1 + failure, success: success + 1, failure, cancelled: 0 });
}

/// The client cancels in every phase and in every way.
#[tokio::test]
async fn what_the_client_ends_counts_as_cancelled() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        let limits = "resilience:\n  brownout: { enabled: false }\n  route_queue: { max_wait_ms: 60s, default_cap: 1 }";
        settings.upstream("all", "/", &[origin.url()]).performance("per_upstream_inflight_limit: 1").block(limits)
    })
    .await;
    let connection = proxy.greeted().await;
    // Before the response, during the response, and during the upload.
    held(&connection, &origin, "GET", "/hold").await.frames.stop(H3_REQUEST_CANCELLED);
    origin.journal().until("the first to be cancelled", |record| record.cancelled == 1).await;
    let mut streaming = held(&connection, &origin, "GET", "/stall/10").await;
    assert_eq!(streaming.frames.next().await.unwrap().kind, kind::HEADERS);
    streaming.frames.stop(H3_REQUEST_CANCELLED);
    origin.journal().until("the second to be cancelled", |record| record.cancelled == 2).await;
    held(&connection, &origin, "POST", "/digest").await.reset(H3_REQUEST_CANCELLED);
    wait::until(wait::BOUND, "the place of the third", || async {
        let answer = connection.request(&head("GET", "/", &[]), true).await.answer().await.unwrap();
        (answer.statuses() == ["200"]).then_some(())
    })
    .await;
    // In the queue. The second waiting request is refused, which shows that the first is in the queue.
    let mut first = held(&connection, &origin, "GET", "/hold").await;
    let mut queued = connection.request(&head("GET", "/", &[]), true).await;
    let refused = connection.request(&head("GET", "/", &[]), true).await.answer().await.unwrap();
    assert_eq!(refused.statuses(), ["503"]);
    queued.frames.stop(H3_REQUEST_CANCELLED);
    first.frames.stop(H3_REQUEST_CANCELLED);
    origin.journal().until("the fourth to be cancelled", |record| record.cancelled >= 3).await;
    // With the connection.
    let other = proxy.greeted().await;
    let lost = held(&other, &origin, "GET", "/hold").await;
    other.quic().close(0x100u32.into(), b"gone");
    origin.journal().until("the last to be cancelled", |record| record.cancelled >= 4).await;
    drop((lost, other));
    let counts = proxy.stop_counted(connection).await;
    assert_eq!(counts.cancelled, 6, "{counts:?}");
    assert_eq!((counts.total, counts.failure), (counts.success + counts.failure + 6, counts.failure), "{counts:?}");
}

/// By the timeout of the queue, and by the drain.
#[tokio::test]
async fn what_waits_in_vain_counts_as_failure() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::start(|settings| {
        let limits = "resilience:\n  brownout: { enabled: false }\n  route_queue: { max_wait_ms: 50ms }";
        settings
            .upstream("all", "/", &[origin.url()])
            .performance("per_upstream_inflight_limit: 1")
            .performance("shutdown_drain_timeout_ms: 50ms")
            .block(limits)
    })
    .await;
    let connection = proxy.connect().await;
    let gated = connection.clone();
    let first = tokio::spawn(async move { gated.get("/gate").await });
    origin.journal().until("the request to arrive", |record| record.requests.len() == 1).await;
    assert_eq!(connection.get("/").await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
    proxy.program.signal(Signal::TERM);
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(0));
    first.await.unwrap().unwrap_err();
    proxy.program.rest().await;
    assert_eq!(proxy.request_counts(), RequestCounts { total: 2, success: 0, failure: 2, cancelled: 0 });
}

/// A request ends when the client's connection has taken the last bytes, after the end of the backend's response.
#[tokio::test]
async fn a_response_that_is_read_late_ends_its_request() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[origin.url()])
            .performance("per_backend_inflight_limit: 1")
            .block("resilience:\n  route_queue: { max_wait_ms: 20s }")
    })
    .await;
    let (reader, other) = (proxy.greeted().await, proxy.connect().await);
    // 50 KB more than the client's stream window, beyond which quinn-proto takes nothing: Spooky must buffer the rest itself,
    // and on a slow path the window of a backend stream is not much larger.
    let mut request = reader.request(&head("GET", "/bytes/1300000", &[]), true).await;
    origin.journal().until("the response to be sent", |record| record.completed == 1).await;
    // Waits for the backend's capacity, which is free when the backend has ended its response.
    assert_eq!(other.get("/").await.unwrap().status, StatusCode::OK);
    assert_eq!(request.answer().await.unwrap().body.len(), 1_300_000);
    drop(other);
    let counts = proxy.stop_counted(reader).await;
    assert_eq!(counts, RequestCounts { total: 2, success: 2, failure: 0, cancelled: 0 });
}
