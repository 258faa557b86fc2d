//! Which HTTP version is spoken: fixed, by ALPN, or by the answer to the HTTP/2 preface.

use std::{sync::Arc, time::Duration};

use spooky_testkit::{
    certs,
    http1::{Http1Origin, OnPreface, answer},
    origin::Origin,
};
use spooky_transport::{BackendSpec, FailureKind, Options, Protocol};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    origin,
    raw::{self, Peer},
    secure::{Authority, secure},
    worker::{Worker, spec},
};

#[tokio::test]
async fn a_peer_without_settings_gets_http1_on_a_new_connection_and_it_is_remembered() {
    for on_preface in [OnPreface::Refuse, OnPreface::Close, OnPreface::Ignore] {
        let origin = Http1Origin::start(on_preface, |_, _| vec![answer("yes")]).await;
        let mut worker = Worker::new(Options::default());
        let spec =
            BackendSpec { protocol: Protocol::Auto, connect_timeout: Duration::from_secs(7), ..spec(origin.addr()) };
        let backend = worker.transport.add_backend(&spec);
        worker.get(backend, "/", 1);
        if on_preface == OnPreface::Ignore {
            let preface =
                origin.until_received("the preface", |all| all.first().is_some_and(|bytes| !bytes.is_empty()));
            worker.during("the preface", preface).await;
            worker.skip(Duration::from_secs(6));
            worker.turn_once(|_| {}).await;
            assert!(!worker.answers[&1].is_over());
            worker.skip(Duration::from_secs(2));
        }
        worker.finish([1]).await;
        worker.get(backend, "/", 2);
        worker.finish([2]).await;
        assert_eq!((worker.answers[&1].status, worker.answers[&2].status), (200, 200), "{on_preface:?}");
        let record = origin.journal().now();
        assert_eq!((record.connections, record.requests.len()), (2, 2), "{on_preface:?}");
        assert!(worker.downs.is_empty());
        // The preface is sent with SETTINGS, and no request follows it.
        let first = &origin.received()[0];
        assert!(first.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
        assert!(!first.windows(4).any(|window| window == b"GET "), "{on_preface:?}");
    }
}

#[tokio::test]
async fn a_peer_with_settings_gets_http2() {
    let origin = origin::start(100, None).await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.transport.add_backend(&BackendSpec { protocol: Protocol::Auto, ..spec(origin.addr) });
    (0..20).for_each(|tag| worker.get(backend, "/small", tag));
    worker.finish(0..20).await;
    assert_eq!(worker.transport.counters().connects, 1);
}

/// A cleartext backend that answers by TLS speaks neither version.
#[tokio::test]
async fn a_tls_alert_is_no_http1() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.transport.add_backend(&BackendSpec { protocol: Protocol::Auto, ..spec(addr) });
    worker.get(backend, "/", 1);
    let peer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        stream.write_all(&[21, 3, 1, 0, 2, 2, 70]).await.unwrap();
        stream.shutdown().await.unwrap();
        stream.read_to_end(&mut Vec::new()).await
    });
    worker.finish([1]).await;
    assert_eq!(worker.downs.len(), 1);
    assert!(worker.downs[0].1.contains("write https://"), "{}", worker.downs[0].1);
    drop(peer.await.unwrap());
}

/// An HTTP/2 backend restarts while it is asked, and does not understand the HTTP/1.1 request that follows.
#[tokio::test]
async fn http1_that_was_never_answered_is_forgotten() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.transport.add_backend(&BackendSpec { protocol: Protocol::Auto, ..spec(addr) });
    worker.get(backend, "/", 1);
    let peer = tokio::spawn(async move {
        drop(listener.accept().await.unwrap());
        let (mut confused, _) = listener.accept().await.unwrap();
        let mut request = [0; 16];
        confused.read_exact(&mut request).await.unwrap();
        assert!(request.starts_with(b"GET / HTTP/1.1"));
        confused.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut peer = Peer::accept(&listener, &[]).await;
        let stream = peer.wait_for(raw::HEADERS).await.unwrap().stream;
        peer.respond(stream, true).await;
        peer
    });
    worker.finish([1]).await;
    assert!(matches!(worker.answers[&1].failure.unwrap().kind, FailureKind::Malformed(_)));
    worker.get(backend, "/", 2);
    worker.finish([2]).await;
    assert_eq!(worker.answers[&2].status, 200);
    peer.await.unwrap();
}

/// A backend that has spoken HTTP/2 and is now silent is down; it does not speak HTTP/1.1 for that.
#[tokio::test]
async fn silence_of_an_http2_backend_is_a_connect_timeout() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.transport.add_backend(&BackendSpec {
        protocol: Protocol::Auto,
        connect_timeout: Duration::from_secs(7),
        ..spec(addr)
    });
    worker.get(backend, "/", 1);
    let mut peer = worker.during("the connection", Peer::accept(&listener, &[])).await;
    let stream = worker.during("the request", peer.wait_for(raw::HEADERS)).await.unwrap().stream;
    peer.respond(stream, true).await;
    worker.finish([1]).await;
    drop(peer);
    worker.until("the end of the connection", |worker| worker.transport.is_idle()).await;
    for tag in 2..4 {
        worker.get(backend, "/", tag);
        let silent = worker.during("the next attempt", listener.accept()).await.unwrap();
        worker.skip(Duration::from_secs(8));
        worker.finish([tag]).await;
        assert_eq!(worker.answers[&tag].failure.unwrap().kind, FailureKind::ConnectTimeout, "attempt {tag}");
        drop(silent);
    }
    assert_eq!(worker.transport.counters().connects, 3);
}

#[tokio::test]
async fn alpn_decides_on_tls() {
    let authority = certs::Authority::new();
    let identity = authority.issue(&["origin.test"]);
    let trust = Arc::new(authority.client_config(&[]));
    for (protocol, alpn, expected) in [
        (Protocol::Auto, &[&b"h2"[..], &b"http/1.1"[..]][..], Ok("2.0")),
        (Protocol::Auto, &[&b"http/1.1"[..]], Ok("1.1")),
        (Protocol::Auto, &[], Ok("1.1")),
        (Protocol::Http1, &[&b"h2"[..], &b"http/1.1"[..]], Ok("1.1")),
        (Protocol::Http1, &[], Ok("1.1")),
        (Protocol::Http1, &[&b"h2"[..]], Err(FailureKind::NoCommonProtocol)),
        (Protocol::H2, &[&b"http/1.1"[..]], Err(FailureKind::NoCommonProtocol)),
        (Protocol::H2, &[], Err(FailureKind::NoCommonProtocol)),
    ] {
        let origin = Origin::tls_with(&identity, alpn).await;
        let mut worker = Worker::new(Options::default());
        let backend = worker.transport.add_backend(&BackendSpec { protocol, ..secure(origin.addr(), trust.clone()) });
        for tag in 1..3 {
            worker.get(backend, "/", tag);
            worker.finish([tag]).await;
            let answer = &worker.answers[&tag];
            let got = answer.failure.map_or(Ok(answer.version), |failure| Err(failure.kind));
            assert_eq!(got, expected, "{protocol:?} {alpn:?}");
        }
    }
}

/// The handshake hangs, so no connection is established.
#[tokio::test]
async fn a_backend_that_does_not_answer_costs_one_timeout_for_all() {
    let (listener, addr) = raw::listen().await;
    let trust = Authority::new().trust();
    let mut worker = Worker::new(Options::default());
    let spec =
        BackendSpec { protocol: Protocol::Http1, connect_timeout: Duration::from_secs(7), ..secure(addr, trust) };
    let backend = worker.transport.add_backend(&spec);
    (0..20).for_each(|tag| worker.get(backend, "/", tag));
    worker.turn_once(|_| {}).await;
    worker.skip(Duration::from_secs(6));
    worker.get(backend, "/", 20);
    worker.turn_once(|_| {}).await;
    assert!(worker.over.is_empty());
    worker.skip(Duration::from_secs(2));
    worker.finish(0..=20).await;
    for tag in 0..=20 {
        assert_eq!(worker.answers[&tag].failure.unwrap().kind, FailureKind::ConnectTimeout);
    }
    assert_eq!((worker.transport.counters().connects, worker.downs.len()), (1, 1));
    drop(listener);
}
