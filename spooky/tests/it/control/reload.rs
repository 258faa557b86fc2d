//! Commands: reload, certificates, rollback, validation, history.

use serde_json::json;
use spooky_testkit::client::Connection;
use spooky_testkit::origin::Origin;
use spooky_testkit::wait;

use super::rig::Rig;

/// Waits until `/` is answered with this status: workers follow a reload on their own.
async fn answers(connection: &Connection, status: u16) {
    wait::until(wait::BOUND, "the reload", || async {
        (connection.get("/").await.unwrap().status == status).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_answers_with_its_result() {
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    let good = rig.proxy.settings.text();
    let path = rig.proxy.dir().join("spooky.yaml").to_str().unwrap().to_owned();
    let done = |generation: u64| (202, json!({ "generation": generation, "path": path, "reloaded": true }));
    assert_eq!(rig.post("/admin/runtime/reload").await, done(2));
    rig.proxy.rewrite(&good.replace("path_prefix: \"/\"", "path_prefix: \"/moved\""));
    assert_eq!(rig.post("/admin/runtime/reload").await, done(3));
    let connection = rig.proxy.connect().await;
    answers(&connection, 404).await;

    rig.proxy.rewrite(&good.replace("version: 1", "version: 9"));
    let (status, body) = rig.post("/admin/runtime/reload").await;
    let text = "Invalid version: expected '1', found '9'";
    let error = json!(format!("Configuration validation failed: {text}"));
    assert_eq!((status, &body["reloaded"], &body["error"]), (400, &json!(false), &error));
    let problem = &body["problems"][0];
    assert_eq!(
        (&problem["message"], &problem["line"], &problem["severity"]),
        (&json!(text), &json!(1), &json!("error"))
    );

    rig.proxy.rewrite(&good.replace("worker_threads: 1", "worker_threads: 2"));
    let (status, body) = rig.post("/admin/runtime/reload").await;
    let error = "runtime reload rejected: performance.worker_threads changed from 1 to 2; restart required";
    let expected = json!({ "error": error, "fields": ["performance.worker_threads"], "reloaded": false });
    assert_eq!((status, body), (409, expected));
    assert_eq!(connection.get("/moved/status/204").await.unwrap().text(), "no such page", "the answer of the origin");
    rig.proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_returns_to_the_previous_configuration() {
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    let (status, body) = rig.post("/admin/runtime/rollback").await;
    let expected = json!({ "error": "There is no previous configuration", "fields": [], "reloaded": false });
    assert_eq!((status, body), (409, expected));
    let moved = rig.proxy.settings.text().replace("path_prefix: \"/\"", "path_prefix: \"/moved\"");
    rig.proxy.reload(&moved, 2).await;
    // A reload without a change is nothing to return from.
    rig.proxy.reload(&moved, 3).await;
    let connection = rig.proxy.connect().await;
    answers(&connection, 404).await;
    assert_eq!(rig.post("/admin/runtime/rollback").await.1["generation"], 4);
    rig.proxy.logged("Configuration rolled back (generation=4)", 1).await;
    answers(&connection, 200).await;
    assert_eq!(rig.post("/admin/runtime/rollback").await.1["generation"], 5);
    answers(&connection, 404).await;
    rig.proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_history_lists_changes_and_refusals() {
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    let good = rig.proxy.settings.text();
    rig.proxy.reload(&good.replace("path_prefix: \"/\"", "path_prefix: \"/moved\""), 2).await;
    rig.proxy.rewrite(&good.replace("version: 1", "version: 9"));
    rig.post("/admin/runtime/reload").await;
    rig.post("/admin/runtime/rollback").await;
    rig.post("/admin/runtime/reload-certs").await;
    let (status, body) = rig.get("/admin/runtime/history").await;
    assert_eq!(status, 200);
    let entries = body["generations"].as_array().unwrap();
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| {
            ["kind", "by", "result"].map(|key| entry[key].as_str().unwrap()).join(" ")
                + &format!(" {}", entry["generation"])
        })
        .collect();
    let expected = [
        "certificates api ok 4",
        "rollback api ok 3",
        "config api rejected 2",
        "config signal ok 2",
        "config start ok 1",
    ];
    assert_eq!(shown, expected);
    assert_eq!(entries[3]["changed"], json!(["upstream.all.route.path_prefix"]));
    assert!(entries[2]["error"].as_str().unwrap().contains("Invalid version"), "{body}");
    assert!(entries.windows(2).all(|pair| pair[0]["at_ms"].as_u64() >= pair[1]["at_ms"].as_u64()), "{body}");
    rig.proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_loaded_again() {
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    let (status, body) = rig.post("/admin/runtime/reload-certs").await;
    assert_eq!(
        (status, &body["reloaded"], &body["listeners"][0]["generation"]),
        (202, &json!(true), &json!(2)),
        "{body}"
    );
    rig.proxy.logged("Certificates reloaded (generation=2)", 1).await;
    std::fs::write(rig.proxy.dir().join("cert.pem"), "nothing").unwrap();
    let (status, body) = rig.post("/admin/runtime/reload-certs").await;
    assert_eq!((status, &body["reloaded"]), (400, &json!(false)), "{body}");
    assert!(body["error"].as_str().unwrap().contains("cert.pem"), "{body}");
    assert_eq!(rig.proxy.connect().await.get("/").await.unwrap().text(), "hello");
    rig.proxy.stop().await;
}

#[tokio::test]
async fn a_validation_changes_nothing() {
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    let good = rig.proxy.settings.text();
    assert_eq!(rig.post_body("/admin/runtime/validate", &good).await.0, 200);
    for (bad, message) in [
        (good.replace("version: 1", "version: 9"), "Invalid version: expected '1', found '9'"),
        (good.replace("key.pem", "lost.pem"), "TLS private key file does not exist"),
        ("[".to_owned(), "Could not parse YAML file"),
        (String::new(), "config root must be a YAML mapping/object"),
    ] {
        let (status, problems) = rig.post_body("/admin/runtime/validate", &bad).await;
        let found =
            problems.as_array().unwrap().iter().any(|problem| problem["message"].as_str().unwrap().contains(message));
        assert!(status == 400 && found, "{status} {problems}");
    }
    let (_, runtime) = rig.get("/admin/runtime").await;
    assert_eq!(runtime["runtime"]["generation"], 1);
    rig.proxy.stop().await;
}
