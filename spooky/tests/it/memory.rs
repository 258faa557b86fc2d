//! Bounds of memory: unacknowledged responses, bodies with one byte per datagram, large heads. A normal client is not affected
//! in any of these cases.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::client::{Client, raw};
use spooky_testkit::link::{Conditions, Link};
use spooky_testkit::origin::handler::{boxed, handle};
use spooky_testkit::origin::{Origin, PatternBody};
use spooky_testkit::pattern::{Pattern, sha256};
use spooky_testkit::rogue::{Fault, Rogue, Script, Step, answer, fields};
use spooky_testkit::wait;
use tokio::task::JoinSet;

use crate::proxy::{LONG, NAME, Proxy};

const LARGE: &str = "max_request_body_bytes: 1GiB\nmax_response_body_bytes: 1GiB";
const OTHER: u64 = 5_000_000;

/// An endless body that counts the bytes that were taken.
struct Counted(PatternBody, Arc<AtomicU64>);

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.1.fetch_add(frame.data_ref().map_or(0, Bytes::len) as u64, Ordering::Relaxed);
        }
        polled
    }
}

/// Starts an origin with an endless, counted body at `/endless`, and `OTHER` bytes elsewhere.
pub(crate) async fn endless() -> (Origin, Arc<AtomicU64>) {
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    let origin = Origin::with(handle(move |request| {
        let is_endless = request.uri().path() == "/endless";
        let len = if is_endless { 200_000_000 } else { OTHER };
        let counter = if is_endless { counter.clone() } else { Arc::default() };
        async move { Response::new(boxed(Counted(PatternBody::sized(len, len), counter))) }
    }))
    .await;
    (origin, taken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_vanish_in_a_download_cost_a_small_window_and_are_closed() {
    const VANISH: usize = 20;
    let (origin, taken) = endless().await;
    let proxy = Proxy::start(|settings| {
        let limits = format!("{LARGE}\nclient_stall_timeout_ms: 3s");
        settings.upstream("all", "/", &[origin.url()]).performance(&limits)
    })
    .await;
    let other = proxy.connect().await;
    assert_eq!(other.get("/").await.unwrap().body.len() as u64, OTHER);
    let before = proxy.resident_bytes();
    let link = Link::start(proxy.settings.addr(), Conditions::clean()).await;
    let client = proxy.client();
    let (mut gone, read, begun) = (JoinSet::new(), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    // All handshakes first: beside full-speed downloads, the relay drops packets at random.
    let mut connections = Vec::new();
    for _ in 0..VANISH {
        connections.push(client.connect(link.addr(), NAME).await);
    }
    for connection in connections {
        let (read, begun) = (read.clone(), begun.clone());
        gone.spawn(async move {
            let request = Request::get("https://localhost/endless").body(()).unwrap();
            let mut exchange = connection.open(request).await.unwrap();
            exchange.sending.finish().await.unwrap();
            assert_eq!(exchange.reading.head().await.unwrap().status(), StatusCode::OK);
            begun.fetch_add(1, Ordering::Relaxed);
            while let Ok(Some(data)) = exchange.reading.data().await {
                read.fetch_add(data.len() as u64, Ordering::Relaxed);
            }
        });
    }
    let has_begun = || async { (begun.load(Ordering::Relaxed) == VANISH as u64).then_some(()) };
    wait::until(LONG, "the downloads to be under way", has_begun).await;
    drop(link);
    let whole = other.get("/").await.unwrap();
    assert_eq!(sha256(&whole.body), Pattern::sha256(OTHER, OTHER));
    // Bytes buffered by the clients, by Spooky, by the origin and by the kernel.
    let offered = taken.load(Ordering::Relaxed) - read.load(Ordering::Relaxed);
    assert!(offered < VANISH as u64 * (3 << 20), "the origin got rid of {offered} bytes");
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < VANISH as u64 * (2 << 20), "memory grew by {grown} bytes");
    // The connections of the vanished clients are closed, and their backend streams are reset.
    origin.journal().until("the end of all downloads", |record| record.cancelled == VANISH).await;
    gone.shutdown().await;
    assert_eq!(other.get("/").await.unwrap().body.len() as u64, OTHER, "the other goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_for_answers_below_every_need_slows_downloads_and_loses_nothing() {
    let (origin, _) = endless().await;
    let proxy = Proxy::start(|settings| {
        let limits = format!("{LARGE}\nresponse_buffer_global_cap_bytes: 1000");
        settings.upstream("all", "/", &[origin.url()]).performance(&limits)
    })
    .await;
    let (one, two) = (proxy.connect().await, proxy.connect().await);
    let both = Box::pin(async { tokio::join!(one.get("/"), two.get("/")) });
    let (one, two) = wait::within_time(LONG, "two downloads", both).await;
    for whole in [one.unwrap(), two.unwrap()] {
        assert_eq!(sha256(&whole.body), Pattern::sha256(OTHER, OTHER));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_huge_pages_keep_freed_memory() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()])).await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.pid())).unwrap();
    assert!(status.contains("THP_enabled:\t0"), "{status}");
    let maps = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", proxy.pid())).unwrap();
    let huge = maps.lines().find(|line| line.starts_with("AnonHugePages:")).unwrap();
    assert_eq!(huge.split_whitespace().nth(1), Some("0"), "{maps}");
}

/// Opens a connection that pads all datagrams.
async fn padding(proxy: &Proxy) -> raw::Connection {
    let client = Client::tuned(&proxy.authority, |transport| {
        transport.pad_to_mtu(true);
    });
    let connection = client.connect_raw(proxy.settings.addr(), NAME).await;
    connection.send_settings().await;
    connection
}

fn post(path: &str) -> Bytes {
    let head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    frame::headers(&head)
}

/// Sends body bytes, each in its own DATA frame and datagram.
async fn trickle(connection: &raw::Connection, request: &mut raw::Request, bytes: usize) {
    let datagrams = || connection.quic().stats().udp_tx.datagrams;
    for _ in 0..bytes {
        let before = datagrams();
        request.write(&frame::frame(kind::DATA, b"x")).await;
        wait::within("the datagram to be sent", async {
            while datagrams() == before {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_in_a_datagram_costs_a_byte() {
    const BYTES: usize = 8_000;
    /// Between the parts, the normal client sends requests.
    const PARTS: usize = 8;
    let origin = Origin::h2c().await;
    // The origin answers after the end of the body, so the body is kept for a retry.
    let patient = Rogue::start(Fault::Script(Script { after_request: true, ..answer(5).into() })).await;
    // On a busy machine, one datagram per byte is slower than the minimum rate.
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("patient", "/patient", &[patient.url()])
            .upstream("all", "/", &[origin.url()])
            .performance("client_min_rate_bytes_per_sec: 0")
    })
    .await;
    let (connection, other) = (padding(&proxy).await, proxy.connect().await);
    assert_eq!(other.get("/").await.unwrap().text(), "hello");
    let before = proxy.resident_bytes();
    let mut request = connection.request(&post("/patient"), false).await;
    for _ in 0..PARTS {
        trickle(&connection, &mut request, BYTES / PARTS).await;
        assert_eq!(other.get("/").await.unwrap().text(), "hello");
    }
    patient.journal().until("the body", |record| record.body_bytes == BYTES as u64).await;
    let datagrams = connection.quic().stats().udp_tx.bytes;
    assert!(datagrams > 9_000_000, "{datagrams} bytes of datagrams: they are not padded");
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 4_500_000, "memory grew by {grown} bytes for {BYTES}");
    request.end();
    assert_eq!(request.answer().await.unwrap().statuses(), ["200"]);
    assert_eq!(other.get("/").await.unwrap().text(), "hello");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn padding_is_charged_to_nobody() {
    const STREAMS: usize = 20;
    const BYTES: usize = 60;
    let rogue = Rogue::start(Fault::Script(Script { credit: false, after_request: true, ..answer(5).into() })).await;
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("stuck", "/stuck", &[rogue.url()])
            .upstream("all", "/", &[origin.url()])
            .performance("request_buffer_global_cap_bytes: 900000")
    })
    .await;
    let connection = padding(&proxy).await;
    let mut first = connection.request(&post("/stuck"), false).await;
    first.write(&frame::frame(kind::DATA, &vec![0; 65_535])).await;
    rogue.journal().until("the backend's window to be full", |record| record.body_bytes == 65_535).await;
    let mut stuck = Vec::new();
    for _ in 0..STREAMS {
        let mut request = connection.request(&post("/stuck"), false).await;
        trickle(&connection, &mut request, BYTES).await;
        stuck.push(request);
    }
    rogue.journal().until("all requests", |record| record.requests.len() > STREAMS).await;
    // 1200 body bytes have arrived in more than a megabyte of datagrams. Another upload must still fit in the budget.
    let sent = connection.quic().stats().udp_tx.bytes;
    assert!(sent > 1_200_000, "{sent} bytes of datagrams: they are not padded");
    let other = proxy.connect().await;
    let body = Pattern::bytes(3, 300_000);
    assert_eq!(other.post("/echo", body.clone()).await.unwrap().body, body);
    for request in &mut stuck {
        request.reset(0x10c);
    }
    let is_cancelled = |resets: &[(u32, u32)]| resets.iter().filter(|(_, code)| *code == 8).count() == STREAMS;
    rogue.journal().until("every upload to have gone on until now", |record| is_cancelled(&record.resets)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interim_heads_that_the_client_does_not_take_are_bounded() {
    const HEADS: usize = 12;
    let value = "v".repeat(15_000);
    let hint = Step::Head(fields(&[(":status", "103"), ("link", &value)]), false);
    let mut steps = vec![hint; HEADS];
    steps.extend(answer(5));
    let rogue = Rogue::start(Fault::Script(steps.into())).await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[rogue.url()]).performance("stream_buffer_bytes: 64KiB")
    })
    .await;
    // The client grants 10 000 bytes of credit until it reads.
    let client = Client::tuned(&proxy.authority, |transport| {
        transport.stream_receive_window(10_000_u32.into());
    });
    let connection = client.connect_raw(proxy.settings.addr(), NAME).await;
    connection.send_settings().await;
    let head = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];
    let mut request = connection.request(&frame::headers(&head), true).await;
    rogue.journal().until("the request", |record| record.requests.len() == 1).await;
    let other = proxy.greeted().await;
    let mut other = other.request(&frame::headers(&head), true).await;
    assert_eq!(other.answer().await.unwrap().statuses().len(), HEADS + 1, "another takes them, and gets all");
    let answer = request.answer().await.unwrap();
    let statuses = answer.statuses();
    let hints = statuses.iter().filter(|status| **status == "103").count();
    assert_eq!((statuses.last(), answer.body.len()), (Some(&"200"), 5));
    assert!((1..=6).contains(&hints), "{hints} interim heads of 15 kB were kept, within 64 KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interim_head_always_fits_and_a_100_is_never_lost() {
    const BUFFER: usize = 1024;
    let value = "v".repeat(15_000);
    let interim = |status: &str| Step::Head(fields(&[(":status", status), ("link", &value)]), false);
    let mut steps = vec![interim("103"), interim("103"), interim("100")];
    steps.extend(answer(5));
    let rogue = Rogue::answering(steps).await;
    let proxy = Proxy::start(|settings| {
        settings
            .level("haunt")
            .upstream("all", "/", &[rogue.url()])
            .performance(&format!("stream_buffer_bytes: {BUFFER}"))
    })
    .await;
    let client = Client::tuned(&proxy.authority, |transport| {
        transport.stream_receive_window(10_000_u32.into());
    });
    let connection = client.connect_raw(proxy.settings.addr(), NAME).await;
    connection.send_settings().await;
    let mut request = connection.request(&frame::get("/"), true).await;
    // The client does not read before all heads have arrived: a part of the first waits, the others exceed the limit.
    proxy.logged("Upstream all status 200", 1).await;
    proxy.logged("Interim response 103 dropped", 1).await;
    proxy.logged("Interim response 100 sent without its fields", 1).await;
    let answer = request.answer().await.unwrap();
    assert_eq!((answer.statuses(), answer.body.len()), (vec!["103", "100", "200"], 5));
    let link = |at: usize| answer.sections[at].iter().find(|(name, _)| name == "link").map(|(_, value)| value.len());
    assert_eq!((link(0), link(1)), (Some(value.len()), None));
    proxy.stop().await;
}

/// An entry of the static table (RFC 9204, appendix A): an empty cookie.
const EMPTY_COOKIE: u8 = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_of_very_many_short_fields_cost_what_they_carry() {
    const CONNECTIONS: usize = 3;
    const STREAMS: usize = 100;
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        let limits = "per_backend_inflight_limit: 1000\nh2_connections_per_backend: 10";
        settings.upstream("all", "/", &[origin.url()]).performance(limits)
    })
    .await;
    let other = proxy.connect().await;
    assert_eq!(other.get("/").await.unwrap().text(), "hello");
    let (mut connections, mut requests, mut costs) = (Vec::new(), Vec::new(), Vec::new());
    // Compared with one such field, since connections and streams also use memory.
    for times in [1, 2500] {
        let (seen, before) = (origin.journal().now().requests.len(), proxy.resident_bytes());
        for _ in 0..CONNECTIONS {
            let connection = proxy.greeted().await;
            for _ in 0..STREAMS {
                requests.push(connection.request(&frame::bomb("/gate", EMPTY_COOKIE, times), true).await);
            }
            connections.push(connection);
        }
        let all = seen + CONNECTIONS * STREAMS;
        origin.journal().until("all heads", |record| record.requests.len() == all).await;
        costs.push(proxy.resident_bytes().saturating_sub(before));
    }
    println!("bytes with one field and with many: {costs:?}");
    // Each head reserves at least 48 KiB while it is parsed, 14 MiB in total. The allocator's overhead varies.
    assert!(costs[1] < costs[0] + (9 << 20), "{costs:?}");
    assert_eq!(other.get("/").await.unwrap().text(), "hello");
    origin.open_gate();
    for request in &mut requests {
        assert_eq!(request.answer().await.unwrap().statuses(), ["200"]);
    }
}
