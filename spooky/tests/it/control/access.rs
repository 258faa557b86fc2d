//! Who may call what: tokens, loopback, foreign pages, methods and paths.

use serde_json::json;
use spooky_testkit::origin::Origin;
use spooky_testkit::tcp::Http1;

use super::rig::{Rig, json};
use crate::proxy::NAME;

const OPEN: [&str; 4] = ["/health", "/ready", "/openapi.json", "/"];
const READ: [&str; 7] = [
    "/admin/runtime",
    "/admin/runtime/history",
    "/admin/runtime/status",
    "/admin/backends",
    "/admin/backends/all/b1",
    "/admin/config",
    "/admin/log-level",
];
const CHANGE: [&str; 7] = [
    "/admin/runtime/restart",
    "/admin/runtime/reload",
    "/admin/runtime/reload-certs",
    "/admin/runtime/rollback",
    "/admin/runtime/validate",
    "/admin/backends/all/b1/drain",
    "/admin/backends/all/b1/undrain",
];

#[tokio::test]
async fn with_a_token_only_the_open_endpoints_need_none() {
    let origin = Origin::h2c().await;
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "  s3cret\n").unwrap();
    let rig =
        Rig::start_with(&[origin.url()], &format!(", auth_token_file: {}", token.display()), |settings| settings).await;
    rig.ready(200).await;
    for path in OPEN {
        assert_eq!(rig.send("GET", path, "", "").await.status(), 200, "{path}");
    }
    let refused = (401, json!({ "error": "unauthorized" }));
    for (method, paths) in [("GET", &READ[..]), ("POST", &CHANGE[..]), ("PUT", &["/admin/log-level"])] {
        for path in paths {
            for fields in ["", "authorization: Bearer s3cre\r\n", "authorization: Basic s3cret\r\n"] {
                assert_eq!(json(&rig.send(method, path, fields, "").await), refused, "{path}");
            }
        }
    }
    for path in READ {
        assert_eq!(rig.send("GET", path, "authorization: bearer s3cret\r\n", "").await.status(), 200, "{path}");
    }
    let drained = rig.send("POST", "/admin/backends/all/b1/drain", "authorization: Bearer s3cret\r\n", "").await;
    assert_eq!(json(&drained).1["draining"], true);

    // A reload reads the file again.
    std::fs::write(&token, "other").unwrap();
    assert_eq!(rig.send("POST", "/admin/runtime/reload", "authorization: Bearer s3cret\r\n", "").await.status(), 202);
    assert_eq!(rig.send("GET", "/admin/runtime", "authorization: Bearer s3cret\r\n", "").await.status(), 401);
    assert_eq!(rig.send("GET", "/admin/runtime", "authorization: Bearer other\r\n", "").await.status(), 200);
    rig.proxy.stop().await;
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    let own = format!("origin: http://{}\r\n", rig.at);
    assert_eq!(rig.send("POST", "/admin/backends/all/b1/drain", &own, "").await.status(), 200);
    for foreign in ["origin: http://evil.example\r\n", "origin: null\r\n", &format!("origin: https://{}\r\n", rig.at)] {
        let reply = rig.send("POST", "/admin/backends/all/b1/undrain", foreign, "").await;
        assert_eq!(json(&reply), (403, json!({ "error": "forbidden" })), "{foreign}");
        assert_eq!(rig.send("GET", "/admin/runtime", foreign, "").await.status(), 200);
    }
    assert_eq!(rig.get("/admin/backends/all/b1").await.1["draining"], true);
    rig.proxy.stop().await;
}

#[tokio::test]
async fn wrong_methods_and_paths() {
    let origin = Origin::h2c().await;
    let rig = Rig::start(&[origin.url()]).await;
    for (method, path, allow) in [
        ("POST", "/health", "GET, HEAD"),
        ("DELETE", "/", "GET, HEAD"),
        ("GET", "/admin/runtime/reload", "POST"),
        ("PUT", "/admin/backends/all/b1/drain", "POST"),
        ("POST", "/admin/log-level", "GET, HEAD, PUT"),
        ("OPTIONS", "/admin/config", "GET, HEAD"),
    ] {
        let reply = rig.send(method, path, "", "").await;
        assert_eq!((reply.status(), reply.field("allow").as_str()), (405, allow), "{method} {path}");
    }
    for path in ["/nothing", "/admin", "/health/", "/admin/backends/all", "/admin/backends/all/b1/x"] {
        let reply = rig.send("GET", path, "", "").await;
        assert_eq!((reply.status(), reply.text().trim()), (404, "not found"), "{path}");
        assert!(reply.field("content-type").starts_with("text/plain"), "{reply:?}");
    }
    let unknown = (404, json!({ "error": "unknown backend" }));
    assert_eq!(rig.get("/admin/backends/all/b2").await, unknown);
    assert_eq!(rig.post("/admin/backends/none/b1/drain").await, unknown);
    rig.proxy.stop().await;
}

#[tokio::test]
async fn with_tls_it_has_the_certificate_of_the_first_listener() {
    let origin = Origin::h2c().await;
    let rig = Rig::start_with(&[origin.url()], ", tls: true", |settings| settings).await;
    let at = rig.at;
    rig.proxy.logged(&format!("Control API endpoint listening on https://{at}/health"), 1).await;
    let mut connection = Http1::connect(&rig.proxy.authority, at, NAME).await;
    for (scheme, status) in [("https", 200), ("http", 403)] {
        let fields = format!("host: {at}\r\norigin: {scheme}://{at}\r\ncontent-length: 0");
        connection.send(format!("POST /admin/backends/all/b1/drain HTTP/1.1\r\n{fields}\r\n\r\n")).await;
        assert_eq!(connection.reply().await.status(), status, "{scheme}");
    }
    let mut clear = Http1::over(tokio::net::TcpStream::connect(at).await.unwrap());
    let sent = clear.try_send(format!("GET /health HTTP/1.1\r\nhost: {at}\r\n\r\n")).await;
    let is_refused = match sent {
        Ok(()) => !clear.rest().await.is_ok_and(|bytes| bytes.starts_with(b"HTTP/")),
        Err(_) => true,
    };
    assert!(is_refused, "nothing is served in clear");
    rig.proxy.stop().await;
}
