//! Load on one backend through the transport alone, in a worker's loop without a client side: what a request costs here.
//!
//! `load <ip:port> <path> [requests] [in flight] [upload bytes] [connections] [spread at]`. Prints the CPU time of this
//! process per request; pin it and the origin to different cores to compare.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a tool for measuring, run by hand")]

use std::{
    future::poll_fn,
    net::SocketAddr,
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use spooky_bridge::message::{Fields, Known, Method, Name, RequestHead};
use spooky_transport::{BackendId, BackendSpec, Event, Options, Protocol, RequestHandle, Scheme, Transport};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Load {
    transport: Transport,
    backend: BackendId,
    path: String,
    upload: Bytes,
    total: u64,
    started: u64,
    done: u64,
    turns: u64,
    bytes: u64,
    /// The running requests by tag: the handle, and what is left of the upload.
    running: Vec<Option<(RequestHandle, Bytes)>>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or: usize| args.get(at).map_or(or, |text| text.parse().expect("a number"));
    let addr: SocketAddr = args.first().expect("an address").parse().expect("ip:port");
    let options = Options {
        connections_per_backend: number(5, 2),
        spread_at: args.get(6).map(|text| text.parse().expect("a number")),
        ..Options::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut transport = Transport::new(options, std::sync::Arc::default(), Instant::now());
    let backend = transport.add_backend(&BackendSpec {
        host: addr.ip().to_string(),
        port: addr.port(),
        scheme: Scheme::Http,
        protocol: Protocol::H2,
        idle: std::sync::Arc::default(),
        connect_timeout: Duration::from_secs(5),
    });
    let in_flight = number(3, 256);
    let mut load = Load {
        transport,
        backend,
        path: args.get(1).cloned().unwrap_or_else(|| "/".to_owned()),
        upload: vec![b'x'; number(4, 0)].into(),
        total: number(2, 1_000_000) as u64,
        started: 0,
        done: 0,
        turns: 0,
        bytes: 0,
        running: (0..in_flight).map(|_| None).collect(),
    };
    runtime.block_on(load.run(in_flight.min(4), in_flight as u64 * 4));
    let (wall, cpu) = (Instant::now(), cpu());
    let turns = load.turns;
    let before = load.transport.counters();
    let total = load.total;
    runtime.block_on(load.run(in_flight, total));
    report(&load, wall.elapsed(), self::cpu().saturating_sub(cpu), load.turns - turns, before);
}

fn report(load: &Load, wall: Duration, cpu: Duration, turns: u64, before: spooky_transport::Counters) {
    let counters = load.transport.counters();
    let requests = (counters.requests - before.requests) as f64;
    println!(
        "{:.2} us CPU per request, {:.0} requests/s, {:.1} requests per turn, {} connections, {:.1} MB/s down",
        cpu.as_secs_f64() * 1e6 / requests,
        requests / wall.as_secs_f64(),
        requests / turns as f64,
        counters.connections_now,
        (counters.bytes_read - before.bytes_read) as f64 / 1e6 / wall.as_secs_f64(),
    );
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("a time after the start of the process")
}

impl Load {
    async fn run(&mut self, in_flight: usize, total: u64) {
        (self.started, self.done) = (0, 0);
        for tag in 0..in_flight {
            self.start(tag);
        }
        poll_fn(|cx| {
            self.turns += 1;
            let now = Instant::now();
            self.transport.on_time(now);
            self.transport.poll_io(cx, now);
            while let Some(event) = self.transport.next_event() {
                self.handle(event, total);
            }
            self.transport.flush(cx);
            if self.done == total { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn handle(&mut self, event: Event, total: u64) {
        match event {
            Event::Head { tag, head, end, .. } => {
                assert_eq!(head.status / 100, 2, "status");
                self.end(tag, end, total);
            }
            Event::Data { tag, data, end } => {
                self.bytes += data.len() as u64;
                if let Some(Some((handle, _))) = self.running.get(tag as usize) {
                    self.transport.release(*handle, data.len());
                }
                self.end(tag, end, total);
            }
            Event::Sent { tag, .. } | Event::Sendable { tag } => self.upload(tag),
            Event::Failed { failure, .. } => panic!("{failure:?}"),
            _ => {}
        }
    }

    fn end(&mut self, tag: u64, end: bool, total: u64) {
        if end {
            self.done += 1;
            if self.started < total {
                self.start(tag as usize);
            }
        }
    }

    fn start(&mut self, tag: usize) {
        self.started += 1;
        let head = head(&self.path, self.upload.len());
        let end = self.upload.is_empty();
        let handle = self.transport.request(self.backend, &head, end, tag as u64, Instant::now()).expect("room");
        if let Some(slot) = self.running.get_mut(tag) {
            *slot = Some((handle, self.upload.clone()));
        }
        if !end {
            self.upload(tag as u64);
        }
    }

    fn upload(&mut self, tag: u64) {
        if let Some(Some((handle, rest))) = self.running.get_mut(tag as usize)
            && !rest.is_empty()
        {
            self.transport.send_data(*handle, rest, true);
        }
    }
}

/// What a browser's request looks like after the proxy's rules.
fn head(path: &str, upload: usize) -> RequestHead {
    let mut fields = Fields::new();
    fields.push(Known::Method, if upload == 0 { b"GET" } else { b"POST" });
    fields.push(Known::Scheme, b"http");
    fields.push(Known::Authority, b"localhost:8448");
    fields.push(Known::Path, path.as_bytes());
    fields.push(Known::UserAgent, b"h2load nghttp2/1.68.0");
    fields.push(Known::XForwardedFor, b"127.0.0.1");
    fields.push(Known::XForwardedProto, b"https");
    fields.push(Known::Via, b"3.0 spooky");
    fields.push(Name::from(Known::XRequestId), b"01939d2c-4b1e-7c3a-9d52-5b6f1e0a7c11");
    let content_length = (upload > 0).then_some(upload as u64);
    if let Some(length) = content_length {
        fields.push(Known::ContentLength, length.to_string().as_bytes());
    }
    RequestHead { fields, method: if upload == 0 { Method::Get } else { Method::Post }, content_length }
}
