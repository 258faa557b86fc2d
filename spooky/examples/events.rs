//! Measures the delay of server-sent events: `cargo run --release -p spooky --example events -- target/release/spooky`.
//!
//! An origin writes an event with the time every 10 ms on each of 50 streams. Clients with one connection for each stream read
//! them from the origin itself and through Spooky. Prints the time from writing to reading an event, in microseconds. The
//! origin does not speak HTTP/3, so HTTP/3 through Spooky stands beside HTTP/2 from the origin.
//!
//! Two cores are enough: Spooky has core 0 to itself; the origin and the clients share core 1.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement: a broken assumption ends it"
)]

use bytes::Bytes;
use http::Response;
use hyper::body::{Body, Frame};
use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::{Client, get};
use spooky_testkit::origin::Origin;
use spooky_testkit::origin::handler::{Handler, boxed, handle};
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use spooky_testkit::tcp::{Http1, Http2};
use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

const STREAMS: u32 = 50;
const EVERY: Duration = Duration::from_millis(10);
const EVENTS: usize = 1000;
/// Events of each stream that are not counted, because other streams are being opened.
const FIRST: usize = 100;
const NAME: &str = "localhost";

#[derive(Clone, Copy)]
enum Version {
    Http3,
    Http2,
    Http1,
}

/// The address and the authority of a server.
#[derive(Clone)]
struct Server {
    addr: SocketAddr,
    authority: Arc<Authority>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let binary = std::env::args().nth(1).expect("the path of the spooky binary");
    let pinned = std::process::Command::new("taskset")
        .args(["-a", "-p", "-c", "1", &std::process::id().to_string()])
        .output()
        .expect("taskset is installed");
    assert!(pinned.status.success(), "{}", String::from_utf8_lossy(&pinned.stderr));
    let epoch = Instant::now();
    let authority = Arc::new(Authority::new());
    let identity = authority.issue(&[NAME]);
    let files = Files::write(&authority, &identity);
    let origin = Origin::tls_serving(&identity, &[b"h2", b"http/1.1"], events(epoch)).await;
    let backend = Origin::with(events(epoch)).await;
    let settings = Settings::new(&files).upstream("all", "/", &[backend.url()]);
    let config = settings.write(&files);
    let config = config.to_str().expect("a path of text");
    let _program = Program::start(Path::new("taskset"), &["-c", "0", &binary, "--config", config]);
    let direct = Server { addr: origin.addr(), authority: authority.clone() };
    let through = Server { addr: settings.addr(), authority };
    drop(Client::new(&through.authority).connect_when_up(through.addr, NAME).await);
    println!("{:10} {:>17} {:>17} {:>17}", "", "origin", "Spooky", "added");
    println!("{:10}{}", "", "    median     99 %".repeat(3));
    for (name, by_origin, version) in [
        ("HTTP/3", Version::Http2, Version::Http3),
        ("HTTP/2", Version::Http2, Version::Http2),
        ("HTTP/1.1", Version::Http1, Version::Http1),
    ] {
        let [alone, proxied] = [measure(&direct, by_origin, epoch).await, measure(&through, version, epoch).await];
        let row = [alone[0], alone[1], proxied[0], proxied[1], proxied[0] - alone[0], proxied[1] - alone[1]];
        println!("{name:10} {}", row.map(|micros| format!("{micros:8.0}")).join(" "));
    }
}

/// Reads the events of all streams. Returns the median and the 99th percentile of their delays, in microseconds.
async fn measure(server: &Server, version: Version, epoch: Instant) -> [f64; 2] {
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        streams.spawn(read(server.clone(), version, Delays { epoch, rest: Vec::new(), all: Vec::new() }));
    }
    let mut all = streams.join_all().await.concat();
    all.sort_unstable();
    [50, 99].map(|percent| all[all.len() * percent / 100].as_secs_f64() * 1e6)
}

async fn read(server: Server, version: Version, mut delays: Delays) -> Vec<Duration> {
    let Server { addr, authority } = server;
    match version {
        Version::Http3 => {
            let connection = Client::new(&authority).connect(addr, NAME).await;
            let (mut sending, mut reading) = connection.open(get("/").map(drop)).await.expect("a stream").split();
            sending.finish().await.expect("a stream");
            reading.head().await.expect("a response");
            while let Some(data) = reading.data().await.expect("events") {
                delays.add(&data);
            }
        }
        Version::Http2 => {
            let mut connection = Http2::connect(&authority, addr, NAME).await;
            let request = connection.request("GET", "/").body(()).expect("a request");
            let (response, _) = connection.open(request, true).await.expect("a stream");
            let mut body = response.await.expect("a response").into_body();
            while let Some(data) = body.data().await {
                let data = data.expect("events");
                body.flow_control().release_capacity(data.len()).expect("what was received");
                delays.add(&data);
            }
        }
        Version::Http1 => {
            let mut connection = Http1::connect(&authority, addr, NAME).await;
            connection.send("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
            connection.try_head().await.expect("a response");
            while let Some(data) = connection.chunk().await.expect("events") {
                delays.add(&data);
            }
        }
    }
    assert_eq!(delays.all.len(), EVENTS);
    delays.all.split_off(FIRST)
}

/// How long the events of a stream took.
struct Delays {
    epoch: Instant,
    /// The beginning of an event whose end has not arrived.
    rest: Vec<u8>,
    all: Vec<Duration>,
}

impl Delays {
    fn add(&mut self, bytes: &[u8]) {
        let now = self.epoch.elapsed();
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.windows(2).position(|window| window == b"\n\n") {
            let event: Vec<u8> = self.rest.drain(..end + 2).collect();
            let text = std::str::from_utf8(&event).expect("text").trim_end();
            let nanos = text.strip_prefix("data: ").and_then(|sent| sent.parse().ok()).expect("the time of an event");
            self.all.push(now.saturating_sub(Duration::from_nanos(nanos)));
        }
    }
}

/// Creates a handler that answers with events. Streams begin spread over the time between two events.
fn events(epoch: Instant) -> Handler {
    let number = AtomicU32::new(0);
    handle(move |_| {
        let later = EVERY / STREAMS * (number.fetch_add(1, Relaxed) % STREAMS);
        let mut timer = interval_at(tokio::time::Instant::now() + later, EVERY);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let body = boxed(Events { epoch, timer, left: EVENTS });
        let response = Response::builder().header("content-type", "text/event-stream").body(body);
        async move { response.expect("a valid head") }
    })
}

/// A body of events.
struct Events {
    epoch: Instant,
    timer: Interval,
    left: usize,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.timer.poll_tick(cx));
        self.left -= 1;
        let event = format!("data: {}\n\n", self.epoch.elapsed().as_nanos());
        Poll::Ready(Some(Ok(Frame::data(event.into()))))
    }
}
