//! TLS to backends: verified by default, HTTP/2 by ALPN, and failures that say what was wrong.

use std::sync::Arc;

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use spooky_transport::{BackendSpec, FailureKind, Options, Processed, Scheme};
use tokio_rustls::TlsAcceptor;

use crate::{
    origin::{self, pattern},
    worker::{Worker, spec},
};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn acceptor(&self, name: &str, alpn: &[&[u8]]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    fn trust(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn secure(addr: std::net::SocketAddr, tls: Arc<ClientConfig>) -> BackendSpec {
    let server_name = ServerName::try_from("origin.test").unwrap();
    BackendSpec { scheme: Scheme::Https { tls, server_name }, ..spec(addr) }
}

#[tokio::test]
async fn bodies_pass_over_verified_tls() {
    let authority = Authority::new();
    let origin = origin::start(100, Some(authority.acceptor("origin.test", &[b"h2"]))).await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.transport.add_backend(&secure(origin.addr, authority.trust()));
    let size = 3_000_000;
    for tag in 0..8 {
        worker.get(backend, &format!("/down/{size}"), tag);
        worker.post(backend, "/up", 100 + tag, pattern(size));
    }
    worker.finish((0..8).chain(100..108)).await;
    for tag in 0..8 {
        assert!(worker.answers[&tag].body == pattern(size));
        assert_eq!(worker.answers[&(100 + tag)].body, format!("{size} intact").into_bytes());
    }
}

async fn failure_with(acceptor: TlsAcceptor, trust: Arc<ClientConfig>) -> (FailureKind, String) {
    let origin = origin::start(100, Some(acceptor)).await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.transport.add_backend(&secure(origin.addr, trust));
    worker.get(backend, "/", 1);
    worker.finish([1]).await;
    let failure = worker.answers[&1].failure.unwrap();
    assert_eq!(failure.processed, Processed::No);
    assert_eq!(worker.downs.len(), 1);
    (failure.kind, worker.downs.remove(0).1)
}

#[tokio::test]
async fn an_unknown_authority_or_a_wrong_name_is_a_certificate_failure() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (kind, _) = failure_with(authority.acceptor("origin.test", &[b"h2"]), other.trust()).await;
    assert_eq!(kind, FailureKind::TlsCertificate);
    let (kind, text) = failure_with(authority.acceptor("other.test", &[b"h2"]), authority.trust()).await;
    assert_eq!(kind, FailureKind::TlsCertificate);
    assert!(text.contains("other.test"), "the reason must name what was wrong: {text}");
}

#[tokio::test]
async fn http2_must_be_agreed_by_alpn() {
    let authority = Authority::new();
    for alpn in [&[][..], &[&b"http/1.1"[..]]] {
        let (kind, text) = failure_with(authority.acceptor("origin.test", alpn), authority.trust()).await;
        assert!(matches!(kind, FailureKind::NoCommonProtocol), "{kind:?} {text}");
    }
}

#[tokio::test]
async fn different_trust_never_shares_a_connection() {
    let authority = Authority::new();
    let origin = origin::start(100, Some(authority.acceptor("origin.test", &[b"h2"]))).await;
    let mut worker = Worker::new(Options::default());
    let trusted = worker.transport.add_backend(&secure(origin.addr, authority.trust()));
    let distrusted = worker.transport.add_backend(&secure(origin.addr, Authority::new().trust()));
    worker.get(trusted, "/small", 1);
    worker.finish([1]).await;
    worker.get(distrusted, "/small", 2);
    worker.finish([2]).await;
    assert_eq!(worker.answers[&1].status, 200);
    assert_eq!(worker.answers[&2].failure.unwrap().kind, FailureKind::TlsCertificate);
}
