//! What twice the load does: `cargo run -p spooky --example overload -- target/debug/spooky`.
//!
//! A backend that takes 20 ms and 16 requests at a time serves 800 requests a second; 1600 are offered for ten seconds, at
//! a steady pace whatever becomes of them. Prints the goodput and how long the refused waited.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement: a broken assumption ends it"
)]

use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::Client;
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
const PLACES: u64 = 16;
const SECONDS: u64 = 10;
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
        .performance(&format!("per_backend_inflight_limit: {PLACES}"))
        .block(&format!("resilience:\n  route_queue: {{ max_wait_ms: {MAX_WAIT_MS} }}"));
    let config = settings.write(&files);
    let _program = Program::start(Path::new(&binary), &["--config", config.to_str().expect("a path of text")]);
    let client = Client::new(&authority);
    let mut connections = Vec::new();
    for _ in 0..16 {
        connections.push(client.connect_when_up(settings.addr(), "localhost").await);
    }
    let capacity = PLACES * 1000 / u64::try_from(SERVICE.as_millis()).expect("a small number");
    let (offered, pace) = (capacity * 2, Duration::from_secs(1) / u32::try_from(capacity * 2).expect("a small number"));
    let (start, mut requests) = (Instant::now(), JoinSet::new());
    for number in 0..offered * SECONDS {
        tokio::time::sleep_until((start + pace * u32::try_from(number).expect("a small number")).into()).await;
        let connection = connections[usize::try_from(number).expect("a small number") % connections.len()].clone();
        requests.spawn(async move {
            let begun = Instant::now();
            let reply = connection.get("/").await.expect("an answer");
            (reply.status.is_success(), begun.elapsed())
        });
    }
    let results = requests.join_all().await;
    let elapsed = start.elapsed().as_secs_f64();
    let served = results.iter().filter(|(is_served, _)| *is_served).count();
    let mut refused: Vec<_> = results.iter().filter(|(is_served, _)| !is_served).map(|(_, time)| *time).collect();
    refused.sort();
    let at = |percent: usize| refused[(refused.len() - 1) * percent / 100];
    println!("capacity {capacity}/s, offered {offered}/s for {SECONDS} s, queue {MAX_WAIT_MS} ms");
    println!(
        "served {:.0}/s, {:.0} % of capacity",
        served as f64 / elapsed,
        served as f64 / elapsed * 100.0 / capacity as f64
    );
    println!("refused {}: median {:?}, 99 % {:?}, slowest {:?}", refused.len(), at(50), at(99), at(100));
}
