//! The state of backends, and draining one.

use serde_json::json;
use spooky_testkit::origin::Origin;
use spooky_testkit::{port, wait};

use super::rig::Rig;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_backend_gets_no_new_request_and_finishes_old_ones() {
    let (first, second) = (Origin::h2c().await, Origin::h2c().await);
    let rig = Rig::start(&[first.url(), second.url()]).await;
    let connection = rig.proxy.connect().await;
    // One request waits at each backend.
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let request = connection.clone();
        waiting.push(tokio::spawn(async move { request.get("/gate").await.unwrap().text().to_owned() }));
    }
    first.journal().until("a request", |record| record.requests.len() == 1).await;
    second.journal().until("a request", |record| record.requests.len() == 1).await;
    let (_, all) = rig.get("/admin/backends").await;
    let upstream = &all["upstreams"][0];
    assert_eq!((&upstream["name"], &upstream["algorithm"]), (&json!("all"), &json!("round-robin")));
    assert_eq!(upstream["backends"].as_array().unwrap().len(), 2);

    let (status, drained) = rig.post("/admin/backends/all/b1/drain").await;
    assert_eq!((status, &drained["draining"], &drained["in_flight"]), (200, &json!(true), &json!(1)), "{drained}");
    assert_eq!(drained["address"], first.url());
    for _ in 0..4 {
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    }
    assert_eq!((first.journal().now().requests.len(), second.journal().now().requests.len()), (1, 5));
    first.open_gate();
    second.open_gate();
    for request in waiting {
        assert_eq!(request.await.unwrap(), "through");
    }
    // It survives a reload.
    rig.proxy.reload(&rig.proxy.settings.text(), 2).await;
    assert_eq!(rig.get("/admin/backends/all/b1").await.1["draining"], true);
    rig.post("/admin/backends/all/b1/drain").await;
    rig.proxy.logged("drains upstream=all id=b1", 1).await;
    let (_, back) = rig.post("/admin/backends/all/b1/undrain").await;
    assert_eq!(
        (&back["draining"], &back["healthy"], &back["circuit"]),
        (&json!(false), &json!(true), &json!("closed"))
    );
    for _ in 0..2 {
        connection.get("/").await.unwrap();
    }
    assert_eq!(first.journal().now().requests.len(), 2);
    rig.proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_failure_of_a_backend_names_the_health_check_that_failed() {
    let (origin, failing) = (Origin::h2c().await, Origin::h2c().await);
    let dead = format!("http://{}", port::free());
    let rig = Rig::start(&[origin.url(), dead.clone(), failing.url()]).await;
    let (_, unseen) = rig.get("/admin/backends/all/b1").await;
    assert_eq!(unseen["last_failure"], json!(null), "no health check, no request");
    // Only the second and the third backend are checked: one refuses connections, one answers with a status that is not expected.
    let mut text = rig.proxy.settings.text();
    for (id, address, path) in [("b2", &dead, "/"), ("b3", &failing.url(), "/status/503")] {
        let backend = format!("id: {id}, address: \"{address}\"");
        assert!(text.contains(&backend), "{text}");
        let check = format!("health_check: {{ path: {path}, interval: 100, timeout_ms: 1000 }}");
        text = text.replace(&backend, &format!("{backend}, {check}"));
    }
    rig.proxy.reload(&text, 2).await;
    for (id, reason) in [("b2", "probe_connect"), ("b3", "probe_status")] {
        let seen = wait::until(wait::BOUND, "the failed health check", || async {
            let (_, backend) = rig.get(&format!("/admin/backends/all/{id}")).await;
            (!backend["last_failure"].is_null() && !backend["last_transition_ms"].is_null()).then_some(backend)
        })
        .await;
        assert_eq!((&seen["last_failure"], &seen["active"]), (&json!(reason), &json!(false)), "{seen}");
    }
    let (_, status) = rig.get("/admin/runtime/status").await;
    let reasons: Vec<_> = status["transitions"].as_array().unwrap().iter().map(|change| &change["reason"]).collect();
    assert!(reasons.contains(&&json!("probe_connect")) && reasons.contains(&&json!("probe_status")), "{status}");
    assert_eq!(rig.get("/admin/backends/all/b1").await.1["last_failure"], json!(null));
    rig.proxy.stop().await;
}
