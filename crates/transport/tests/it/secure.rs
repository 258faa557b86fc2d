//! TLS to backends: verification, ALPN, detection, and the texts of failures.

use std::{
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
};
use spooky_bridge::message::Known;
use spooky_transport::{BackendSpec, FailureKind, Options, Processed, Scheme};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    origin::{self, pattern},
    worker::{Worker, head, spec},
};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Self {
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

    pub(crate) fn trust(&self) -> Arc<ClientConfig> {
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

pub(crate) fn secure(addr: SocketAddr, tls: Arc<ClientConfig>) -> BackendSpec {
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

fn detect(addr: SocketAddr, tls: Arc<ClientConfig>) -> BackendSpec {
    let server_name = ServerName::try_from("origin.test").unwrap();
    BackendSpec {
        scheme: Scheme::Detect { tls, server_name },
        connect_timeout: Duration::from_millis(1500),
        ..spec(addr)
    }
}

/// Sends one request with `:scheme: https`. Returns the result and the number of connections that were opened.
async fn detected(addr: SocketAddr, tls: Arc<ClientConfig>) -> (Result<u16, FailureKind>, u64) {
    let mut worker = Worker::new(Options::default());
    let backend = worker.transport.add_backend(&detect(addr, tls));
    let mut head = head("GET", "/scheme", None);
    head.fields.set(Known::Scheme, &[b"https"]);
    worker.try_request(backend, &head, true, 1).unwrap();
    worker.finish([1]).await;
    let answer = &worker.answers[&1];
    let end = answer.failure.as_ref().map_or(Ok(answer.status), |failure| Err(failure.kind));
    (end, worker.transport.counters().connections_opened)
}

#[tokio::test]
async fn a_transport_that_is_not_given_is_found_out_and_told_to_the_backend() {
    let authority = Authority::new();
    let tls = origin::start(100, Some(authority.acceptor("origin.test", &[b"h2"]))).await;
    let cleartext = origin::start(100, None).await;
    for (origin, scheme) in [(&tls, "https"), (&cleartext, "http")] {
        assert_eq!(detected(origin.addr, authority.trust()).await, (Ok(200), 1), "{scheme}");
        assert_eq!(*origin.board.scheme.lock().unwrap(), scheme);
    }
}

/// A peer that reads from the first connection, answers `answer` and closes. Later connections are relayed to `origin`.
async fn one_that_answers(answer: &'static [u8], origin: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0];
        stream.peek(&mut hello).await.unwrap();
        assert_eq!(hello, [22], "not a TLS handshake");
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        // Unread bytes would turn the close into a reset, which may overtake the answer.
        let _ = stream.read_to_end(&mut Vec::new()).await;
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(forward(stream, origin));
        }
    });
    addr
}

async fn forward(mut stream: TcpStream, origin: SocketAddr) {
    let mut onward = TcpStream::connect(origin).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
}

#[tokio::test]
async fn what_is_no_tls_decides_for_cleartext_and_what_is_tls_does_not() {
    let (authority, origin) = (Authority::new(), origin::start(100, None).await);
    for answer in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\0\0\0\x04\0\0\0\0\0", b""] {
        let addr = one_that_answers(answer, origin.addr).await;
        assert_eq!(detected(addr, authority.trust()).await, (Ok(200), 1), "{answer:?}");
    }
    // An alert (handshake_failure), and a handshake that is cut off: the peer speaks TLS.
    for answer in [&b"\x15\x03\x03\0\x02\x02\x28"[..], b"\x16\x03\x03\0\x7a\x02\0"] {
        let addr = one_that_answers(answer, origin.addr).await;
        assert_eq!(detected(addr, authority.trust()).await, (Err(FailureKind::TlsProtocol), 0), "{answer:?}");
    }
    let other = origin::start(100, Some(Authority::new().acceptor("origin.test", &[b"h2"]))).await;
    assert_eq!(detected(other.addr, authority.trust()).await, (Err(FailureKind::TlsCertificate), 0));
}

#[tokio::test]
async fn silence_decides_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    assert_eq!(detected(addr, Authority::new().trust()).await, (Err(FailureKind::ConnectTimeout), 0));
    let connections = std::iter::from_fn(|| {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(listener.poll_accept(&mut cx), Poll::Ready(Ok(_))).then_some(())
    })
    .count();
    assert_eq!(connections, 1, "it was tried in cleartext");
}

#[tokio::test]
async fn what_was_found_is_remembered_until_an_attempt_fails() {
    let origin = origin::start(1, None).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let serving = tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let mut byte = [0];
            stream.peek(&mut byte).await.unwrap();
            told.send(byte[0]).unwrap();
            // The peer does not speak TLS. It also closes the first cleartext connection.
            if byte != [22] && number != 1 {
                tokio::spawn(forward(stream, origin.addr));
            }
        }
    });
    let mut worker = Worker::new(Options { connections_per_backend: 2, ..Options::default() });
    let backend = worker.transport.add_backend(&detect(addr, Authority::new().trust()));
    worker.get(backend, "/", 1);
    worker.finish([1]).await;
    assert!(worker.answers[&1].failure.is_some());
    // One stream to a connection: the second request takes a connection of its own.
    worker.post(backend, "/hold", 2, b"x"[..].into());
    worker.post(backend, "/hold", 3, b"x"[..].into());
    worker.until("two connections", |worker| worker.transport.counters().connections_opened == 2).await;
    let order: Vec<u8> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
    assert_eq!(order, [22, b'P', 22, b'P', b'P'], "a ClientHello or the preface of HTTP/2");
    serving.abort();
}
