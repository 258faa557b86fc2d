//! The state of backends, and draining one.

use serde_json::json;
use spooky_testkit::origin::Origin;

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
