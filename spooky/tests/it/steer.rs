//! Connections are found by connection id alone, on any thread
//! (docs/reference/behaviour.md#client-connections).

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use rustix::process::Signal;
use spooky_testkit::client::{Client, Exchange, get};
use spooky_testkit::link::{Conditions, Link};
use spooky_testkit::origin::Origin;
use spooky_testkit::pattern::Pattern;
use spooky_testkit::wait;
use tokio::task::JoinSet;

use crate::proxy::{LONG, NAME, Proxy};

/// Keepalive interval of a client that only downloads: the server learns a new address only from its packets.
const KEEP_ALIVE: Duration = Duration::from_millis(50);

async fn workers(origin: &Origin, workers: usize, performance: &str) -> Proxy {
    Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).workers(workers).performance(performance))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_one_socket_work_though_every_packet_arrives_at_another_worker() {
    let origin = Origin::h2c().await;
    for count in [2, 3] {
        let proxy = workers(&origin, count, "").await;
        let link = Link::start(proxy.settings.addr(), Conditions::misleading()).await;
        let client = proxy.client();
        let mut connections = JoinSet::new();
        for number in 0..24u64 {
            let connection = client.connect(link.addr(), NAME).await;
            connections.spawn(async move {
                let body = Pattern::bytes(number, 50_000);
                for _ in 0..3 {
                    assert_eq!(connection.post("/echo", body.clone()).await.unwrap().body, body);
                }
            });
        }
        wait::within_time(LONG, "all connections", connections.join_all()).await;
        proxy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_download_survives_a_nat_that_forgets() {
    const LEN: u64 = 4_000_000;
    let origin = Origin::h2c().await;
    for (conditions, migration) in
        [(Conditions::clean(), true), (Conditions::clean(), false), (Conditions::misleading(), false)]
    {
        let proxy = workers(&origin, 3, &format!("quic_active_migration: {migration}")).await;
        let link = Link::start(proxy.settings.addr(), conditions).await;
        let client = Client::tuned(&proxy.authority, |transport| {
            transport.keep_alive_interval(Some(KEEP_ALIVE));
        });
        let connection = client.connect(link.addr(), NAME).await;
        let head = get(&format!("/bytes/{LEN}")).map(|_: Bytes| ());
        let Exchange { mut reading, .. } = connection.open(head).await.unwrap();
        assert_eq!(reading.head().await.unwrap().status(), 200);
        let (mut body, mut moves) = (Vec::new(), 0);
        while let Some(piece) = reading.data().await.unwrap_or_else(|error| {
            panic!("{error:?} after {} bytes and {moves} moves: migration {migration}, {conditions:?}", body.len())
        }) {
            body.extend_from_slice(&piece);
            if body.len() as u64 > moves * (LEN / 8) {
                link.rebind().await;
                moves += 1;
            }
        }
        assert!(body == Pattern::bytes(LEN, LEN), "the body has changed: migration {migration}, {conditions:?}");
        assert_eq!(moves, 8);
        proxy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_moves_keeps_its_connection() {
    let origin = Origin::h2c().await;
    for (count, migration) in [(1, true), (3, true), (3, false)] {
        let proxy = workers(&origin, count, &format!("quic_active_migration: {migration}")).await;
        let client = proxy.client();
        let connection = client.connect(proxy.settings.addr(), NAME).await;
        for _ in 0..8 {
            assert_eq!(connection.get("/").await.unwrap().text(), "hello");
            client.rebind();
        }
        let reply = connection.post("/echo", vec![7; 200_000]).await.unwrap();
        assert_eq!(reply.body.len(), 200_000);
    }
}

/// When a socket leaves the reuseport group, the kernel renumbers the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_begun_is_finished_though_other_workers_have_ended() {
    let origin = Origin::h2c().await;
    let mut proxy = workers(&origin, 3, "shutdown_drain_timeout_ms: 60s").await;
    let mut uploads = Vec::new();
    for number in 0..16u8 {
        // Connections to workers 1 and 2. Each has its own socket, so that the kernel distributes them.
        let client = proxy.client().choosing(1 + number % 2);
        let connection = client.connect(proxy.settings.addr(), NAME).await;
        let mut exchange = connection.open(Request::post("https://localhost/echo").body(()).unwrap()).await.unwrap();
        exchange.sending.data("begun").await.unwrap();
        assert_eq!(exchange.reading.head().await.unwrap().status(), 200);
        uploads.push((client, connection, exchange));
    }
    proxy.program.signal(Signal::TERM);
    proxy.program.line("Draining connections").await;
    let tasks = format!("/proc/{}/task", proxy.program.pid());
    wait::until(wait::BOUND, "the end of worker 0", || async {
        let tasks = std::fs::read_dir(&tasks).unwrap().map_while(Result::ok);
        let mut names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        (!names.any(|name| name.trim() == "worker-0")).then_some(())
    })
    .await;
    for (_client, _connection, Exchange { mut sending, mut reading }) in uploads {
        sending.data(vec![b'x'; 100_000]).await.unwrap();
        sending.finish().await.unwrap();
        assert_eq!(reading.sum().await.unwrap().len, 100_005);
    }
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(0));
}
