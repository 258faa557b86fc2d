//! Faults caused by a client do not make a backend unhealthy or affect other clients.
//!
//! Most tests have an attacker and a normal client, which must not be affected.

use http::StatusCode;
use spooky_testkit::client::{Connection, Reply};
use spooky_testkit::origin::Origin;
use spooky_testkit::rogue::{Fault, On, Rogue, Script, Step, answer, fields, flag, kind};
use spooky_testkit::{port, wait};
use tokio::task::JoinSet;

use crate::proxy::Proxy;
use crate::relay::Relay;

/// Error codes of RFC 9113 section 7.
const PROTOCOL_ERROR: u32 = 0x1;
const INTERNAL_ERROR: u32 = 0x2;
const CANCEL: u32 = 0x8;
const ENHANCE_YOUR_CALM: u32 = 0xb;
const HTTP_1_1_REQUIRED: u32 = 0xd;

/// Starts backends that fail only for the path `/poison`.
async fn poisoned(backends: usize, poison: &[Step]) -> Vec<Rogue> {
    let mut rogues = Vec::new();
    for _ in 0..backends {
        let pages = vec![("/poison", poison.to_vec()), ("/hold", vec![Step::Wait(wait::BOUND * 10)])];
        rogues.push(Rogue::start(Fault::Script(Script { pages, ..Script::from(answer(5)) })).await);
    }
    rogues
}

fn urls(rogues: &[Rogue]) -> Vec<String> {
    rogues.iter().map(Rogue::url).collect()
}

/// Returns the number of requests for a path, over all backends.
fn asked(rogues: &[Rogue], path: &str) -> usize {
    let of = |rogue: &Rogue| rogue.journal().read(|record| record.requests.iter().filter(|it| it.path == path).count());
    rogues.iter().map(of).sum()
}

async fn assert_served(normal: &Connection) {
    assert_eq!(normal.get("/").await.unwrap().status, StatusCode::OK, "the other client has to suffer for it");
}

fn assert_unmarked(proxy: &Proxy) {
    for text in ["became unhealthy", "Circuit of backend", "Adaptive limit changed", "Brownout began"] {
        assert_eq!(proxy.count(text), 0, "{text}: {}", proxy.program.output());
    }
}

/// Sends requests concurrently and waits for all answers.
async fn at_once(connection: &Connection, requests: usize, request: http::Request<bytes::Bytes>) -> Vec<Reply> {
    let mut answers = JoinSet::new();
    for _ in 0..requests {
        let (connection, request) = (connection.clone(), request.clone());
        answers.spawn(async move { connection.send(request).await.unwrap() });
    }
    wait::within("all answers", answers.join_all()).await
}

fn post(path: &str) -> http::Request<bytes::Bytes> {
    http::Request::post(format!("https://localhost{path}")).body(bytes::Bytes::new()).unwrap()
}

#[tokio::test]
async fn requests_that_backends_reject_by_a_reset_mark_none_and_are_sent_once() {
    for code in [PROTOCOL_ERROR, ENHANCE_YOUR_CALM, HTTP_1_1_REQUIRED, CANCEL] {
        let rogues = poisoned(3, &[Step::Reset(code)]).await;
        let proxy = Proxy::before(&urls(&rogues)).await;
        let (attacker, normal) = (proxy.connect().await, proxy.connect().await);
        for _ in 0..15 {
            let reply = attacker.get("/poison").await.unwrap();
            assert_eq!((reply.status, reply.text()), (StatusCode::BAD_GATEWAY, "upstream error\n"), "{code:#x}");
        }
        for _ in 0..9 {
            assert_served(&normal).await;
        }
        assert_eq!(asked(&rogues, "/poison"), 15, "{code:#x}: rejected requests are not repeated");
        assert_unmarked(&proxy);
    }
}

#[tokio::test]
async fn a_request_at_which_every_backend_fails_marks_none() {
    let begun = Step::Head(fields(&[(":status", "200")]), false);
    for poison in [vec![Step::Reset(INTERNAL_ERROR)], vec![begun, Step::Data(5, false), Step::Reset(INTERNAL_ERROR)]] {
        let rogues = poisoned(3, &poison).await;
        let proxy = Proxy::before(&urls(&rogues)).await;
        // There are no other requests whose success would reset the failure counts.
        let attacker = proxy.connect().await;
        for _ in 0..10 {
            for request in
                [http::Request::get("https://localhost/poison").body(bytes::Bytes::new()).unwrap(), post("/poison")]
            {
                let reply = attacker.send(request).await;
                assert!(reply.is_err() || reply.is_ok_and(|reply| reply.text() == "upstream error\n"));
            }
        }
        let normal = proxy.connect().await;
        for _ in 0..9 {
            assert_served(&normal).await;
        }
        assert_unmarked(&proxy);
    }
}

#[tokio::test]
async fn a_backend_that_fails_at_what_another_answers_is_taken_out() {
    let (sick, good) = (Rogue::answering(vec![Step::Reset(INTERNAL_ERROR)]).await, Origin::h2c().await);
    let proxy = Proxy::before(&[sick.url(), good.url()]).await;
    let connection = proxy.connect().await;
    for _ in 0..12 {
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    }
    proxy.logged(&format!("Backend {} became unhealthy upstream=all id=b1 reason=reset", sick.url()), 1).await;
    assert_eq!(sick.journal().now().requests.len(), 3, "until then");
}

#[tokio::test]
async fn a_request_for_which_a_backend_ends_the_connection_marks_nobody() {
    let payload = [u32::MAX >> 1, PROTOCOL_ERROR].map(u32::to_be_bytes).concat();
    let goaway = Step::Frame(kind::GOAWAY, flag::NONE, On::Connection, payload.into());
    let rogues = poisoned(2, &[goaway, Step::Close]).await;
    let proxy = Proxy::before(&urls(&rogues)).await;
    let (attacker, normal) = (proxy.connect().await, proxy.connect().await);
    for _ in 0..10 {
        assert_eq!(attacker.get("/poison").await.unwrap().text(), "upstream error\n");
        assert_served(&normal).await;
        assert_served(&normal).await;
    }
    assert_eq!(asked(&rogues, "/poison"), 10, "alone on its connection it was what the backend objected to");
    assert_unmarked(&proxy);
}

#[tokio::test]
async fn a_connection_that_breaks_counts_once_for_all_requests_on_it() {
    let rogues = poisoned(2, &[Step::Close]).await;
    let proxy = Proxy::before(&urls(&rogues)).await;
    let (holder, breaker) = (proxy.connect().await, proxy.connect().await);
    let mut held = JoinSet::new();
    for _ in 0..20 {
        let holder = holder.clone();
        held.spawn(async move { holder.post("/hold", "").await.unwrap().status });
    }
    let arrived = || async { (asked(&rogues, "/hold") == 20).then_some(()) };
    wait::until(wait::BOUND, "all of them to be under way", arrived).await;
    // One connection to each backend.
    for _ in 0..2 {
        assert_eq!(breaker.post("/poison", "").await.unwrap().status, StatusCode::BAD_GATEWAY);
    }
    let statuses = wait::within("the end of all", held.join_all()).await;
    assert!(statuses.iter().all(|status| *status == StatusCode::BAD_GATEWAY), "{statuses:?}");
    for _ in 0..4 {
        assert_served(&holder).await;
    }
    assert_unmarked(&proxy);
}

#[tokio::test]
async fn a_url_that_answers_500_empties_no_pool() {
    let origins = [Origin::h2c().await, Origin::h2c().await, Origin::h2c().await];
    let backends = origins.each_ref().map(Origin::url);
    for (health, most) in [("passive_health: { count_5xx: false }", 0), ("passive_health: { count_5xx: true }", 1)] {
        let proxy = Proxy::start(|settings| settings.upstream_with("all", "/", &backends, health)).await;
        let (attacker, normal) = (proxy.connect().await, proxy.connect().await);
        for _ in 0..30 {
            assert_eq!(attacker.get("/status/500").await.unwrap().status, StatusCode::INTERNAL_SERVER_ERROR);
        }
        for _ in 0..9 {
            assert_served(&normal).await;
        }
        proxy.logged("became unhealthy", most).await;
    }
}

/// A response timeout that is long enough for a slow machine and short enough for the test.
const SHORT: &str = "timeouts: { connect_ms: 400, response_ms: 400 }";

#[tokio::test]
async fn one_slow_answer_of_the_only_backend_is_one_attempt_and_takes_nothing_away() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| settings.upstream_with("all", "/", &[origin.url()], SHORT)).await;
    let (attacker, normal) = (proxy.connect().await, proxy.connect().await);
    let reply = attacker.get("/hold").await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.text()), (503, "upstream timeout\n"));
    assert_eq!(origin.journal().now().requests.len(), 1, "a backend that is late is not asked again");
    assert_served(&normal).await;
    let slow = http::Request::get("https://localhost/hold").body(bytes::Bytes::new()).unwrap();
    let replies = at_once(&attacker, 10, slow).await;
    assert!(replies.iter().all(|reply| reply.text() == "upstream timeout\n"), "{replies:?}");
    assert_served(&normal).await;
    assert_unmarked(&proxy);
}

#[tokio::test]
async fn slow_urls_mark_no_backend_that_answers_others() {
    let origins = [Origin::h2c().await, Origin::h2c().await];
    let backends = origins.each_ref().map(Origin::url);
    let proxy = Proxy::start(|settings| settings.upstream_with("all", "/", &backends, SHORT)).await;
    let (attacker, normal) = (proxy.connect().await, proxy.connect().await);
    let slow = tokio::spawn(async move { at_once(&attacker, 20, post("/hold")).await });
    while !slow.is_finished() {
        assert_served(&normal).await;
    }
    let replies = slow.await.unwrap();
    assert!(replies.iter().all(|reply| reply.text() == "upstream timeout\n"), "{replies:?}");
    assert_served(&normal).await;
    assert_served(&normal).await;
    assert_unmarked(&proxy);
}

#[tokio::test]
async fn backends_that_come_back_serve_the_next_request() {
    for count in [1, 2] {
        let origin = Origin::h2c().await;
        let ports: Vec<_> = (0..count).map(|_| port::free()).collect();
        let backends: Vec<_> = ports.iter().map(|at| format!("http://{at}")).collect();
        let proxy = Proxy::before(&backends).await;
        let connection = proxy.connect().await;
        for _ in 0..10 {
            let reply = connection.get("/").await.unwrap();
            assert_eq!((reply.status, reply.text()), (StatusCode::BAD_GATEWAY, "upstream error\n"));
        }
        let mut relays = Vec::new();
        for at in ports {
            relays.push(Relay::open(at, origin.addr()).await);
        }
        for _ in 0..4 {
            assert_eq!(connection.get("/").await.unwrap().text(), "hello", "{count} backends");
        }
        assert_eq!(proxy.count("Circuit of backend"), 0, "connections have their own back-off");
        assert!(proxy.count("became unhealthy") < count, "{}", proxy.program.output());
    }
}

#[tokio::test]
async fn the_last_circuit_of_a_pool_stays_closed() {
    let rogues = poisoned(3, &[Step::Close]).await;
    let off = "passive_health: { enabled: false }";
    let proxy = Proxy::start(|settings| settings.upstream_with("all", "/", &urls(&rogues), off)).await;
    let (attacker, normal) = (proxy.connect().await, proxy.connect().await);
    for _ in 0..30 {
        assert_eq!(attacker.post("/poison", "").await.unwrap().text(), "upstream error\n");
    }
    for _ in 0..9 {
        assert_served(&normal).await;
    }
    proxy.logged("Circuit of backend", 1).await;
}

#[tokio::test]
async fn a_deadline_that_a_client_chose_lowers_no_limit() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).block(
            "resilience:\n  route_queue: { max_wait_ms: 0 }\n  \
             adaptive_admission: { min_limit: 1, max_limit: 40, decrease_step: 39 }",
        )
    })
    .await;
    let (attacker, normal) = (proxy.connect().await, proxy.connect().await);
    let call = http::Request::post("https://localhost/hold").header("content-type", "application/grpc");
    let call = call.header("te", "trailers").header("grpc-timeout", "1n").body(bytes::Bytes::new()).unwrap();
    for _ in 0..10 {
        let replies = at_once(&attacker, 20, call.clone()).await;
        assert!(replies.iter().all(|reply| reply.field("grpc-message") == "upstream timeout"), "{replies:?}");
        // If the limit were at its minimum, one of two requests would be refused.
        let get = http::Request::get("https://localhost/").body(bytes::Bytes::new()).unwrap();
        let replies = at_once(&normal, 10, get).await;
        assert!(replies.iter().all(|reply| reply.status == StatusCode::OK), "{replies:?}");
    }
    assert_unmarked(&proxy);
}

#[tokio::test]
async fn without_core_routes_a_brownout_favours_nobody() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[origin.url()])
            .performance("global_inflight_limit: 4")
            .block("resilience:\n  route_queue: { max_wait_ms: 0 }\n  adaptive_admission: { enabled: false }")
    })
    .await;
    let connection = proxy.connect().await;
    let mut held = JoinSet::new();
    for _ in 0..4 {
        let connection = connection.clone();
        held.spawn(async move { connection.get("/gate").await.unwrap().text().to_owned() });
    }
    origin.journal().until("as many as the limit", |record| record.requests.len() == 4).await;
    assert_eq!(connection.get("/").await.unwrap().text(), "overloaded, retry later\n", "that limit, and no brownout");
    origin.open_gate();
    assert_eq!(wait::within("all of them", held.join_all()).await, ["through"; 4]);
    assert_unmarked(&proxy);
}
