//! `spooky demo` as a process.

use rustix::process::Signal;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use spooky_testkit::{client::Client, port, process::Program, wait};
use std::{net::SocketAddr, path::Path, sync::Arc};

const SPOOKY: &str = env!("CARGO_BIN_EXE_spooky");

fn demo(addr: SocketAddr) -> Program {
    Program::start(Path::new(SPOOKY), &["demo", "--port", &addr.port().to_string()])
}

/// Creates a client that trusts only the certificate in this file.
fn client(cert: &str) -> Client {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(cert).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    Client::with_tls(tls, |_| {})
}

#[tokio::test]
async fn it_shows_an_answer_serves_and_ends_on_ctrl_c() {
    let addr = port::free();
    let mut demo = demo(addr);
    demo.line("  HTTP/3 200 OK in ").await;
    demo.line("  content-type: text/plain").await;
    demo.line("  | Hello from the backend.").await;
    demo.line("  | user-agent: spooky-demo/").await;
    let curl = demo.line("  curl --http3-only --cacert ").await;
    demo.line("Serving until Ctrl-C.").await;

    // The certificate, address and name of the printed command work.
    let words: Vec<_> = curl.split_whitespace().collect();
    let [_, _, _, cert, "--resolve", resolve, url] = words[..] else { panic!("{curl}") };
    assert_eq!(resolve, format!("localhost:{}:127.0.0.1", addr.port()));
    assert_eq!(url, format!("https://localhost:{}/", addr.port()));
    let client = client(cert);
    let connection = client.connect(addr, "localhost").await;
    let echo = connection.post("/echo", "trick or treat").await.unwrap();
    assert_eq!((echo.status.as_u16(), &echo.body[..]), (200, &b"trick or treat"[..]));
    let hello = connection.get("/").await.unwrap();
    assert!(String::from_utf8_lossy(&hello.body).starts_with("Hello from the backend."), "{hello:?}");
    assert_eq!(connection.get("/nowhere").await.unwrap().status, 404);
    drop(connection);
    client.drain().await;

    demo.signal(Signal::INT);
    let status = demo.exit(wait::BOUND).await;
    let output = demo.rest().await.join("\n");
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(output.ends_with("Draining connections ...\nStopped."), "{output}");
    assert!(!Path::new(cert).parent().unwrap().exists(), "the files are still there: {cert}");
    std::net::UdpSocket::bind(addr).unwrap();
}

#[tokio::test]
async fn a_busy_port_is_an_error_with_a_hint() {
    let addr = port::free();
    let mut first = demo(addr);
    first.line("Serving until Ctrl-C.").await;
    let mut second = demo(addr);
    assert_eq!(second.exit(wait::BOUND).await.code(), Some(1));
    let lines = second.rest().await;
    assert_eq!(lines[0], format!("error: port {} on 127.0.0.1 is in use", addr.port()));
    assert!(lines[1].starts_with("    hint: ") && lines[1].contains("--port"), "{lines:?}");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(first.stop().await.code(), Some(0), "{}", first.output());
}
