//! Reloads by the API while requests are served.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use spooky_testkit::origin::Origin;

use super::rig::Rig;

const RELOADS: u64 = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_lost_by_reloads() {
    let origin = Origin::h2c().await;
    let rig = Rig::start_with(&[origin.url()], "", |settings| settings.workers(2)).await;
    let (is_done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let (connection, is_done, answered) = (rig.proxy.connect().await, is_done.clone(), answered.clone());
        clients.push(tokio::spawn(async move {
            while !is_done.load(Relaxed) {
                assert_eq!(connection.get("/").await.unwrap().text(), "hello");
                answered.fetch_add(1, Relaxed);
            }
        }));
    }
    for reload in 1..=RELOADS {
        let before = answered.load(Relaxed);
        // Two at the same time are executed one after the other.
        let (one, other) = tokio::join!(rig.post("/admin/runtime/reload"), rig.post("/admin/runtime/reload-certs"));
        assert_eq!((one.0, other.0), (202, 202), "{one:?} {other:?}");
        let newest = one.1["generation"].as_u64().max(other.1["listeners"][0]["generation"].as_u64());
        assert_eq!(newest, Some(1 + 2 * reload));
        spooky_testkit::wait::until(spooky_testkit::wait::BOUND, "requests between reloads", || async {
            (answered.load(Relaxed) > before).then_some(())
        })
        .await;
    }
    is_done.store(true, Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    let (_, runtime) = rig.get("/admin/runtime").await;
    let counts = &runtime["metrics"];
    assert_eq!(counts["requests_total"], counts["requests_success"], "{counts}");
    assert_eq!(counts["requests_total"].as_u64(), Some(answered.load(Relaxed)));
    rig.proxy.stop().await;
}
