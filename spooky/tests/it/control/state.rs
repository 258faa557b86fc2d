//! Endpoints that show the state of the process.

use serde_json::json;
use spooky_testkit::origin::Origin;
use spooky_testkit::port;

use super::rig::Rig;

#[tokio::test]
async fn health_readiness_and_runtime() {
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    let ready = rig.ready(200).await;
    let expected = json!({
        "draining": false, "healthy_backends": 1, "ready": true, "restart_requested": false, "total_backends": 1,
        "unavailable_upstreams": [],
    });
    assert_eq!(ready, expected);
    let (status, health) = rig.get("/health").await;
    let off = json!({ "degraded": false, "enabled": false, "restart_requested": false });
    assert_eq!((status, &health["status"], &health["watchdog"]), (200, &json!("ok"), &off));
    assert!(health["uptime_ms"].as_u64().is_some_and(|uptime| uptime < 60_000), "{health}");

    let (status, runtime) = rig.get("/admin/runtime").await;
    assert_eq!(status, 200);
    let config = rig.proxy.dir().join("spooky.yaml");
    assert_eq!(runtime["runtime"], json!({ "config_path": config.to_str().unwrap(), "generation": 1 }));
    assert_eq!(runtime["workers"], json!({ "expected": 1, "running": 1 }));
    assert_eq!(runtime["backends"], json!({ "healthy": 1, "total": 1 }));
    assert_eq!(runtime["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(runtime["brownout"], json!({ "active": false }));
    assert_eq!(runtime["extension_model"]["status"], "non_goal");
    assert!(runtime["adaptive_admission"]["current_limit"].as_u64().is_some_and(|limit| limit > 0), "{runtime}");
    let listener = &runtime["tls"]["listeners"][0];
    assert_eq!(listener["default_cert"], rig.proxy.dir().join("cert.pem").to_str().unwrap());
    assert!(
        listener["default_cert_not_after_unix_seconds"].as_u64().is_some_and(|at| at > 1_600_000_000),
        "{listener}"
    );
    assert_eq!(listener["client_auth_enabled"], false);
    rig.proxy.stop().await;
}

#[tokio::test]
async fn without_a_healthy_backend_it_is_not_ready() {
    let dead = format!("http://{}", port::free());
    let check = "health_check: { path: /, interval: 50, timeout_ms: 1000 }";
    let origin = Origin::h2c().await;
    let rig = Rig::start_with(&[dead], "", |settings| settings.upstream("other", "/o", &[origin.url()])).await;
    // Without health checks, backends count as healthy.
    rig.ready(200).await;
    let text = rig.proxy.settings.text();
    let probed = text.lines().map(|line| {
        if line.contains("id: b1") { line.replace(" }", &format!(", {check} }}")) } else { line.to_owned() }
    });
    rig.proxy.reload(&(probed.collect::<Vec<_>>().join("\n") + "\n"), 2).await;
    let partly = rig.get("/ready").await;
    assert_eq!(partly.1["ready"], true, "{partly:?}");
    drop(origin);
    let body = rig.ready(503).await;
    assert_eq!(body["unavailable_upstreams"], json!(["all", "other"]), "{body}");
    assert_eq!((&body["healthy_backends"], &body["total_backends"]), (&json!(0), &json!(2)));
    assert_eq!(rig.get("/health").await.0, 200);
    rig.proxy.stop().await;
}

#[tokio::test]
async fn the_effective_configuration_hides_secrets() {
    let origin = Origin::h2c().await;
    let rig = Rig::start_with(&[origin.url()], ", auth_token: hunter2", |settings| settings).await;
    let reply = rig.send("GET", "/admin/config", "authorization: Bearer hunter2\r\n", "").await;
    let (status, config) = super::rig::json(&reply);
    assert_eq!(status, 200);
    assert_eq!(config["observability"]["control_api"]["auth_token"], "<redacted>");
    assert!(!reply.text().contains("hunter2"));
    assert_eq!(config["performance"]["worker_threads"], 1);
    assert_eq!(config["reload"]["debounce_ms"], 500, "defaults are filled in");
    rig.proxy.stop().await;
}

#[tokio::test]
async fn the_log_level_changes_until_the_next_reload() {
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    assert_eq!(rig.get("/admin/log-level").await, (200, json!({ "level": "spooky" })));
    let put = |body: &'static str| async {
        super::rig::json(&rig.send("PUT", "/admin/log-level", "content-type: application/json\r\n", body).await)
    };
    assert_eq!(put(r#"{"level":"haunt"}"#).await, (200, json!({ "level": "haunt" })));
    rig.proxy.connect().await.get("/").await.unwrap();
    rig.proxy.logged("Selected backend", 1).await;
    assert_eq!(put(r#"{"level":"spooky_lb=debug,warn"}"#).await, (200, json!({ "level": "scream,spooky_lb=haunt" })));
    for bad in [r#"{"level":"loud"}"#, r#"{"level":""}"#, r#"{"level":1}"#, "{}", "haunt", "", r#"["haunt"]"#] {
        let (status, body) = put(bad).await;
        assert_eq!(status, 400, "{bad}");
        assert!(body["error"].is_string(), "{body}");
    }
    assert_eq!(rig.get("/admin/log-level").await.1, json!({ "level": "scream,spooky_lb=haunt" }));
    assert_eq!(rig.post("/admin/runtime/reload").await.0, 202);
    assert_eq!(rig.get("/admin/log-level").await.1, json!({ "level": "spooky" }));
    rig.proxy.stop().await;
}
