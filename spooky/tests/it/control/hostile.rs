//! Clients of the control API that keep connections open, and texts and settings that contain secrets.

use serde_json::json;
use spooky_testkit::origin::Origin;
use spooky_testkit::wait;
use tokio::net::TcpStream;

use super::rig::{Rig, json};
use spooky_testkit::tcp::Http1;

#[tokio::test]
async fn idle_connections_lock_nobody_out() {
    let origin = Origin::h2c().await;
    // Far longer than this test waits.
    let keys = ", max_connections: 3, connection_timeout_ms: 10m";
    let rig = Rig::start_with(&[origin.url()], keys, |settings| settings).await;
    let idle = TcpStream::connect(rig.at).await.unwrap();
    let mut slow = Http1::over(TcpStream::connect(rig.at).await.unwrap());
    slow.send(format!("POST /admin/runtime/validate HTTP/1.1\r\nhost: {}\r\ncontent-length: 9\r\n\r\nx", rig.at)).await;
    let request = format!("GET /health HTTP/1.1\r\nhost: {}\r\n\r\n", rig.at);
    let mut open = Vec::new();
    // The third one takes the place of the connection that has waited longest; which one that is depends on when its head was read.
    for _ in 0..5 {
        let answered = wait::until(wait::BOUND, "an answer", || async {
            let mut connection = Http1::over(TcpStream::connect(rig.at).await.ok()?);
            connection.try_send(request.clone()).await.ok()?;
            connection.try_reply().await.ok()?;
            Some(connection)
        });
        open.push(answered.await);
    }
    assert!(slow.try_reply().await.is_err(), "closed before its body was too late");
    drop((idle, open));
    rig.proxy.stop().await;
}

#[tokio::test]
async fn a_validation_does_not_show_the_environment() {
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    let path = std::env::var("PATH").unwrap();
    let body = "version: 1\nlog: { level: \"${PATH}\", format: \"x\" }\nlisten: { address: \"a ${PATH}\" }\n";
    let (status, problems) = rig.post_body("/admin/runtime/validate", body).await;
    let text = problems.to_string();
    assert!(status == 400 && text.contains("Invalid log level: ${PATH}"), "{text}");
    assert!(!text.contains(&path) && !text.contains("/bin"), "{text}");
    rig.proxy.stop().await;
}

#[tokio::test]
async fn a_password_in_a_url_is_never_shown() {
    let origin = Origin::h2c().await;
    let block = "  tracing: { enabled: true, otlp_endpoint: \"http://user:hunter2@127.0.0.1:9/\" }";
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "hunter2hunter2").unwrap();
    let keys = format!(", auth_token_file: {} }}\n{block}\n  routing: {{ enabled: false", token.display());
    let rig = Rig::start_with(&[origin.url()], &keys, |settings| settings).await;
    let token = "authorization: Bearer hunter2hunter2\r\n";
    let changed = rig.proxy.settings.text().replace("user:hunter2", "user:hunter2x");
    rig.proxy.rewrite(&changed);
    let (status, reload) = json(&rig.send("POST", "/admin/runtime/reload", token, "").await);
    assert_eq!((status, &reload["fields"]), (409, &json!(["observability.tracing.otlp_endpoint"])), "{reload}");
    for path in ["/admin/config", "/admin/runtime/history", "/admin/runtime"] {
        let (status, body) = json(&rig.send("GET", path, token, "").await);
        assert!(status == 200 && !body.to_string().contains("hunter2"), "{path}: {body}");
    }
    assert!(!reload.to_string().contains("hunter2"), "{reload}");
    rig.proxy.logged("runtime reload rejected", 1).await;
    rig.proxy.logged("endpoint=http://<redacted>@127.0.0.1:9/", 1).await;
    assert_eq!(rig.proxy.count("hunter2"), 0);
    rig.proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_does_not_wait_for_a_reload_that_hangs() {
    let origin = Origin::h2c().await;
    let watchdog = "resilience:\n  watchdog: { enabled: true, drain_grace_ms: 1s }";
    let rig = Rig::start_with(&[origin.url()], "", |settings| settings.block(watchdog)).await;
    let file = rig.proxy.dir().join("spooky.yaml");
    std::fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    let at = rig.at;
    let reload = tokio::spawn(async move { super::rig::send(at, "POST", "/admin/runtime/reload", "", "").await });
    // Opening succeeds when the proxy has opened it too, and then waits for a byte.
    let writer = tokio::task::spawn_blocking(move || std::fs::OpenOptions::new().write(true).open(file));
    let _writer = wait::within("the reload", writer).await.unwrap().unwrap();
    assert_eq!(rig.post("/admin/runtime/restart").await.0, 202);
    let Rig { mut proxy, .. } = rig;
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(3));
    let reply = reload.await.unwrap();
    assert_eq!((reply.status(), json(&reply).1["error"].as_str()), (500, Some("the process is stopping")));
}
