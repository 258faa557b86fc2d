//! A restart that the control API asks for.

use serde_json::json;
use spooky_testkit::origin::Origin;
use spooky_testkit::wait;

use super::rig::Rig;

const PATH: &str = "/admin/runtime/restart";

#[tokio::test]
async fn without_a_watchdog_there_is_no_restart() {
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    assert_eq!(rig.post(PATH).await, (503, json!({ "accepted": false, "error": "watchdog disabled" })));
    rig.proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_drains_and_ends_the_process_with_3() {
    let origin = Origin::h2c().await;
    let watchdog = "resilience:\n  watchdog: { enabled: true, drain_grace_ms: 20s }";
    let rig = Rig::start_with(&[origin.url()], "", |settings| settings.block(watchdog)).await;
    let connection = rig.proxy.connect().await;
    let request = tokio::spawn(async move { connection.get("/gate").await.unwrap().text().to_owned() });
    origin.journal().until("a request", |record| !record.requests.is_empty()).await;
    let accepted = json!({ "accepted": true, "reason": "admin_runtime_api", "restart_requested": true });
    assert_eq!(rig.post(PATH).await, (202, accepted));
    let pending = json!({ "accepted": false, "error": "restart pending or cooldown active" });
    assert_eq!(rig.post(PATH).await, (409, pending));
    // While the last request is served, the API answers.
    let ready = rig.ready(503).await;
    assert_eq!((&ready["ready"], &ready["restart_requested"]), (&json!(false), &json!(true)));
    assert_eq!(rig.get("/health").await.1["watchdog"]["restart_requested"], true);
    let (_, runtime) = rig.get("/admin/runtime").await;
    assert_eq!(runtime["watchdog"]["restart_reason"], "admin_runtime_api");
    assert!(runtime["watchdog"]["restart_requested_at_ms"].as_u64().is_some(), "{runtime}");
    origin.open_gate();
    assert_eq!(request.await.unwrap(), "through");
    let Rig { mut proxy, .. } = rig;
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(3));
}
