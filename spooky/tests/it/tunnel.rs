//! WebSocket with peers that fail: backends that die, silence, clients that do not read.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use spooky_testkit::duplex::{Client, Origin, Protocol, Tunnel};
use spooky_testkit::pattern::{Pattern, Sum};
use spooky_testkit::wait;

use crate::proxy::Proxy;

const CLIENTS: [Protocol; 3] = [Protocol::Http3, Protocol::Http2, Protocol::Http1];
/// Client protocols, and whether the backend speaks HTTP/2.
const SLOW_PAIRS: [(Protocol, bool); 4] =
    [(Protocol::Http2, true), (Protocol::Http2, false), (Protocol::Http1, true), (Protocol::Http1, false)];
/// More than sockets, windows and buffers between a client and a backend hold.
const LONG_BYTES: u64 = 60_000_000;

async fn start(is_http2: bool, performance: &str) -> (Origin, Proxy) {
    let origin = Origin::start(is_http2, None).await;
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).performance(performance)).await;
    (origin, proxy)
}

async fn connect(protocol: Protocol, proxy: &Proxy) -> Client {
    Client::connect(protocol, &proxy.authority, proxy.settings.addr()).await
}

/// Returns the number of sockets that the proxy has open.
fn sockets(proxy: &Proxy) -> usize {
    let files = std::fs::read_dir(format!("/proc/{}/fd", proxy.pid())).unwrap();
    let targets = files.filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
    // One socket may have several descriptors.
    let sockets = targets.filter(|target| target.to_str().is_some_and(|target| target.starts_with("socket:")));
    sockets.collect::<HashSet<_>>().len()
}

#[tokio::test]
async fn a_backend_that_dies_ends_the_websocket_at_once_and_nothing_is_left() {
    for is_http2 in [true, false] {
        // One permit: if it leaked, the next WebSocket would wait.
        let (mut origin, proxy) = start(is_http2, "per_backend_inflight_limit: 1").await;
        let before = sockets(&proxy);
        for protocol in CLIENTS {
            let mut client = connect(protocol, &proxy).await;
            for has_ended in [false, true] {
                let mut tunnel = Tunnel::websocket(&mut client, &mut origin).await;
                tunnel.talk().await;
                if has_ended {
                    tunnel.client.end().await.unwrap();
                    assert_eq!(tunnel.backend.data().await.unwrap(), None);
                }
                tunnel.backend.kill().await;
                let begun = Instant::now();
                tunnel.client.rest().await.expect_err("no end in order");
                assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
                Tunnel::websocket(&mut client, &mut origin).await.end(true).await;
            }
        }
        // The connection to an HTTP/2 backend may stay.
        let left = || async { (sockets(&proxy) <= before + usize::from(is_http2)).then_some(()) };
        wait::until(wait::BOUND, "the connections to be closed", left).await;
        proxy.stop().await;
    }
}

#[tokio::test]
async fn silence_of_both_sides_ends_a_websocket_and_bytes_of_either_keep_it() {
    let (mut origin, proxy) = start(false, "tunnel_idle_timeout_ms: 2s").await;
    let mut client = connect(Protocol::Http1, &proxy).await;
    let mut tunnel = Tunnel::websocket(&mut client, &mut origin).await;
    tunnel.talk().await;
    let begun = Instant::now();
    for round in 0..6 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let Tunnel { client, backend } = &mut tunnel;
        let (sender, receiver) = if round % 2 == 0 { (client, backend) } else { (backend, client) };
        sender.send(b"alive").await.unwrap();
        assert_eq!(receiver.read(5).await.unwrap(), b"alive");
    }
    assert!(begun.elapsed() >= Duration::from_secs(3));
    let silent = Instant::now();
    tunnel.client.rest().await.expect_err("no end in order");
    assert!(silent.elapsed() >= Duration::from_secs(1), "{:?}", silent.elapsed());
    tunnel.backend.rest().await.expect_err("no end in order");
    Tunnel::websocket(&mut client, &mut origin).await.end(false).await;
    proxy.stop().await;
}

/// Waits until a counter has not changed for a second. Returns its value.
async fn settled(counter: &AtomicU64) -> u64 {
    let mut last = (counter.load(Ordering::Relaxed), Instant::now());
    wait::until(wait::BOUND, "the sender to be stopped", || {
        let now = counter.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        }
        let is_settled = now > 0 && last.1.elapsed() >= Duration::from_secs(1);
        async move { is_settled.then_some(now) }
    })
    .await
}

/// Checks that a side that does not read stops the other one, and gets everything when it reads.
async fn stops(protocol: Protocol, is_http2: bool, client_is_slow: bool) {
    let what = format!("{protocol:?}, HTTP/2 backend: {is_http2}");
    let (mut origin, proxy) = start(is_http2, "client_stall_timeout_ms: 120s").await;
    let mut connection = connect(protocol, &proxy).await;
    let Tunnel { client, backend } = Tunnel::websocket(&mut connection, &mut origin).await;
    let (mut slow, mut fast) = if client_is_slow { (client, backend) } else { (backend, client) };
    let before = proxy.resident_bytes();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let sender = tokio::spawn(async move {
        for piece in Pattern::new(5, LONG_BYTES) {
            fast.send(&piece).await.unwrap();
            counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        fast.end().await.unwrap();
        fast
    });
    let stopped_at = settled(&sent).await;
    assert!(stopped_at < LONG_BYTES / 2, "{what}: {stopped_at} bytes were taken");
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 20_000_000, "{what}: {grown} bytes more");
    // Others are served meanwhile.
    Tunnel::websocket(&mut connect(protocol, &proxy).await, &mut origin).await.end(true).await;

    let mut sum = Sum::default();
    while let Some(data) = slow.data().await.unwrap() {
        sum.add(&data);
    }
    assert_eq!((sum.len, sum.hex()), (LONG_BYTES, Pattern::sha256(5, LONG_BYTES)), "{what}");
    let mut fast = wait::within("the sender", sender).await.unwrap();
    slow.end().await.unwrap();
    assert_eq!(fast.data().await.unwrap(), None);
    proxy.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_backend() {
    for (protocol, is_http2) in SLOW_PAIRS {
        stops(protocol, is_http2, true).await;
    }
}

#[tokio::test]
async fn a_backend_that_does_not_read_stops_the_client() {
    for (protocol, is_http2) in SLOW_PAIRS {
        stops(protocol, is_http2, false).await;
    }
}
