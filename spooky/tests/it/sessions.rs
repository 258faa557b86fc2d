//! Handshakes that resume a session, and their key exchange (`docs/reference/behaviour.md#tls`).

use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, NamedGroup};
use spooky_testkit::certs::Authority;
use spooky_testkit::client::{Client, Connection};
use spooky_testkit::origin::Origin;
use spooky_testkit::tcp::Http1;
use spooky_testkit::verifications::Verifications;
use spooky_testkit::{tcp, wait};
use tokio::net::TcpStream;

use crate::proxy::{NAME, Proxy};

/// Sends a request. The ticket of a handshake has arrived before its response.
async fn request(connection: &Connection) {
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
}

#[tokio::test]
async fn sessions_resume_at_any_worker_and_after_a_reload() {
    const WORKERS: u8 = 3;
    let origin = Origin::h2c().await;
    let url = [origin.url()];
    let unwatched = "reload: { watch_certificates: false }";
    let proxy =
        Proxy::start(|settings| settings.workers(WORKERS.into()).upstream("all", "/", &url).block(unwatched)).await;
    let mut tls = proxy.authority.client_config(&[b"h3"]);
    let verified = Verifications::of(&mut tls, &proxy.authority);
    let connect = |worker| {
        let client = Client::with_tls(tls.clone(), |_| {}).choosing(worker);
        let addr = proxy.settings.addr();
        async move { request(&client.connect(addr, NAME).await).await }
    };
    for worker in [0, 1, 2, 1, 0, 2] {
        Box::pin(connect(worker)).await;
    }
    // A renewed certificate ends no session.
    let next = proxy.authority.issue(&[NAME]);
    std::fs::write(proxy.dir().join("cert.pem"), &next.cert_pem).unwrap();
    std::fs::write(proxy.dir().join("key.pem"), &next.key_pem).unwrap();
    proxy.reload(&proxy.settings.text(), 2).await;
    for worker in 0..WORKERS {
        Box::pin(connect(worker)).await;
    }
    assert_eq!(verified.count(), 1, "full handshakes");
    let stopped = |worker| format!("worker-{worker}: stopped, requests=3 ");
    let mut proxy = proxy;
    proxy.program.stop().await;
    for worker in 0..WORKERS {
        proxy.program.line(&stopped(worker)).await;
    }
}

/// Makes a request over TCP with this configuration.
async fn request_over_tcp(proxy: &Proxy, mut tls: ClientConfig) {
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = TcpStream::connect(proxy.settings.addr()).await.unwrap();
    let stream = wait::within("TLS", tcp::handshake(stream, NAME, tls)).await.unwrap();
    assert_eq!(Http1::over(stream).get("/").await.text(), "hello");
}

#[tokio::test]
async fn sessions_resume_between_quic_and_tcp() {
    let origin = Origin::h2c().await;
    let url = [origin.url()];
    let proxy = Proxy::start(|settings| settings.workers(2).upstream("all", "/", &url)).await;
    let mut tls = proxy.authority.client_config(&[b"h3"]);
    let verified = Verifications::of(&mut tls, &proxy.authority);
    for _ in 0..3 {
        let client = Client::with_tls(tls.clone(), |_| {});
        request(&client.connect(proxy.settings.addr(), NAME).await).await;
        request_over_tcp(&proxy, tls.clone()).await;
        request_over_tcp(&proxy, tls.clone()).await;
    }
    assert_eq!(verified.count(), 1, "full handshakes");
    proxy.stop().await;
}

#[tokio::test]
async fn sessions_of_tls_1_2_resume() {
    let origin = Origin::h2c().await;
    let url = [origin.url()];
    let proxy = Proxy::start(|settings| settings.workers(2).upstream("all", "/", &url)).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(proxy.authority.der()).unwrap();
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let tls = tls.with_protocol_versions(&[&rustls::version::TLS12]).unwrap();
    let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
    let verified = Verifications::of(&mut tls, &proxy.authority);
    for _ in 0..3 {
        request_over_tcp(&proxy, tls.clone()).await;
    }
    assert_eq!(verified.count(), 1, "full handshakes");
    proxy.stop().await;
}

/// Ticket keys are not written to disk: after a restart clients make a full handshake and are served.
#[tokio::test]
async fn sessions_of_another_process_are_not_resumed() {
    let (origin, authority) = (Origin::h2c().await, Authority::new());
    let identity = authority.issue(&[NAME]);
    let mut tls = authority.client_config(&[b"h3"]);
    let verified = Verifications::of(&mut tls, &authority);
    for starts in 1..=2 {
        let url = [origin.url()];
        let directory = tempfile::tempdir().unwrap();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| directory.path().join(name));
        std::fs::write(&cert, &identity.cert_pem).unwrap();
        std::fs::write(&key, &identity.key_pem).unwrap();
        let proxy =
            Proxy::start(|settings| settings.certificate(cert.clone(), key.clone()).upstream("all", "/", &url)).await;
        for _ in 0..2 {
            let client = Client::with_tls(tls.clone(), |_| {});
            request(&client.connect(proxy.settings.addr(), NAME).await).await;
        }
        assert_eq!(verified.count(), starts, "full handshakes");
        proxy.stop().await;
    }
}

#[tokio::test]
async fn the_hybrid_key_exchange_is_offered_and_not_required() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    for group in [NamedGroup::X25519MLKEM768, NamedGroup::X25519, NamedGroup::secp256r1] {
        let mut provider = aws_lc_rs::default_provider();
        provider.kx_groups.retain(|known| known.name() == group);
        assert_eq!(provider.kx_groups.len(), 1, "{group:?}");
        let mut roots = rustls::RootCertStore::empty();
        roots.add(proxy.authority.der()).unwrap();
        let tls = ClientConfig::builder_with_provider(Arc::new(provider));
        let tls = tls.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let mut tls = tls.with_root_certificates(roots).with_no_client_auth();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let client = Client::with_tls(tls, |_| {});
        request(&client.connect(proxy.settings.addr(), NAME).await).await;
    }
    proxy.stop().await;
}
