//! The series of backends that a reload removes, while requests are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use spooky_testkit::origin::Origin;
use spooky_testkit::port;
use spooky_testkit::wait;

use super::rig::send;
use crate::proxy::Proxy;

/// Returns the sum of the samples whose names and labels begin so.
fn sum(page: &str, start: &str) -> u64 {
    let samples = page.lines().filter(|line| line.starts_with(start));
    samples.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn series_of_a_removed_backend_vanish_under_load_and_sums_stay() {
    let (stays, goes) = (Origin::h2c().await, Origin::h2c().await);
    let at = port::free();
    let block = format!("observability:\n  metrics: {{ enabled: true, required: true, port: {} }}", at.port());
    let backends = [stays.url(), goes.url()];
    let proxy = Proxy::start(|settings| settings.workers(2).upstream("all", "/", &backends).block(&block)).await;
    let page = async || send(at, "GET", "/metrics", "", "").await.text().to_owned();
    let two = proxy.settings.text();
    let one: String = two.lines().filter(|line| !line.contains("{ id: b2,")).flat_map(|line| [line, "\n"]).collect();

    // A request that the removed backend answers only after it was removed.
    let mut held = Vec::new();
    while goes.journal().read(|seen| seen.requests.is_empty()) {
        let connection = proxy.connect().await;
        held.push(tokio::spawn(async move { connection.get("/gate").await.unwrap().status }));
        let all = || stays.journal().read(|seen| seen.requests.len()) + goes.journal().read(|seen| seen.requests.len());
        wait::until(wait::BOUND, "the request", || async { (all() == held.len()).then_some(()) }).await;
    }
    let (is_done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (connection, is_done, answered) = (proxy.connect().await, is_done.clone(), answered.clone());
        clients.push(tokio::spawn(async move {
            while !is_done.load(Relaxed) {
                assert_eq!(connection.get("/").await.unwrap().text(), "hello");
                answered.fetch_add(1, Relaxed);
            }
        }));
    }
    let series = "backend=\"b2\"";
    let mut total = 0;
    for round in 0..5 {
        for (text, generation, is_there) in [(&one, 2 + 2 * round, false), (&two, 3 + 2 * round, true)] {
            proxy.reload(text, generation).await;
            let before = answered.load(Relaxed);
            wait::until(wait::BOUND, "requests", || async { (answered.load(Relaxed) > before + 50).then_some(()) })
                .await;
            let page = page().await;
            assert_eq!(page.contains(series), is_there, "generation {generation}:\n{page}");
            assert!(page.contains("backend=\"b1\""));
            let now = sum(&page, "spooky_requests_total ");
            assert!(now > total, "{now} after {total}");
            total = now;
        }
        if round == 0 {
            stays.open_gate();
            goes.open_gate();
            for request in held.drain(..) {
                assert_eq!(request.await.unwrap(), 200);
            }
        }
    }
    is_done.store(true, Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    proxy.stop().await;
}
