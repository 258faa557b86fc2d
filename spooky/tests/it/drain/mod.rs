//! The drain of a process that stops (docs/reference/behaviour.md#drain), and what a reload must not end.

mod bodies;
mod idle;

use rustix::process::Signal;
use spooky_testkit::duplex::{Client, Origin, Protocol, Tunnel};
use spooky_testkit::wait;

use crate::proxy::Proxy;

const PROTOCOLS: [Protocol; 3] = [Protocol::Http3, Protocol::Http2, Protocol::Http1];
/// A time that no test waits for: what is awaited must happen by itself.
const NEVER: &str = "shutdown_drain_timeout_ms: 10m\nmax_request_body_bytes: 100MB";

/// Starts with one upstream for all paths and a drain that ends by itself only.
async fn patient(backend: &str) -> Proxy {
    Proxy::start(|settings| settings.level("haunt").upstream("all", "/", &[backend.to_owned()]).performance(NEVER))
        .await
}

/// Starts the drain by SIGTERM, and waits until it has begun.
async fn begin(proxy: &mut Proxy) {
    proxy.program.signal(Signal::TERM);
    proxy.program.line("Draining connections").await;
}

/// Waits for the end of the process after a drain in which all connections have ended by themselves.
async fn ended(mut proxy: Proxy) {
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(0), "{}", proxy.program.output());
    proxy.program.line("Spooky shutdown complete").await;
    proxy.logged("worker-0: drain complete, no connection is left", 1).await;
    assert_eq!(proxy.count("the time of the drain is over"), 0);
}

/// A WebSocket outlives reloads, and a drain waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn websockets_outlive_reloads_and_are_waited_for_by_the_drain() {
    let mut origin = Origin::start(false, None).await;
    let mut proxy = patient(&origin.url()).await;
    let mut sockets = Vec::new();
    for protocol in PROTOCOLS {
        let mut client = Client::connect(protocol, &proxy.authority, proxy.settings.addr()).await;
        let socket = Tunnel::websocket(&mut client, &mut origin).await;
        sockets.push((protocol, client, socket));
    }
    for generation in 2..6 {
        proxy.reload(&proxy.settings.text(), generation).await;
        for (protocol, _, socket) in &mut sockets {
            eprintln!("{protocol:?} after generation {generation}");
            socket.talk().await;
        }
    }
    begin(&mut proxy).await;
    for (protocol, _client, mut socket) in sockets {
        eprintln!("{protocol:?} in the drain");
        socket.talk().await;
        socket.end(true).await;
    }
    ended(proxy).await;
}

/// What is still open when the time is over is cut off visibly, and the process ends.
#[tokio::test]
async fn the_end_of_the_time_cuts_websockets_off() {
    let mut origin = Origin::start(true, None).await;
    for protocol in PROTOCOLS {
        let backend = [origin.url()];
        let mut proxy = Proxy::start(|settings| {
            settings.upstream("all", "/", &backend).performance("shutdown_drain_timeout_ms: 200")
        })
        .await;
        let mut client = Client::connect(protocol, &proxy.authority, proxy.settings.addr()).await;
        let mut socket = Tunnel::websocket(&mut client, &mut origin).await;
        socket.talk().await;
        begin(&mut proxy).await;
        let error = socket.client.cut_off().await;
        assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(0), "{protocol:?}: {error}");
        proxy.program.line("worker-0: the time of the drain is over, closing 1 connections").await;
        proxy.program.line("Spooky shutdown complete").await;
    }
}
