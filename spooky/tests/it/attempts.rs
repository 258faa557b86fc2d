//! Retries and their budgets, hedging, circuit breakers, deadlines
//! (docs/reference/behaviour.md#retries, docs/reference/behaviour.md#hedging, docs/reference/behaviour.md#circuit-breaker).

use bytes::Bytes;
use http::{Request, StatusCode};
use spooky_testkit::client::Failure;
use spooky_testkit::origin::Origin;
use spooky_testkit::origin::handler::fixed;
use spooky_testkit::rogue::{Fault, Rogue, Script, Step, answer, fields};
use spooky_testkit::{port, wait};
use tokio::task::JoinSet;

use crate::proxy::Proxy;

#[tokio::test]
async fn retries_are_bounded_by_the_budget_of_the_route_and_by_their_number() {
    let origin = Origin::h2c().await;
    let backends = [format!("http://{}", port::free()), origin.url()];
    let none = "retry_budget: { min_retries: 0, ratio_percent: 0 }";
    for (budget, first) in [
        ("retry_budget: { min_retries: 1, ratio_percent: 0 }", 200),
        (none, 502),
        ("retry_budget: { max_retries: 0 }", 502),
        ("retry_budget: { min_retries: 0, ratio_percent: 100, per_route_ratio_percent: { all: 0 } }", 502),
        ("retry_budget: { enabled: false, min_retries: 0, ratio_percent: 0 }", 200),
    ] {
        let block = format!("resilience:\n  {budget}");
        let proxy = Proxy::start(|settings| settings.upstream("all", "/", &backends).block(&block)).await;
        let connection = proxy.connect().await;
        assert_eq!(connection.get("/").await.unwrap().status, first, "{budget}");
        // The dead backend is skipped from now on, so no retry is needed.
        assert_eq!(connection.get("/").await.unwrap().status, StatusCode::OK, "{budget}");
    }
}

#[tokio::test]
async fn what_may_have_been_processed_is_repeated_for_idempotent_methods_only() {
    let good = Origin::h2c().await;
    let rogue = Rogue::answering(vec![Step::Reset(2)]).await;
    let backends = [rogue.url(), good.url()];
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &backends)).await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    // Round robin continues after the backend that has answered: the next first attempts alternate.
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    let statuses = [connection.post("/echo", "x").await.unwrap(), connection.post("/echo", "x").await.unwrap()]
        .map(|reply| reply.status.as_u16());
    assert!(statuses.contains(&200) && statuses.contains(&502), "{statuses:?}");
    let put = Request::put("https://localhost/echo").body(Bytes::from_static(b"x")).unwrap();
    for _ in 0..2 {
        assert_eq!(connection.send(put.clone()).await.unwrap().text(), "x");
    }
}

#[tokio::test]
async fn a_hedge_answers_for_a_slow_backend_and_its_loser_is_cancelled() {
    let slow = Origin::h2c().await;
    let quick = Origin::with(fixed(StatusCode::OK, "quick")).await;
    let backends = [slow.url(), quick.url()];
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("hedged", "/", &backends)
            .block("resilience:\n  hedging: { enabled: true, delay_ms: 50 }\n  retry_budget: { enabled: false }")
    })
    .await;
    let connection = proxy.connect().await;
    for _ in 0..8 {
        assert_eq!(connection.get("/hold").await.unwrap().text(), "quick");
    }
    // A cancelled hedge is not a failure: the slow backend stays in use.
    let record = slow.journal().until("the losers to be cancelled", |record| record.cancelled >= 4).await;
    assert_eq!(record.cancelled, record.requests.len());
    assert_eq!(quick.journal().now().requests.len(), 8, "none was sent there twice");
    assert_eq!(proxy.count("became unhealthy"), 0);
}

#[tokio::test]
async fn neither_bodies_nor_unsafe_methods_nor_other_routes_are_hedged() {
    let slow = Origin::h2c().await;
    let quick = Origin::with(fixed(StatusCode::OK, "quick")).await;
    let backends = [slow.url(), quick.url()];
    let timeouts = "timeouts: { connect_ms: 300, response_ms: 300 }\npassive_health: { enabled: false }";
    let proxy = Proxy::start(|settings| {
        settings
            .upstream_with("hedged", "/", &backends, timeouts)
            .upstream_with("other", "/hold/other", &backends, timeouts)
            .block(
                "resilience:\n  hedging: { enabled: true, delay_ms: 50, route_allowlist: [hedged] }\n  \
                 retry_budget: { max_retries: 1 }\n  circuit_breaker: { enabled: false }",
            )
    })
    .await;
    let connection = proxy.connect().await;
    let statuses = [connection.post("/hold", "").await.unwrap(), connection.post("/hold", "x").await.unwrap()];
    assert!(statuses.iter().any(|reply| reply.text() == "upstream timeout\n"), "{statuses:?}");
    let before = slow.journal().now().requests.len();
    let reply = connection.get("/hold/other").await.unwrap();
    let reply = if slow.journal().now().requests.len() == before {
        connection.get("/hold/other").await.unwrap()
    } else {
        reply
    };
    assert_eq!(reply.text(), "quick", "a retry after the timeout");
}

#[tokio::test]
async fn an_open_circuit_refuses_at_once_and_closes_after_a_success() {
    // Closes its connection for one path, and serves the others.
    let pages = vec![("/break", vec![Step::Close])];
    let rogue = Rogue::start(Fault::Script(Script { pages, ..Script::from(answer(5)) })).await;
    let start = |open: &'static str| {
        let backends = [rogue.url()];
        Proxy::start(move |settings| {
            settings.upstream_with("all", "/", &backends, "passive_health: { enabled: false }").block(&format!(
                "resilience:\n  retry_budget: {{ max_retries: 0 }}\n  \
                 circuit_breaker: {{ failure_threshold: 2, open_ms: {open}, max_open_percent: 100 }}"
            ))
        })
    };
    let proxy = start("60s").await;
    let connection = proxy.connect().await;
    for _ in 0..2 {
        assert_eq!(connection.get("/break").await.unwrap().text(), "upstream error\n");
    }
    proxy.logged(&format!("Circuit of backend {} opened upstream=all id=b1", rogue.url()), 1).await;
    for _ in 0..3 {
        let reply = connection.get("/").await.unwrap();
        assert_eq!(reply.text(), "backend circuit open, retry later\n");
        assert_eq!(reply.field("retry-after"), "1");
        assert_eq!(reply.field("proxy-status"), "spooky; error=destination_unavailable; details=\"circuit_open\"");
    }
    let proxy = start("100").await;
    let connection = proxy.connect().await;
    for _ in 0..2 {
        assert_eq!(connection.get("/break").await.unwrap().text(), "upstream error\n");
    }
    wait::until(wait::BOUND, "the circuit to close", || async {
        (connection.get("/").await.unwrap().status == StatusCode::OK).then_some(())
    })
    .await;
    proxy.logged(&format!("Circuit of backend {} closed upstream=all id=b1", rogue.url()), 1).await;
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let connection = connection.clone();
        requests.spawn(async move { connection.get("/").await.unwrap().status });
    }
    let statuses = wait::within("all answers", requests.join_all()).await;
    assert!(statuses.iter().all(StatusCode::is_success), "{statuses:?}");
}

#[tokio::test]
async fn a_lifetime_ends_an_exchange_wherever_it_is() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream_with("all", "/", &[origin.url()], "timeouts: { stream_lifetime_ms: 300 }")
    })
    .await;
    let connection = proxy.connect().await;
    let reply = connection.get("/hold").await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.text()), (503, "upstream timeout\n"));
    assert!(reply.field("proxy-status").ends_with("details=\"lifetime\""), "{}", reply.field("proxy-status"));
    assert_eq!(connection.get("/stall/10").await.unwrap_err(), Failure::Stream(0x102));
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
}

#[tokio::test]
async fn event_streams_may_be_silent_for_as_long_as_tunnels() {
    let events = |pause: Step| {
        let head = Step::Head(fields(&[(":status", "200"), ("content-type", "text/event-stream")]), false);
        Rogue::answering(vec![head, Step::Data(5, false), pause, Step::Data(5, true)])
    };
    // A pause longer than the idle timeout of ordinary bodies, and one that never ends.
    let alive = events(Step::Wait(std::time::Duration::from_millis(600))).await;
    let dead = events(Step::Wait(std::time::Duration::from_secs(3600))).await;
    let proxy =
        Proxy::start(|settings| {
            let ordinary = "connect_ms: 200, response_ms: 200, first_byte_ms: 200, body_idle_ms: 200, total_ms: 200";
            settings
                .upstream_with("alive", "/alive", &[alive.url()], &format!("timeouts: {{ {ordinary} }}"))
                .upstream_with("dead", "/", &[dead.url()], "timeouts: { tunnel_idle_ms: 200 }")
        })
        .await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/alive").await.unwrap().body.len(), 10);
    assert_eq!(connection.get("/").await.unwrap_err(), Failure::Stream(0x102));
}

#[tokio::test]
async fn the_timeout_of_a_grpc_call_is_its_total_deadline() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let request = Request::post("https://localhost/hold").header("content-type", "application/grpc");
    let request = request.header("te", "trailers").header("grpc-timeout", "200m").body("call".into()).unwrap();
    let reply = proxy.connect().await.send(request).await.unwrap();
    assert_eq!((reply.status, reply.field("grpc-status")), (StatusCode::OK, "4"));
    assert_eq!(reply.field("grpc-message"), "upstream timeout");
    origin.journal().until("the call to be cancelled", |record| record.cancelled == 1).await;
}

#[tokio::test]
async fn a_black_hole_costs_one_connect_timeout_and_not_one_for_each_request() {
    let (hole, good) = (Rogue::start(Fault::Mute).await, Origin::h2c().await);
    let backends = [hole.url(), good.url()];
    let proxy = Proxy::start(|settings| {
        settings
            .protocol("h2")
            .upstream_with("all", "/", &backends, "timeouts: { connect_ms: 300 }\npassive_health: { enabled: false }")
            .block("resilience:\n  retry_budget: { enabled: false }\n  circuit_breaker: { enabled: false }")
    })
    .await;
    let connection = proxy.connect().await;
    let mut requests = JoinSet::new();
    for _ in 0..60 {
        let connection = connection.clone();
        requests.spawn(async move { connection.get("/").await.unwrap().status });
    }
    let statuses = wait::within("all answers", requests.join_all()).await;
    assert!(statuses.iter().all(StatusCode::is_success), "{statuses:?}");
    assert_eq!(hole.journal().now().connections, 1, "half of the requests waited for one and the same attempt");
    for _ in 0..200 {
        assert_eq!(connection.get("/").await.unwrap().status, StatusCode::OK);
    }
    let attempts = hole.journal().now().connections;
    assert!(attempts <= 4, "{attempts} attempts: the pause after a failure doubles");
}
