//! Measures overload: `cargo run -p spooky --example overload -- target/debug/spooky`.
//!
//! First measures the capacity with a closed loop at the backend's limit. Then sends twice that rate in an open loop. Prints
//! the goodput and the latency of refusals.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement: a broken assumption ends it"
)]

use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::{Client, Connection};
use spooky_testkit::origin::{
    Origin,
    handler::{handle, text},
};
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use std::{
    path::Path,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const SERVICE: Duration = Duration::from_millis(20);
const CONCURRENCY: usize = 16;
const CLOSED_LOOP: Duration = Duration::from_secs(5);
const OPEN_LOOP: Duration = Duration::from_secs(10);
const MAX_WAIT_MS: u64 = 100;

#[tokio::main]
async fn main() {
    let binary = std::env::args().nth(1).expect("the path of the spooky binary");
    let origin = Origin::with(handle(|_| async {
        tokio::time::sleep(SERVICE).await;
        text(http::StatusCode::OK, "served")
    }))
    .await;
    let authority = Authority::new();
    let files = Files::write(&authority, &authority.issue(&["localhost"]));
    let settings = Settings::new(&files)
        .upstream("all", "/", &[origin.url()])
        .performance(&format!("per_backend_inflight_limit: {CONCURRENCY}"))
        .block(&format!("resilience:\n  route_queue: {{ max_wait_ms: {MAX_WAIT_MS} }}"));
    let config = settings.write(&files);
    let _program = Program::start(Path::new(&binary), &["--config", config.to_str().expect("a path of text")]);
    let client = Client::new(&authority);
    let mut connections = Vec::new();
    for _ in 0..CONCURRENCY {
        connections.push(client.connect_when_up(settings.addr(), "localhost").await);
    }
    let capacity = closed_loop(&connections).await;
    let results = open_loop(&connections, capacity * 2.0).await;
    report(capacity, &results);
}

/// Measures the requests per second with `CONCURRENCY` requests in flight.
async fn closed_loop(connections: &[Connection]) -> f64 {
    let (start, mut clients) = (Instant::now(), JoinSet::new());
    for connection in connections {
        let connection = connection.clone();
        clients.spawn(async move {
            let mut served = 0_u32;
            while start.elapsed() < CLOSED_LOOP {
                served += u32::from(connection.get("/").await.expect("an answer").status.is_success());
            }
            served
        });
    }
    let served: u32 = clients.join_all().await.into_iter().sum();
    f64::from(served) / start.elapsed().as_secs_f64()
}

struct Answered {
    is_served: bool,
    took: Duration,
    at: Duration,
}

async fn open_loop(connections: &[Connection], rate: f64) -> Vec<Answered> {
    let (start, mut requests) = (Instant::now(), JoinSet::new());
    let mut connections = connections.iter().cycle();
    for number in 0_u32.. {
        let due = Duration::from_secs_f64(f64::from(number) / rate);
        if due >= OPEN_LOOP {
            break;
        }
        tokio::time::sleep_until((start + due).into()).await;
        let connection = connections.next().expect("a connection").clone();
        requests.spawn(async move {
            let begun = Instant::now();
            let reply = connection.get("/").await.expect("an answer");
            Answered { is_served: reply.status.is_success(), took: begun.elapsed(), at: start.elapsed() }
        });
    }
    requests.join_all().await
}

fn report(capacity: f64, results: &[Answered]) {
    // Requests that are served after the end of the load do not count as goodput.
    let in_time = results.iter().filter(|answer| answer.is_served && answer.at < OPEN_LOOP).count();
    let goodput = in_time as f64 / OPEN_LOOP.as_secs_f64();
    let mut refused: Vec<_> = results.iter().filter(|answer| !answer.is_served).map(|answer| answer.took).collect();
    refused.sort();
    let at = |percent: usize| refused[(refused.len() - 1) * percent / 100];
    println!("capacity {capacity:.0}/s in a closed loop of {CONCURRENCY}");
    println!(
        "offered {:.0}/s for {OPEN_LOOP:?}, queue {MAX_WAIT_MS} ms",
        results.len() as f64 / OPEN_LOOP.as_secs_f64()
    );
    println!("served {goodput:.0}/s, {:.0} % of capacity", goodput / capacity * 100.0);
    println!("refused {}: median {:?}, 99 % {:?}, slowest {:?}", refused.len(), at(50), at(99), at(100));
}
