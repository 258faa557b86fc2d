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
/// More than sockets, windows and buffers between a backend and a client hold.
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
    wait::until(wait::BOUND, "the backend to be stopped", || {
        let now = counter.load(Ordering::Relaxed);
        if now != last.0 {
            last = (now, Instant::now());
        }
        let is_settled = now > 0 && last.1.elapsed() >= Duration::from_secs(1);
        async move { is_settled.then_some(now) }
    })
    .await
}

#[tokio::test]
async fn a_client_that_does_not_read_stops_the_backend() {
    for protocol in [Protocol::Http2, Protocol::Http1] {
        for is_http2 in [true, false] {
            let (mut origin, proxy) = start(is_http2, "client_stall_timeout_ms: 120s").await;
            let mut client = connect(protocol, &proxy).await;
            let Tunnel { client: mut slow, mut backend } = Tunnel::websocket(&mut client, &mut origin).await;
            let before = proxy.resident_bytes();
            let sent = Arc::new(AtomicU64::new(0));
            let counter = sent.clone();
            let sender = tokio::spawn(async move {
                for piece in Pattern::new(5, LONG_BYTES) {
                    backend.send(&piece).await.unwrap();
                    counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
                }
                backend.end().await.unwrap();
                backend
            });
            let stopped_at = settled(&sent).await;
            assert!(stopped_at < LONG_BYTES / 2, "{protocol:?}, {is_http2}: {stopped_at} bytes were taken");
            let grown = proxy.resident_bytes().saturating_sub(before);
            assert!(grown < 20_000_000, "{protocol:?}, {is_http2}: {grown} bytes more");
            // Others are served meanwhile.
            Tunnel::websocket(&mut connect(protocol, &proxy).await, &mut origin).await.end(true).await;

            let mut sum = Sum::default();
            while let Some(data) = slow.data().await.unwrap() {
                sum.add(&data);
            }
            assert_eq!((sum.len, sum.hex()), (LONG_BYTES, Pattern::sha256(5, LONG_BYTES)));
            let mut backend = wait::within("the backend", sender).await.unwrap();
            slow.end().await.unwrap();
            assert_eq!(backend.data().await.unwrap(), None);
            proxy.stop().await;
        }
    }
}
