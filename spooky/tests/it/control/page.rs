//! The status page in a browser.

use std::path::Path;

use serde_json::{Value, json};
use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::{port, program, wait};

use super::rig::Rig;
use crate::proxy::LONG;

/// Set this variable to a directory to look at the pages.
const SCREENSHOTS: &str = "SPOOKY_SCREENSHOTS";

async fn seen(python: &Path, chromium: &Path, url: &str, token: &str) -> Value {
    let script = program::script("status_page.py");
    let mut arguments =
        vec![script.to_str().unwrap().to_owned(), chromium.to_str().unwrap().to_owned(), url.to_owned()];
    if !token.is_empty() {
        arguments.extend(["--token".to_owned(), token.to_owned()]);
    }
    if let Ok(directory) = std::env::var(SCREENSHOTS) {
        arguments.extend(["--screenshots".to_owned(), directory]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut browser = Program::start(python, &arguments);
    let status = browser.exit(LONG).await;
    let lines = browser.rest().await;
    assert!(status.success(), "{lines:#?}");
    serde_json::from_str(lines.last().expect("a line of JSON")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_the_process_without_foreign_parts_or_errors() {
    let (Some(python), Some(chromium)) = (program::require_python(), program::require("chromium-headless-shell"))
    else {
        return;
    };
    let origin = Origin::h2c().await;
    let dead = format!("http://{}", port::free());
    let check = "health_check: { path: /, interval: 100, timeout_ms: 1000 }";
    let rig = Rig::start_with(&[origin.url()], ", auth_token: hunter2", |settings| {
        settings.upstream("<b>dead</b>", "/dead", std::slice::from_ref(&dead))
    })
    .await;
    let text = rig.proxy.settings.text();
    let probed = text.replace(&format!("address: \"{dead}\""), &format!("address: \"{dead}\", {check}"));
    rig.proxy.reload(&probed, 2).await;
    let connection = rig.proxy.connect().await;
    for path in ["/", "/", "/status/404", "/status/503"] {
        connection.get(path).await.unwrap();
    }
    rig.proxy.logged("became unhealthy upstream=<b>dead</b> id=b1", 1).await;
    let url = format!("http://{}/", rig.at);
    // The first sample after the requests is due within a second.
    let page = wait::until(LONG, "the page to show the requests", || async {
        let found = seen(&python, &chromium, &url, "hunter2").await;
        (found["wide"]["figures"]["HTTP/3, last minute"] == "4").then_some(found)
    })
    .await;
    assert_eq!((&page["errors"], &page["asked"]), (&json!([]), &json!(true)));
    let wide = &page["wide"];
    assert_eq!(
        (&wide["ready"], &wide["generation"], &wide["trouble"]),
        (&json!("ready"), &json!("generation 2"), &json!(false))
    );
    assert_eq!(wide["foreign"], 0, "the page loads nothing from elsewhere");
    assert_eq!(wide["figures"]["Healthy backends"], "1 of 2");
    assert_eq!(wide["rows"][0][1], "healthy", "{wide}");
    assert!(wide["rows"][1][1].as_str().unwrap().starts_with("unhealthy"), "{wide}");
    let chart = wide["chart"].as_str().unwrap();
    assert!(["2xx: 2", "4xx: 1", "5xx: 1"].iter().all(|part| chart.contains(part)), "{chart}");
    assert!(wide["history"][0].as_str().unwrap().contains("config by signal: ok (generation 2)"), "{wide}");
    assert!(wide["transitions"][0].as_str().unwrap().contains("<b>dead</b>/b1 became unhealthy"), "{wide}");
    let narrow = &page["narrow"];
    assert!(narrow["width"].as_u64().unwrap() <= 390, "a phone need not scroll sideways: {narrow}");
    assert_ne!(wide["back"], narrow["back"], "dark colours");
    rig.proxy.stop().await;
}
