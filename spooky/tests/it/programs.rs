//! Programs of others as clients over TCP: WebSocket, gRPC and HTTP clients of Python, headless Chromium.
//!
//! If a program is missing, its test fails in CI, and elsewhere prints that it is skipped.

use std::path::Path;

use serde_json::{Value, json};
use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::external::ExternalOrigin;
use spooky_testkit::pattern::Pattern;
use spooky_testkit::process::Program;
use spooky_testkit::program;

use crate::proxy::{LONG, Proxy};

/// Number of files that the page fetches.
const FILES: u64 = 200;

/// Runs a Python program to its end and returns the JSON in its last line.
async fn report(python: &Path, script: &str, arguments: &[&str]) -> Value {
    let script = program::script(script);
    let mut all = vec![script.to_str().unwrap()];
    all.extend_from_slice(arguments);
    let mut client = Program::start(python, &all);
    let status = client.exit(LONG).await;
    let lines = client.rest().await;
    assert!(status.success(), "{lines:#?}");
    serde_json::from_str(lines.last().expect("a line of JSON")).unwrap()
}

async fn websocket(python: &Path, proxy: &Proxy, path: &str) -> Value {
    let url = format!("wss://localhost:{}{path}", proxy.settings.addr().port());
    let ca = proxy.dir().join("ca.pem");
    report(python, "ws_client.py", &[&url, "--ca", ca.to_str().unwrap(), "--subprotocol", "chat"]).await
}

#[tokio::test]
async fn a_websocket_client_of_python_reaches_one_of_http1_and_one_behind_nginx() {
    let (Some(python), Some(nginx)) = (program::require_python(), program::require("nginx")) else { return };
    let authority = Authority::new();
    let files = Files::write(&authority, &authority.issue(&["127.0.0.1"]));
    let server = ExternalOrigin::script(&python, "ws_echo.py").await;
    let behind_nginx = ExternalOrigin::nginx_before(&nginx, server.addr(), &files).await;
    let tls = format!("tls: {{ ca_file: \"{}\" }}", files.ca.display());
    let proxy = Proxy::start(|settings| {
        settings.upstream("plain", "/", &[server.url()]).upstream_with("nginx", "/ws", &[behind_nginx.url()], &tls)
    })
    .await;
    let spoken = json!({ "subprotocol": "chat", "text": "hello", "bytes_equal": true, "close_code": 1000 });
    for path in ["/", "/ws"] {
        assert_eq!(websocket(&python, &proxy, path).await, spoken, "{path}");
    }
    assert_eq!(websocket(&python, &proxy, "/refuse").await, json!({ "refused": 403 }));
    let closed = websocket(&python, &proxy, "/close").await;
    assert_eq!((&closed["text"], &closed["closed"]), (&json!("hello"), &json!(4000)), "{closed}");
    proxy.stop().await;
}

#[tokio::test]
async fn a_grpc_client_gets_the_same_through_the_proxy_as_directly() {
    let Some(python) = program::require_python() else { return };
    let server = ExternalOrigin::script(&python, "grpc_server.py").await;
    let proxy = Proxy::before(&[server.url()]).await;
    let ca = proxy.dir().join("ca.pem");
    let target = format!("localhost:{}", proxy.settings.addr().port());
    let through = report(&python, "grpc_client.py", &[&target, "--ca", ca.to_str().unwrap()]).await;
    let expected = json!({
        "unary": 50_000,
        "trailing": "yes",
        "down": 100,
        "up": "50",
        "both": ["0", "1", "2", "3", "4"],
        "half_close": [["first"], "OK"],
        "tail": ["0", "1", "2"],
        "fail": ["NOT_FOUND", "no such thing"],
        "slow": "DEADLINE_EXCEEDED",
        "unknown": "UNIMPLEMENTED",
    });
    assert_eq!(through, expected);
    assert_eq!(report(&python, "grpc_client.py", &[&server.addr().to_string()]).await, expected, "directly");
    proxy.stop().await;
}

#[tokio::test]
async fn httpx_uploads_and_downloads_by_http1_and_http2() {
    let (Some(python), Some(node), Some(nghttpd)) =
        (program::require_python(), program::require("node"), program::require("nghttpd"))
    else {
        return;
    };
    for (origin, via) in [
        (ExternalOrigin::node(&node, None).await, "1.1 spooky"),
        (ExternalOrigin::nghttpd(&nghttpd, None).await, "2.0 spooky"),
    ] {
        let proxy = Proxy::before(&[origin.url()]).await;
        let (url, ca) = (format!("https://localhost:{}", proxy.settings.addr().port()), proxy.dir().join("ca.pem"));
        for (version, more) in [("HTTP/1.1", None), ("HTTP/2", Some("--http2"))] {
            let arguments: Vec<_> = [&url, "--ca", ca.to_str().unwrap()].into_iter().chain(more).collect();
            let mut got = report(&python, "httpx_client.py", &arguments).await;
            let connections = got["connections_of_parallel"].take();
            let expected = json!({
                "version": version,
                "via": via,
                "page": Pattern::sha256(10, 10),
                "upload": true,
                "upload_in_pieces": true,
                "download": { "length": 3_000_000, "sha256": Pattern::sha256(3_000_000, 3_000_000), "in_pieces": true },
                "missing": 404,
                "connections": 1,
                "parallel": [Pattern::sha256(100_000, 100_000)],
                "connections_of_parallel": null,
            });
            assert_eq!(got, expected, "{version}, {via}");
            assert_eq!(connections == json!(0), version == "HTTP/2", "HTTP/2 needs one connection: {connections}");
        }
        proxy.stop().await;
    }
}

#[tokio::test]
async fn a_browser_loads_a_page_by_tcp_and_then_by_http3() {
    let (Some(python), Some(nginx), Some(chromium)) =
        (program::require_python(), program::require("nginx"), program::require("chromium-headless-shell"))
    else {
        return;
    };
    let pages = ExternalOrigin::nginx_http1(&nginx, 1000, None).await;
    let page = program::workspace().join("crates/testkit/html/page.html");
    std::fs::copy(page, pages.folder().join("page.html")).unwrap();
    for number in 0..FILES {
        std::fs::write(pages.folder().join(format!("f-{number}")), format!("file {number}")).unwrap();
    }
    let sockets = ExternalOrigin::script(&python, "ws_echo.py").await;
    let events = ExternalOrigin::script(&python, "events.py").await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("pages", "/", &[pages.url()]).upstream("sockets", "/ws", &[sockets.url()]).upstream(
            "events",
            "/events",
            &[events.url()],
        )
    })
    .await;
    let (url, certificate) = (format!("https://{}/page.html", proxy.settings.addr()), proxy.dir().join("cert.pem"));
    let arguments = [chromium.to_str().unwrap(), &url, "--certificate", certificate.to_str().unwrap(), "--loads", "10"];
    let loads = report(&python, "browser.py", &arguments).await;
    let loads = loads.as_array().unwrap();
    assert_eq!(loads.len(), 10);
    for load in loads {
        assert_eq!(load["failed"], 0, "{load}");
        assert_eq!(load["socket"], "chat: hello", "{load}");
        assert_eq!(load["events"], json!(["0", "1", "2"]), "{load}");
    }
    assert_eq!(loads[0]["page"], "h2", "the first visit is by TCP");
    let last = &loads[9];
    assert_eq!((&last["page"], &last["protocols"]), (&json!("h3"), &json!({ "h3": FILES })), "{loads:#?}");
    proxy.stop().await;
}
