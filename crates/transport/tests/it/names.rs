//! Backends given by name: all addresses are used, failed ones are skipped, changed ones are drained.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use spooky_testkit::{
    dns::{Answer, DnsServer},
    http1::{Http1Origin, OnPreface, Step, answer},
};
use spooky_transport::{BackendId, BackendSpec, FailureKind, NameTable, Options, Protocol, Resolver, SystemFiles};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{
    raw::{self, Peer},
    worker::{Worker, spec},
};

/// A DNS server, a resolver that asks it, and a worker.
struct Setup {
    dns: DnsServer,
    worker: Worker,
    resolver: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Setup {
    async fn new(options: Options, refresh: Option<Duration>) -> Self {
        let (dns, folder) = (DnsServer::start().await, tempfile::tempdir().unwrap());
        let files = SystemFiles {
            resolv_conf: folder.path().join("resolv.conf"),
            hosts: folder.path().join("hosts"),
            port: dns.addr().port(),
        };
        let text = format!("nameserver {}\noptions timeout:1 attempts:1\n", dns.addr().ip());
        fs::write(&files.resolv_conf, text).unwrap();
        let table = Arc::new(NameTable::default());
        table.configure(refresh);
        let resolver = tokio::spawn(Resolver::new(table.clone(), files).run(|_| {}));
        Self { dns, worker: Worker::with_names(options, table), resolver, _folder: folder }
    }

    fn backend(&mut self, port: u16, protocol: Protocol) -> BackendId {
        let spec = BackendSpec { host: "API.test".to_owned(), port, protocol, ..spec(([127, 0, 0, 1], port).into()) };
        self.worker.transport.add_backend(&spec)
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        self.resolver.abort();
    }
}

/// Starts an HTTP/1.1 origin on 127.0.0.<host> that answers with `host`, after the gate for `/gated`.
async fn origin(host: u8, port: u16) -> Http1Origin {
    let addr = SocketAddr::from(([127, 0, 0, host], port));
    Http1Origin::start_at(addr, OnPreface::Refuse, move |entry, _| {
        let gate = (entry.path == "/gated").then_some(Step::Gate);
        gate.into_iter().chain([answer(&host.to_string())]).collect()
    })
    .await
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_fails() {
    let mut setup = Setup::new(Options::default(), None).await;
    let good = origin(1, 0).await;
    setup.dns.set("api.test", &["127.0.0.2", "127.0.0.1", "127.0.0.3"], 60);
    let backend = setup.backend(good.addr().port(), Protocol::Http1);
    setup.worker.get(backend, "/", 1);
    setup.worker.finish([1]).await;
    assert_eq!(setup.worker.answers[&1].body, b"1");
}

#[tokio::test]
async fn a_name_without_address_is_a_dns_failure() {
    for answer in [Answer::NoSuchName, Answer::Failure, Answer::Silence, Answer::Addresses(Vec::new(), 60)] {
        let mut setup = Setup::new(Options::default(), None).await;
        setup.dns.answer("api.test", answer.clone());
        let backend = setup.backend(1, Protocol::H2);
        setup.worker.get(backend, "/", 1);
        setup.worker.get(backend, "/", 2);
        setup.worker.finish([1, 2]).await;
        let failure = setup.worker.answers[&1].failure.unwrap();
        assert_eq!(failure.kind, FailureKind::Dns, "{answer:?}");
        assert_eq!((setup.worker.transport.counters().connects, setup.worker.downs.len()), (1, 1));
    }
}

#[tokio::test]
async fn a_name_that_resolves_later_serves_the_next_request() {
    let mut setup = Setup::new(Options::default(), None).await;
    let origin = origin(1, 0).await;
    let backend = setup.backend(origin.addr().port(), Protocol::Http1);
    setup.worker.get(backend, "/", 1);
    setup.worker.finish([1]).await;
    assert_eq!(setup.worker.answers[&1].failure.unwrap().kind, FailureKind::Dns);
    setup.dns.set("api.test", &["127.0.0.1"], 60);
    setup.worker.get(backend, "/", 2);
    setup.worker.finish([2]).await;
    assert_eq!(setup.worker.answers[&2].status, 200);
}

/// Resolution does not outlast the timeout of the attempt.
#[tokio::test]
async fn a_lookup_counts_as_a_part_of_the_attempt() {
    let mut setup = Setup::new(Options::default(), None).await;
    setup.dns.answer("api.test", Answer::Silence);
    let backend = setup.backend(1, Protocol::H2);
    setup.worker.get(backend, "/", 1);
    setup.worker.turn_once(|_| {}).await;
    setup.worker.skip(Duration::from_secs(6));
    setup.worker.finish([1]).await;
    assert_eq!(setup.worker.answers[&1].failure.unwrap().kind, FailureKind::ConnectTimeout);
}

/// The backend has moved, and nobody has said so before the old address fails.
#[tokio::test]
async fn a_failed_connection_causes_a_lookup() {
    let mut setup = Setup::new(Options::default(), None).await;
    let before = origin(1, 0).await;
    let port = before.addr().port();
    let after = origin(2, port).await;
    setup.dns.set("api.test", &["127.0.0.1"], 3600);
    let backend = setup.backend(port, Protocol::Http1);
    setup.worker.get(backend, "/", 1);
    setup.worker.finish([1]).await;
    setup.dns.set("api.test", &["127.0.0.2"], 3600);
    drop(before);
    setup.worker.until("the end of the connection", |worker| worker.transport.is_idle()).await;
    setup.worker.get(backend, "/", 2);
    setup.worker.finish([2]).await;
    assert_eq!(setup.worker.answers[&2].body, b"2");
    assert_eq!(after.journal().now().requests.len(), 1);
}

#[tokio::test]
async fn connections_of_requests_at_once_spread_over_all_addresses() {
    let mut setup = Setup::new(Options::default(), None).await;
    let first = origin(1, 0).await;
    let port = first.addr().port();
    let others = [origin(2, port).await, origin(3, port).await];
    setup.dns.set("api.test", &["127.0.0.1", "127.0.0.2", "127.0.0.3"], 60);
    let backend = setup.backend(port, Protocol::Http1);
    (0..6).for_each(|tag| setup.worker.get(backend, "/gated", tag));
    for origin in [&first, &others[0], &others[1]] {
        let seen = origin.journal().until("two requests", |record| record.requests.len() == 2);
        setup.worker.during("two requests", seen).await;
    }
}

/// A single HTTP/2 connection has room for all requests, but leaves the other addresses without any.
#[tokio::test]
async fn http2_connections_are_opened_to_all_addresses() {
    let mut setup = Setup::new(Options { connections_per_backend: 1, ..Options::default() }, None).await;
    let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = first.local_addr().unwrap().port();
    let mut listeners = vec![first];
    for host in 2..=3 {
        listeners.push(TcpListener::bind(SocketAddr::from(([127, 0, 0, host], port))).await.unwrap());
    }
    setup.dns.set("api.test", &["127.0.0.1", "127.0.0.2", "127.0.0.3"], 60);
    let backend = setup.backend(port, Protocol::H2);
    let peers = tokio::spawn(async move {
        let mut peers = Vec::new();
        for listener in &listeners {
            let mut peer = Peer::accept(listener, &[]).await;
            peer.wait_for(raw::HEADERS).await.unwrap();
            peers.push(peer);
        }
        peers
    });
    let mut tag = 0;
    setup
        .worker
        .until("requests at all addresses", |worker| {
            // One more request whenever the last one was sent.
            if tag == 0 || tag < 40 && !worker.transport.is_waiting(worker.handles[&tag]) {
                tag += 1;
                worker.get(backend, "/", tag);
            }
            peers.is_finished()
        })
        .await;
    assert_eq!(setup.worker.transport.counters().connects, 3);
    drop(peers.await.unwrap());
}

#[tokio::test]
async fn connections_to_removed_addresses_are_drained() {
    let mut setup = Setup::new(Options::default(), Some(Duration::from_secs(1))).await;
    let before = origin(1, 0).await;
    let port = before.addr().port();
    let after = origin(2, port).await;
    setup.dns.set("api.test", &["127.0.0.1"], 1);
    let backend = setup.backend(port, Protocol::Http1);
    setup.worker.get(backend, "/gated", 1);
    setup.worker.get(backend, "/", 2);
    setup.worker.finish([2]).await;
    let gated = before.journal().until("both", |record| record.requests.len() == 2);
    setup.worker.during("both", gated).await;
    assert_eq!(setup.worker.transport.counters().connections_now, 2);
    setup.dns.set("api.test", &["127.0.0.2"], 1);
    // The idle connection closes, the busy one finishes its request first.
    let closed = before.journal().until("the idle one to close", |record| record.closed == 1);
    setup.worker.during("the idle one to close", closed).await;
    setup.worker.get(backend, "/", 3);
    setup.worker.finish([3]).await;
    assert_eq!((setup.worker.answers[&3].body.as_slice(), after.journal().now().requests.len()), (&b"2"[..], 1));
    assert!(!setup.worker.answers[&1].is_over());
    before.open_gate(1);
    setup.worker.finish([1]).await;
    assert_eq!((setup.worker.answers[&1].failure, setup.worker.answers[&1].body.as_slice()), (None, &b"1"[..]));
    let closed = before.journal().until("the other one to close", |record| record.closed == 2);
    setup.worker.during("the other one to close", closed).await;
    assert_eq!(setup.worker.transport.counters().connections_lost, 0);
}

#[tokio::test]
async fn http2_connections_to_removed_addresses_finish_their_streams() {
    let mut setup = Setup::new(Options::default(), Some(Duration::from_secs(1))).await;
    let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = old.local_addr().unwrap().port();
    let new = TcpListener::bind(SocketAddr::from(([127, 0, 0, 2], port))).await.unwrap();
    setup.dns.set("api.test", &["127.0.0.1"], 1);
    let backend = setup.backend(port, Protocol::H2);
    setup.worker.get(backend, "/", 1);
    let mut before = setup.worker.during("the old connection", Peer::accept(&old, &[])).await;
    let stream = setup.worker.during("the request", before.wait_for(raw::HEADERS)).await.unwrap().stream;
    setup.dns.set("api.test", &["127.0.0.2"], 1);
    let queries = setup.dns.count("api.test");
    setup.worker.during("the next lookup", setup.dns.asked("api.test", queries + 4)).await;
    setup.worker.get(backend, "/", 2);
    let mut after = setup.worker.during("the new connection", Peer::accept(&new, &[])).await;
    let other = setup.worker.during("the request", after.wait_for(raw::HEADERS)).await.unwrap().stream;
    after.respond(other, true).await;
    setup.worker.finish([2]).await;
    assert!(!setup.worker.answers[&1].is_over());
    before.respond(stream, true).await;
    setup.worker.finish([1]).await;
    assert_eq!((setup.worker.answers[&1].status, setup.worker.answers[&2].status), (200, 200));
    assert!(setup.worker.during("the end of the old one", before.wait_for(raw::GOAWAY)).await.is_some());
}
