//! Active health checks, recovery with slow start, and limits on client connections
//! (docs/reference/behaviour.md#health, docs/reference/behaviour.md#client-connections).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use http::StatusCode;
use spooky_testkit::origin::Origin;
use spooky_testkit::origin::handler::{handle, text};
use spooky_testkit::rogue::{Fault, Rogue};
use spooky_testkit::{port, wait};
use tokio::task::JoinSet;

use crate::proxy::{NAME, Proxy};
use crate::relay::Relay;

/// Adds a health check to every backend.
pub(crate) fn probed(text: &str, check: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        match line.strip_suffix("\" }").filter(|line| line.contains("- { id: b")) {
            Some(backend) => out.extend([backend, "\", health_check: { ", check, " } }\n"]),
            None => out.extend([line, "\n"]),
        }
    }
    out
}

#[tokio::test]
async fn probes_find_what_is_down_and_what_is_back_without_a_request() {
    let is_well = Arc::new(AtomicBool::new(true));
    let state = is_well.clone();
    let sick = Origin::with(handle(move |request| {
        assert_eq!(request.headers()["user-agent"], concat!("spooky-health/", env!("CARGO_PKG_VERSION")));
        assert_eq!(request.uri().path(), "/status/204");
        let status = if state.load(SeqCst) { StatusCode::NO_CONTENT } else { StatusCode::SERVICE_UNAVAILABLE };
        async move { text(status, "") }
    }))
    .await;
    let (well, mute) = (Origin::h2c().await, Rogue::start(Fault::Mute).await);
    let check = "path: status/204, interval: 50, timeout_ms: 2s, failure_threshold: 2, cooldown_ms: 50";
    let proxy = Proxy::start_edited(
        |settings| {
            settings.upstream("sick", "/sick", &[sick.url()]).upstream("well", "/", &[well.url()]).upstream(
                "mute",
                "/mute",
                &[mute.url()],
            )
        },
        |text| probed(&text, check),
    )
    .await;
    sick.journal().until("probes although another backend is silent", |record| record.requests.len() >= 3).await;
    is_well.store(false, SeqCst);
    proxy.logged(&format!("Backend {} became unhealthy upstream=sick id=b1 reason=probe", sick.url()), 1).await;
    let connection = proxy.connect().await;
    let refused = connection.get("/sick").await.unwrap();
    assert_eq!((refused.text(), refused.field("retry-after")), ("no healthy servers\n", "1"));
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    is_well.store(true, SeqCst);
    proxy.logged(&format!("Backend {} became healthy upstream=sick id=b1 reason=probe", sick.url()), 1).await;
    proxy.logged(&format!("Backend {} became unhealthy upstream=mute id=b1 reason=probe", mute.url()), 1).await;
    assert_eq!(connection.get("/mute").await.unwrap().text(), "no healthy servers\n");
    proxy.logged("Initial health checks complete: ", 1).await;
    let record = sick.journal().now();
    assert!(record.connections >= 3, "{} connections for the probes: each makes its own", record.connections);
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_dies_under_load_costs_no_idempotent_request_and_returns_gradually() {
    const CLIENTS: usize = 8;
    let origins = [Origin::h2c().await, Origin::h2c().await, Origin::h2c().await];
    let ports = [port::free(), port::free(), port::free()];
    let mut relays = Vec::new();
    for (at, origin) in ports.iter().zip(&origins) {
        relays.push(Relay::open(*at, origin.addr()).await);
    }
    let backends: Vec<_> = ports.iter().map(|at| format!("http://{at}")).collect();
    let proxy = Proxy::start_edited(
        |settings| settings.upstream_with("all", "/", &backends, "load_balancing: { type: rr, slow_start_ms: 600s }"),
        |text| probed(&text, "path: /, interval: 50, cooldown_ms: 50"),
    )
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (connection, stop) = (proxy.connect().await, stop.clone());
        clients.spawn(async move {
            let mut served = 0;
            while !stop.load(SeqCst) {
                assert_eq!(connection.get("/").await.unwrap().text(), "hello", "a request was lost");
                served += 1;
            }
            served
        });
    }
    let served = |number: usize| origins[number].journal().read(|record| record.requests.len());
    origins[2].journal().until("load on all", |record| record.requests.len() > 300).await;
    relays.remove(2).close().await;
    let down = format!("Backend {} became unhealthy", backends[2]);
    proxy.logged(&down, 1).await;
    let before = served(0);
    origins[0].journal().until("load on the others", |record| record.requests.len() > before + 300).await;
    let (first, third) = (served(0), served(2));
    let _relay = Relay::open(ports[2], origins[2].addr()).await;
    proxy.logged(&format!("Backend {} became healthy", backends[2]), 1).await;
    origins[2].journal().until("its share", |record| record.requests.len() > third + 40).await;
    stop.store(true, SeqCst);
    let total: usize = wait::within("all clients", clients.join_all()).await.into_iter().sum();
    let (others, share) = (served(0) - first, served(2) - third);
    assert!(share * 4 < others, "{share} against {others}: its weight begins at a tenth");
    eprintln!("{total} requests, none lost");
}

#[tokio::test]
async fn connections_beyond_the_caps_are_refused_and_a_burst_is_slowed_down() {
    let origin = Origin::h2c().await;
    for (limits, allowed) in [("max_active_connections: 2", 2), ("max_connections_per_ip: 1", 1)] {
        let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).performance(limits)).await;
        let mut kept = Vec::new();
        for _ in 0..allowed {
            let connection = proxy.connect().await;
            // The connection is counted when the server has completed the handshake.
            assert_eq!(connection.get("/").await.unwrap().text(), "hello");
            kept.push(connection);
        }
        let refused = proxy.client().dial(proxy.settings.addr(), NAME).await.unwrap_err();
        // CONNECTION_REFUSED (RFC 9000 section 20.1).
        assert!(refused.to_string().contains("refused"), "{limits}: {refused}");
        for connection in &kept {
            assert_eq!(connection.get("/").await.unwrap().text(), "hello");
        }
    }
    // With an empty bucket nothing is answered. The client's retransmission succeeds when there is a token.
    let rate = "new_connections_per_sec: 2\nnew_connections_burst: 1";
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).performance(rate)).await;
    for _ in 0..3 {
        assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
    }
}
