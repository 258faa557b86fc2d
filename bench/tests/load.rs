//! Tests the counts of the load generator with the server of `h3`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test; the exemption of the lint does not reach the functions beside the tests"
)]

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Buf as _, Bytes};
use clap::Parser as _;
use http::{Response, header::CONTENT_LENGTH};
use quinn::{Endpoint, ServerConfig, crypto::rustls::QuicServerConfig};
use spooky_bench::load::{Arguments, Plan, Report, run};
use spooky_testkit::certs::{Authority, Files};

const ANSWER: &[u8] = b"0123456789";

/// A server on loopback with its counts.
struct Server {
    address: SocketAddr,
    files: Files,
    requests: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Server {
    fn start() -> Self {
        let authority = Authority::new();
        let issued = authority.issue(&["localhost", "127.0.0.1"]);
        let crypto = QuicServerConfig::try_from(issued.server_config(&[b"h3"])).unwrap();
        let config = ServerConfig::with_crypto(Arc::new(crypto));
        let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let (requests, bytes) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let address = endpoint.local_addr().unwrap();
        let counts = (Arc::clone(&requests), Arc::clone(&bytes));
        tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let counts = counts.clone();
                tokio::spawn(async move {
                    // A client that does not trust this server aborts the handshake.
                    if let Ok(quic) = incoming.await {
                        serve(quic, counts.0, counts.1).await;
                    }
                });
            }
        });
        Self { address, files: Files::write(&authority, &issued), requests, bytes }
    }

    /// Runs the load generator with these arguments. Trusts the server's authority unless they set another one.
    async fn load(&self, path: &str, arguments: &[&str]) -> Report {
        let url = format!("https://{}{path}", self.address);
        let ca = self.files.ca.to_str().unwrap();
        let has_trust = arguments.iter().any(|argument| ["--insecure", "--ca"].contains(argument));
        let trust: &[&str] = if has_trust { &[] } else { &["--ca", ca] };
        let all = [&["load", &url], trust, arguments].concat();
        run(&Plan::try_from(&Arguments::try_parse_from(all).unwrap()).unwrap()).await.unwrap()
    }

    fn seen(&self) -> (u64, u64) {
        (self.requests.load(Ordering::SeqCst), self.bytes.load(Ordering::SeqCst))
    }
}

async fn serve(quic: quinn::Connection, requests: Arc<AtomicU64>, bytes: Arc<AtomicU64>) {
    let mut server = h3::server::builder().build(h3_quinn::Connection::new(quic)).await.unwrap();
    while let Ok(Some(resolver)) = server.accept().await {
        let (requests, bytes) = (Arc::clone(&requests), Arc::clone(&bytes));
        tokio::spawn(async move {
            let Ok((request, mut stream)) = resolver.resolve_request().await else { return };
            requests.fetch_add(1, Ordering::SeqCst);
            let path = request.uri().path().to_owned();
            if path == "/silent" {
                return std::future::pending().await;
            }
            if path == "/reset" {
                return stream.stop_stream(h3::error::Code::H3_INTERNAL_ERROR);
            }
            while let Ok(Some(data)) = stream.recv_data().await {
                bytes.fetch_add(data.remaining() as u64, Ordering::SeqCst);
            }
            let length = if path == "/cut" { ANSWER.len() + 1 } else { ANSWER.len() };
            let status = if path == "/missing" { 404 } else { 200 };
            let head = Response::builder().status(status).header(CONTENT_LENGTH, length).body(()).unwrap();
            // Fails if the client closed the connection.
            if stream.send_response(head).await.is_ok() && stream.send_data(Bytes::from_static(ANSWER)).await.is_ok() {
                let _ = stream.finish().await;
            }
        });
    }
}

#[tokio::test]
async fn every_request_is_sent_once_and_counted() {
    let server = Server::start();
    let pid = std::process::id().to_string();
    let report = server.load("/", &["-c", "3", "-m", "4", "-n", "100", "--pid", &pid]).await;
    assert_eq!((report.ok(), report.failed(), report.open), (100, 0, 3), "{report}");
    assert_eq!(server.seen(), (100, 0));
    assert_eq!(report.received, 100 * ANSWER.len() as u64);
    assert!(report.latency(0.0) <= report.latency(0.5) && report.latency(0.5) <= report.latency(1.0));
    let text = report.to_string();
    for part in ["100 ok, 0 failed", "100 200", "median", "p99", "us per answer"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn bodies_go_up_whole() {
    let server = Server::start();
    let report =
        server.load("/", &["-c", "1", "-m", "2", "-n", "4", "--method", "POST", "--body-bytes", "200000"]).await;
    assert_eq!((report.ok(), report.sent), (4, 800_000), "{report}");
    assert_eq!(server.seen(), (4, 800_000));
}

#[tokio::test]
async fn what_is_no_success_is_a_failure() {
    let server = Server::start();
    let small = ["-c", "1", "-m", "1", "-n", "2"];
    let missing = server.load("/missing", &small).await;
    assert_eq!((missing.ok(), missing.failed(), missing.statuses[&404]), (0, 2, 2), "{missing}");
    for path in ["/reset", "/cut"] {
        let report = server.load(path, &small).await;
        assert_eq!((report.ok(), report.failures.values().sum::<u64>()), (0, 2), "{path}: {report}");
    }
}

#[tokio::test]
async fn the_exit_code_tells_whether_more_failed_than_may() {
    let server = Server::start();
    let url = format!("https://{}/missing", server.address);
    for (allowed, code) in [("0", 1), ("1", 1), ("2", 0)] {
        let mut load = tokio::process::Command::new(env!("CARGO_BIN_EXE_load"));
        load.args(["-c", "1", "-m", "1", "-n", "2", "--insecure", "--max-failed", allowed, &url]);
        let ended = load.kill_on_drop(true).output().await.unwrap();
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
    }
}

#[tokio::test]
async fn the_time_ends_a_run() {
    let server = Server::start();
    let report = server.load("/silent", &["-c", "1", "-m", "2", "-n", "5", "--timeout", "1"]).await;
    assert_eq!((report.ok(), report.failed(), report.unsent), (0, 5, 3), "{report}");
}

#[tokio::test]
async fn trust_is_what_was_given() {
    let (server, stranger) = (Server::start(), Server::start());
    let small = ["-c", "1", "-m", "1", "-n", "1"];
    let trusting = |file: &Path| [&small[..], &["--ca", file.to_str().unwrap()]].concat().join(" ");
    let load = async |arguments: &str| server.load("/", &arguments.split(' ').collect::<Vec<_>>()).await;
    assert_eq!(load(&format!("{} --insecure", small.join(" "))).await.ok(), 1);
    assert_eq!(load(&trusting(&server.files.ca)).await.ok(), 1);
    assert_eq!(load(&trusting(&server.files.cert)).await.ok(), 1, "the server's own certificate");
    for other in [&stranger.files.ca, &stranger.files.cert] {
        let report = load(&trusting(other)).await;
        assert_eq!((report.open, report.unsent, report.failed()), (0, 1, 1), "{report}");
        assert_eq!(report.not_connected.len(), 1, "{report}");
    }
    assert_eq!(server.seen(), (3, 0));
}
