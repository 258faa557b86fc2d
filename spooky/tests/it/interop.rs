//! Interoperability: nghttpd and nginx as origins, aioquic as a client.
//!
//! If a program is missing, its test fails in CI, and elsewhere prints that it is skipped.

use std::path::{Path, PathBuf};

use http::StatusCode;
use serde_json::Value;
use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::external::{ExternalOrigin, PAGES};
use spooky_testkit::origin::Origin;
use spooky_testkit::pattern::{Pattern, sha256};
use spooky_testkit::process::Program;
use spooky_testkit::{program, wait};
use tokio::task::JoinSet;

use crate::proxy::{LONG, Proxy};

async fn serves_pages(proxy: &Proxy) {
    let connection = proxy.connect().await;
    for len in PAGES {
        let reply = connection.get(&format!("/page-{len}")).await.unwrap();
        assert_eq!((reply.status, reply.field("content-length")), (StatusCode::OK, len.to_string().as_str()));
        assert_eq!(sha256(&reply.body), Pattern::sha256(len, len));
    }
    let lost = connection.get("/no-such-page").await.unwrap();
    assert_eq!(lost.status, StatusCode::NOT_FOUND);
    assert_ne!(lost.text(), "no route\n", "the origin's own page");
}

#[tokio::test]
async fn nghttpd_as_origin() {
    let Some(nghttpd) = program::require("nghttpd") else { return };
    let origin = ExternalOrigin::nghttpd(&nghttpd, None).await;
    let proxy = Proxy::before(&[origin.url()]).await;
    serves_pages(&proxy).await;
    let connection = proxy.connect().await;
    let body = Pattern::bytes(1, 500_000);
    let reply = connection.post("/echo", body.clone()).await.unwrap();
    assert_eq!(reply.body, body);
    assert_eq!(reply.trailers.expect("trailers")["x-checked"], "yes");
}

#[tokio::test]
async fn nghttpd_over_tls_as_origin() {
    let Some(nghttpd) = program::require("nghttpd") else { return };
    let authority = Authority::new();
    let files = Files::write(&authority, &authority.issue(&["127.0.0.1"]));
    let origin = ExternalOrigin::nghttpd(&nghttpd, Some(&files)).await;
    let tls = format!("tls: {{ ca_file: \"{}\" }}", files.ca.display());
    let proxy = Proxy::start(|settings| settings.upstream_with("all", "/", &[origin.url()], &tls)).await;
    serves_pages(&proxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_as_origin_that_retires_its_connections() {
    let Some(nginx) = program::require("nginx") else { return };
    let origin = ExternalOrigin::nginx(&nginx, 25).await;
    let proxy = Proxy::before(&[origin.url()]).await;
    serves_pages(&proxy).await;
    let mut clients = JoinSet::new();
    for number in 0..8usize {
        let connection = proxy.connect().await;
        clients.spawn(async move {
            for count in 0..50 {
                let len = number * 1000 + count;
                let reply = connection.post("/upload", vec![1; len]).await.unwrap();
                assert_eq!((reply.status, reply.text()), (StatusCode::OK, len.to_string().as_str()));
                let reply = connection.get("/page-10").await.unwrap();
                assert_eq!(reply.body, Pattern::bytes(10, 10));
            }
        });
    }
    wait::within_time(LONG, "all clients", clients.join_all()).await;
}

/// Runs the aioquic client. Returns its report of each response.
async fn aioquic(python: &Path, proxy: &Proxy, path: &str, more: &[&str]) -> Vec<Value> {
    let ca = tempfile_of(proxy);
    let script = program::script("h3_client.py");
    let url = format!("https://{}{path}", proxy.settings.addr());
    let mut arguments = vec![script.to_str().unwrap(), &url, "--ca", ca.path.to_str().unwrap(), "--timeout", "60"];
    arguments.extend_from_slice(more);
    let mut client = Program::start(python, &arguments);
    let status = client.exit(LONG).await;
    let lines = client.rest().await;
    assert!(status.success(), "{lines:#?}");
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// The CA certificate of the proxy in a file.
struct AuthorityFile {
    path: PathBuf,
    _files: Files,
}

fn tempfile_of(proxy: &Proxy) -> AuthorityFile {
    let files = Files::write(&proxy.authority, &proxy.authority.issue(&["unused"]));
    AuthorityFile { path: files.ca.clone(), _files: files }
}

#[tokio::test]
async fn aioquic_as_client() {
    let Some(python) = program::require_python() else { return };
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let pages = aioquic(&python, &proxy, "/bytes/300000", &["--parallel", "20"]).await;
    assert_eq!(pages.len(), 20);
    for page in pages {
        assert_eq!((page["status"].as_u64(), page["length"].as_u64()), (Some(200), Some(300_000)));
        assert_eq!(page["sha256"], Pattern::sha256(300_000, 300_000));
    }
    let trailers = aioquic(&python, &proxy, "/trailers", &[]).await;
    let found = trailers[0]["trailers"].as_array().unwrap();
    assert!(found.contains(&serde_json::json!(["x-first", "1"])), "{found:?}");
    let uploads = aioquic(&python, &proxy, "/echo", &["--upload", "400000", "--parallel", "5"]).await;
    assert_eq!(uploads.len(), 5);
    for upload in uploads {
        assert_eq!((upload["status"].as_u64(), upload["length"].as_u64()), (Some(200), Some(400_000)));
        assert_eq!(upload["sha256"], sha256(&vec![b'u'; 400_000]));
    }
    let lost = aioquic(&python, &proxy, "/status/404", &["--method", "HEAD"]).await;
    assert_eq!(lost[0]["status"], 404);
}
