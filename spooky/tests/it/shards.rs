//! Several workers share the sockets of a listener (`performance.packet_shards_per_worker`).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use rustix::process::Signal;
use spooky_testkit::client::{Client, Connection, Exchange, get};
use spooky_testkit::link::{Conditions, Link};
use spooky_testkit::origin::Origin;
use spooky_testkit::pattern::Pattern;
use spooky_testkit::wait;
use tokio::task::JoinSet;

use crate::proxy::{LONG, NAME, Proxy};
use crate::upgrade::Upgraded;

/// Keepalive interval of a client that only downloads: the server learns a new address only from its packets.
const KEEP_ALIVE: Duration = Duration::from_millis(50);

async fn start(origin: &Origin, threads: usize, shards: usize, performance: &str) -> Proxy {
    let performance = format!("packet_shards_per_worker: {shards}\n{performance}");
    Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).workers(threads).performance(&performance))
        .await
}

/// Returns the numbers of requests of the workers that have stopped, by worker.
fn requests(proxy: &Proxy) -> Vec<(String, u64)> {
    let output = proxy.program.output();
    let stopped = output.lines().filter_map(|line| line.split_once(": stopped, requests="));
    let mut requests: Vec<_> = stopped
        .map(|(before, after)| {
            let worker = before.rsplit(' ').next().unwrap().to_owned();
            (worker, after.split(' ').next().unwrap().parse().unwrap())
        })
        .collect();
    requests.sort();
    requests
}

/// Stops the process and checks that each of this many workers has served requests.
async fn all_have_served(proxy: Proxy, workers: usize) {
    let proxy = proxy.stopped().await;
    let requests = requests(&proxy);
    assert_eq!(requests.len(), workers, "{requests:?}");
    assert!(requests.iter().all(|(_, count)| *count > 0), "{requests:?}");
}

/// Returns how many sockets of a protocol are bound to the port of the proxy. Those of TCP that only listen count.
fn sockets(proxy: &Proxy, protocol: &str) -> usize {
    let table = std::fs::read_to_string(Path::new("/proc/net").join(protocol)).unwrap();
    let local = format!(" 0100007F:{:04X} 00000000:0000 ", proxy.settings.addr().port());
    table.lines().filter(|line| line.contains(&local)).count()
}

async fn download(connection: &Connection, length: u64, mut piece: impl AsyncFnMut(usize)) {
    let head = get(&format!("/bytes/{length}")).map(|_: Bytes| ());
    let Exchange { mut reading, .. } = connection.open(head).await.unwrap();
    assert_eq!(reading.head().await.unwrap().status(), 200);
    let mut body = Vec::new();
    while let Some(part) = reading.data().await.unwrap_or_else(|error| panic!("{error:?} after {} bytes", body.len())) {
        body.extend_from_slice(&part);
        piece(body.len()).await;
    }
    assert!(body == Pattern::bytes(length, length), "the body has changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_uploads_and_downloads_work_on_all_shards() {
    let origin = Origin::h2c().await;
    for (threads, shards, retry) in [(2, 2, "auto"), (2, 2, "always"), (1, 3, "auto")] {
        let performance = format!("quic_retry: {retry}\nmax_request_body_bytes: 100MB");
        let proxy = start(&origin, threads, shards, &performance).await;
        assert_eq!([sockets(&proxy, "udp"), sockets(&proxy, "tcp")], [threads, threads * shards]);
        let mut clients = JoinSet::new();
        for number in 0..48_u64 {
            let (client, addr) = (proxy.client(), proxy.settings.addr());
            clients.spawn(async move {
                let connection = client.connect(addr, NAME).await;
                let length = if number < 4 { 4_000_000 } else { 50_000 };
                let body = Pattern::bytes(number, length);
                assert_eq!(connection.post("/echo", body.clone()).await.unwrap().body, body);
                download(&connection, length, async |_| ()).await;
            });
        }
        wait::within_time(LONG, "all connections", clients.join_all()).await;
        all_have_served(proxy, threads * shards).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_shard_gets_tcp_connections() {
    let origin = Origin::h2c().await;
    let proxy = Arc::new(start(&origin, 2, 2, "").await);
    let mut clients = JoinSet::new();
    for number in 0..96_u64 {
        let proxy = proxy.clone();
        clients.spawn(async move {
            let body = Pattern::bytes(number, 20_000);
            if number.is_multiple_of(2) {
                let mut connection = proxy.http1().await;
                assert_eq!(connection.get("/").await.text(), "hello");
            } else {
                let mut connection = proxy.http2().await;
                assert_eq!(connection.post("/echo", body.to_vec(), None).await.unwrap().body, body);
            }
        });
    }
    wait::within_time(LONG, "all connections", clients.join_all()).await;
    all_have_served(Arc::into_inner(proxy).unwrap(), 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_changes_its_port_keeps_its_connection() {
    const LENGTH: u64 = 4_000_000;
    let origin = Origin::h2c().await;
    for (threads, shards, conditions) in
        [(2, 2, Conditions::clean()), (2, 2, Conditions::misleading()), (1, 2, Conditions::clean())]
    {
        let proxy = start(&origin, threads, shards, "").await;
        let link = Link::start(proxy.settings.addr(), conditions).await;
        let client = Client::tuned(&proxy.authority, |transport| {
            transport.keep_alive_interval(Some(KEEP_ALIVE));
        });
        let mut moves = 0;
        let connection = client.connect(link.addr(), NAME).await;
        download(&connection, LENGTH, async |length| {
            if length as u64 > moves * (LENGTH / 8) {
                link.rebind().await;
                moves += 1;
            }
        })
        .await;
        assert_eq!(moves, 8);
        for _ in 0..8 {
            assert_eq!(connection.get("/").await.unwrap().text(), "hello");
            link.rebind().await;
        }
        proxy.stop().await;
    }
}

/// The worker that reads the socket ends before the others: another one must read it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_begun_is_finished_though_the_worker_that_reads_has_ended() {
    let origin = Origin::h2c().await;
    for owner in 0..3 {
        let mut proxy = start(&origin, 1, 3, "shutdown_drain_timeout_ms: 60s").await;
        let client = proxy.client().choosing(owner);
        let connection = client.connect(proxy.settings.addr(), NAME).await;
        let mut exchange = connection.open(Request::post("https://localhost/echo").body(()).unwrap()).await.unwrap();
        exchange.sending.data("begun").await.unwrap();
        assert_eq!(exchange.reading.head().await.unwrap().status(), 200);
        proxy.program.signal(Signal::TERM);
        // The workers without a connection, one of which reads in two of the three rounds.
        proxy.logged(": stopped, requests=", 2).await;
        exchange.sending.data(vec![b'x'; 100_000]).await.unwrap();
        exchange.sending.finish().await.unwrap();
        assert_eq!(exchange.reading.sum().await.unwrap().len, 100_005);
        assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_survive_a_reload_and_the_number_of_shards_needs_a_restart() {
    let origin = Origin::h2c().await;
    let proxy = start(&origin, 2, 2, "").await;
    let mut connections = Vec::new();
    for worker in 0..4 {
        let client = proxy.client().choosing(worker);
        connections.push((client.connect(proxy.settings.addr(), NAME).await, client));
    }
    let text = proxy.settings.text();
    for generation in 2..5 {
        proxy.reload(&text, generation).await;
        for (connection, _) in &connections {
            assert_eq!(connection.post("/echo", vec![7; 50_000]).await.unwrap().body.len(), 50_000);
        }
        assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
        assert_eq!(proxy.http1().await.get("/").await.text(), "hello");
    }
    proxy.rewrite(&text.replace("packet_shards_per_worker: 2", "packet_shards_per_worker: 3"));
    proxy.program.signal(Signal::HUP);
    let rejected =
        "runtime reload rejected: performance.packet_shards_per_worker changed from 2 to 3; restart required";
    proxy.logged(rejected, 1).await;
    assert_eq!(connections[3].0.get("/").await.unwrap().text(), "hello");
    drop(connections);
    all_have_served(proxy, 4).await;
}

/// The sockets are passed on, so the number of workers stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_keeps_connections_and_the_number_of_shards() {
    let origin = Origin::h2c().await;
    let mut upgraded = Upgraded::new(start(&origin, 2, 2, "shutdown_drain_timeout_ms: 60s").await);
    let addr = upgraded.proxy.settings.addr();
    let text = upgraded.proxy.settings.text();
    let mut begun = Vec::new();
    for (round, shards) in [3, 1, 2].into_iter().enumerate() {
        for worker in 0..4 {
            let client = upgraded.proxy.client().choosing(worker);
            let connection = client.connect(addr, NAME).await;
            let mut exchange =
                connection.open(Request::post("https://localhost/echo").body(()).unwrap()).await.unwrap();
            exchange.sending.data("begun").await.unwrap();
            assert_eq!(exchange.reading.head().await.unwrap().status(), 200);
            begun.push((client, connection, exchange));
        }
        upgraded.proxy.rewrite(
            &text
                .replace("packet_shards_per_worker: 2", &format!("packet_shards_per_worker: {shards}"))
                .replace("worker_threads: 2", "worker_threads: 3"),
        );
        upgraded.upgrade().await;
        upgraded.proxy.logged("Data-plane workers=2 packet_shards_per_worker=2 ", round + 2).await;
        upgraded.proxy.logged("performance.worker_threads=3 needs a restart", round + 1).await;
        let kept =
            format!("performance.packet_shards_per_worker={shards} needs a restart: an upgrade keeps 2 for each");
        upgraded.proxy.logged(&kept, usize::from(shards != 2)).await;
        for _ in 0..16 {
            let connection = upgraded.proxy.connect().await;
            assert_eq!(connection.post("/echo", vec![7; 50_000]).await.unwrap().body.len(), 50_000);
            assert_eq!(upgraded.proxy.http1().await.get("/").await.text(), "hello");
        }
        for (_, _, exchange) in &mut begun {
            exchange.sending.data(vec![b'x'; 10_000]).await.unwrap();
        }
    }
    for (number, (_client, _connection, Exchange { mut sending, mut reading })) in begun.into_iter().enumerate() {
        sending.finish().await.unwrap();
        let pieces = 3 - number as u64 / 4;
        assert_eq!(reading.sum().await.unwrap().len, 5 + pieces * 10_000);
    }
    upgraded.stop().await;
}
