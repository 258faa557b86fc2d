//! Twice the load that a backend can serve: the backend works at its capacity, the rest is refused
//! (docs/reference/behaviour.md#admission, docs/reference/behaviour.md#overload-refusals).

use http::StatusCode;
use spooky_testkit::client::Connection;
use spooky_testkit::origin::{
    Origin,
    handler::{handle, text},
};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

use crate::proxy::Proxy;

const SERVICE: Duration = Duration::from_millis(20);
const PLACES: usize = 8;
const RUN: Duration = Duration::from_secs(2);

/// Measures the requests per second with the backend's limit in flight all the time.
async fn capacity(connections: &[Connection]) -> f64 {
    let (start, mut clients) = (Instant::now(), JoinSet::new());
    for connection in connections {
        let connection = connection.clone();
        clients.spawn(async move {
            let mut served = 0_u32;
            while start.elapsed() < RUN {
                assert_eq!(connection.get("/").await.unwrap().status, StatusCode::OK);
                served += 1;
            }
            served
        });
    }
    f64::from(clients.join_all().await.into_iter().sum::<u32>()) / start.elapsed().as_secs_f64()
}

/// Compares two rates of one run, because a slow machine slows both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twice_the_load_leaves_the_goodput_and_refuses_the_rest_in_words() {
    let origin = Origin::with(handle(|_| async {
        tokio::time::sleep(SERVICE).await;
        text(StatusCode::OK, "served")
    }))
    .await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[origin.url()])
            .performance(&format!("per_backend_inflight_limit: {PLACES}"))
            .block("resilience:\n  route_queue: { max_wait_ms: 100 }")
    })
    .await;
    let mut connections = Vec::new();
    for _ in 0..PLACES {
        connections.push(proxy.connect().await);
    }
    let capacity = capacity(&connections).await;
    let (start, mut requests) = (Instant::now(), JoinSet::new());
    let mut offered = 0_u32;
    while start.elapsed() < RUN {
        // Catches up when late, so the average rate is correct.
        if f64::from(offered) > start.elapsed().as_secs_f64() * capacity * 2.0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            continue;
        }
        let connection = connections[offered as usize % PLACES].clone();
        offered += 1;
        requests.spawn(async move { connection.get("/").await.unwrap() });
    }
    let replies = requests.join_all().await;
    let elapsed = start.elapsed().as_secs_f64();
    let (served, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == StatusCode::OK);
    let goodput = served.len() as f64 / elapsed;
    assert!(goodput > capacity * 0.7, "{goodput:.0}/s served of {capacity:.0}/s under twice the load");
    assert!(refused.len() > offered as usize / 5, "{} of {offered} refused: there was no overload", refused.len());
    for reply in refused {
        assert_eq!(reply.text(), "backend overloaded, retry later\n");
        assert_eq!(reply.field("retry-after"), "1");
    }
}
