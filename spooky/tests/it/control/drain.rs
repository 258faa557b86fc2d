//! During a drain the control API and the metrics endpoint answer, and nothing can be changed.

use rustix::process::Signal;
use serde_json::json;
use spooky_testkit::origin::Origin;
use spooky_testkit::port;

use super::rig::{Rig, send};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_is_shown_until_the_last_request_has_ended() {
    let origin = Origin::h2c().await;
    let metrics = port::free();
    let keys = format!(" }}\n  metrics: {{ enabled: true, port: {}", metrics.port());
    let rig = Rig::start_with(&[origin.url()], &keys, |settings| settings).await;
    rig.ready(200).await;
    let connection = rig.proxy.connect().await;
    let request = tokio::spawn(async move { connection.get("/gate").await.unwrap().text().to_owned() });
    origin.journal().until("a request", |record| !record.requests.is_empty()).await;
    rig.proxy.program.signal(Signal::TERM);
    let ready = rig.ready(503).await;
    assert_eq!((&ready["draining"], &ready["healthy_backends"]), (&json!(true), &json!(1)), "{ready}");
    assert_eq!(rig.get("/health").await.0, 200);
    let stopping = json!({ "error": "the process is stopping", "reloaded": false });
    assert_eq!(rig.post("/admin/runtime/reload").await, (500, stopping.clone()));
    assert_eq!(rig.post("/admin/runtime/reload-certs").await, (400, stopping));
    let page = send(metrics, "GET", "/metrics", "", "").await;
    assert!(page.text().contains("spooky_requests_total 1\n"), "{}", page.text());
    origin.open_gate();
    assert_eq!(request.await.unwrap(), "through");
    let Rig { mut proxy, .. } = rig;
    assert_eq!(proxy.program.exit(spooky_testkit::wait::BOUND).await.code(), Some(0));
}
