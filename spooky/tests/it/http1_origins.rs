//! Real HTTP/1.1 servers as origins: nginx, Apache httpd, Python's `http.server`, Node.
//!
//! If a program is missing, its test fails in CI, and elsewhere prints that it is skipped.

use http::{Request, StatusCode};
use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::{Connection, frame};
use spooky_testkit::external::{ExternalOrigin, PAGES, PythonProtocol};
use spooky_testkit::pattern::{Pattern, sha256};
use spooky_testkit::{program, wait};
use tokio::task::JoinSet;

use crate::proxy::{LONG, Proxy};

/// Certificates for an origin on 127.0.0.1.
fn identity() -> Files {
    let authority = Authority::new();
    Files::write(&authority, &authority.issue(&["127.0.0.1"]))
}

/// Starts a proxy that finds out by itself what the origin speaks.
async fn before(origin: &ExternalOrigin, files: &Files) -> Proxy {
    let tls = format!("tls: {{ ca_file: \"{}\" }}", files.ca.display());
    let more = if origin.url().starts_with("https") { tls.as_str() } else { "" };
    Proxy::start(|settings| settings.upstream_with("all", "/", &[origin.url()], more)).await
}

async fn serves_pages(connection: &Connection) {
    for len in PAGES {
        let reply = connection.get(&format!("/page-{len}")).await.unwrap();
        assert_eq!((reply.status, reply.field("content-length")), (StatusCode::OK, len.to_string().as_str()));
        assert_eq!(sha256(&reply.body), Pattern::sha256(len, len));
        assert_eq!(reply.field("via"), "1.1 spooky");
        for name in ["connection", "keep-alive", "transfer-encoding"] {
            assert!(reply.headers.get(name).is_none(), "{name}");
        }
        let head = Request::head(format!("https://localhost/page-{len}")).body("".into()).unwrap();
        let head = connection.send(head).await.unwrap();
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    }
    let lost = connection.get("/no-such-page").await.unwrap();
    assert_eq!(lost.status, StatusCode::NOT_FOUND);
    assert_ne!(lost.text(), "no route\n", "the origin's own page");
}

/// Gets pages from several clients at once, while the origin closes its connections now and then.
async fn serves_many(proxy: &Proxy) {
    let mut clients = JoinSet::new();
    for _ in 0..6 {
        let connection = proxy.connect().await;
        clients.spawn(async move {
            for _ in 0..40 {
                let reply = connection.get("/page-10").await.unwrap();
                assert_eq!((reply.status, reply.body), (StatusCode::OK, Pattern::bytes(10, 10)));
            }
        });
    }
    wait::within_time(LONG, "all clients", clients.join_all()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx() {
    let Some(nginx) = program::require("nginx") else { return };
    let files = identity();
    for tls in [None, Some(&files)] {
        let origin = ExternalOrigin::nginx_http1(&nginx, 25, tls).await;
        let proxy = before(&origin, &files).await;
        let connection = proxy.connect().await;
        serves_pages(&connection).await;
        for len in [0, 1, 300_000] {
            let reply = connection.post("/upload", vec![1; len]).await.unwrap();
            assert_eq!((reply.status, reply.text()), (StatusCode::OK, len.to_string().as_str()));
            // Without content-length: chunked, or without a body no framing at all.
            let request = Request::post("https://localhost/upload").body(vec![1; len].into()).unwrap();
            let reply = connection.send(request).await.unwrap();
            let expected = if len == 0 { String::new() } else { len.to_string() };
            assert_eq!((reply.status, reply.text()), (StatusCode::OK, expected.as_str()));
        }
        serves_many(&proxy).await;
        assert_eq!(proxy.count("Transport error"), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apache() {
    let Some(apache) = program::require("apache2") else { return };
    let files = identity();
    for tls in [None, Some(&files)] {
        let origin = ExternalOrigin::apache(&apache, tls).await;
        let proxy = before(&origin, &files).await;
        let connection = proxy.connect().await;
        serves_pages(&connection).await;
        for (name, len) in [("small", 10), ("large", 500_000)] {
            let path = format!("/dav/{name}");
            let body = Pattern::bytes(9, len);
            let put = Request::put(format!("https://localhost{path}")).body(body.clone()).unwrap();
            assert_eq!(connection.send(put).await.unwrap().status, StatusCode::CREATED);
            assert_eq!(connection.get(&path).await.unwrap().body, body);
        }
        serves_many(&proxy).await;
        assert_eq!(proxy.count("Transport error"), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn python() {
    let Some(python) = program::require("python3") else { return };
    let files = identity();
    for protocol in [PythonProtocol::Http10, PythonProtocol::Http11] {
        let origin = ExternalOrigin::python(&python, protocol).await;
        let proxy = before(&origin, &files).await;
        serves_pages(&proxy.connect().await).await;
        serves_many(&proxy).await;
        assert_eq!(proxy.count("Transport error"), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node() {
    let Some(node) = program::require("node") else { return };
    let files = identity();
    for tls in [None, Some(&files)] {
        let origin = ExternalOrigin::node(&node, tls).await;
        let proxy = before(&origin, &files).await;
        let connection = proxy.connect().await;
        serves_pages(&connection).await;
        for len in [0, 1, 700_000] {
            let body = Pattern::bytes(4, len);
            assert_eq!(connection.post("/echo", body.clone()).await.unwrap().body, body);
        }
        let request = Request::get("https://localhost/trailers").header("te", "trailers").body("".into()).unwrap();
        let reply = connection.send(request).await.unwrap();
        assert_eq!(
            (reply.text(), &reply.trailers.as_ref().expect("trailers")["x-checked"]),
            ("body", &"yes".parse().unwrap())
        );
        let hinted = proxy.greeted().await.request(&frame::get("/hints"), true).await.answer().await.unwrap();
        assert_eq!((hinted.statuses(), hinted.body.as_slice()), (vec!["103", "200"], &b"hinted"[..]));
        serves_many(&proxy).await;
        assert_eq!(proxy.count("Transport error"), 0);
    }
}
