//! Measures the memory for heads of many fields: `cargo run --release -p spooky --example bomb -- target/release/spooky`.
//!
//! Each client opens 100 requests. Their heads are small on the wire and large in memory: 120 one-byte references to a long
//! field of the static table, or 2500 to an empty cookie. Either the backend does not answer, so that heads are kept for
//! retries, or the client grants no credit, so that responses wait. Prints the proxy's memory per connection in each case,
//! and with plain heads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement: a broken assumption ends it"
)]

use bytes::Bytes;
use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::{Client, frame, raw};
use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use std::{path::Path, time::Duration};

const CONNECTIONS: usize = 20;
const STREAMS: usize = 100;
const NAME: &str = "localhost";
/// Limits that refuse nothing; every request gets a stream to the backend.
const LIMITS: &str = "per_backend_inflight_limit: 100000\nper_upstream_inflight_limit: 100000\n\
                      global_inflight_limit: 100000\nh2_connections_per_backend: 20";
const OPEN: &str = "resilience:\n  adaptive_admission: { enabled: false }\n  brownout: { enabled: false }";
/// The entries of the static table (RFC 9204, appendix A).
const EMPTY_COOKIE: u8 = 5;
const LONG_FIELD: u8 = 58;
/// Paths without an answer, and with an answer larger than the heads.
const NEVER: &str = "/gate";
const LARGE: &str = "/bytes/20000";

#[tokio::main]
async fn main() {
    let binary = std::env::args().nth(1).expect("the path of the spooky binary");
    for (path, answers) in [(NEVER, "no answer"), (LARGE, "answers not read")] {
        for (name, entry, times) in [
            ("plain heads", EMPTY_COOKIE, 0),
            ("120 long fields", LONG_FIELD, 120),
            ("2500 cookies", EMPTY_COOKIE, 2500),
        ] {
            let head = frame::bomb(path, entry, times);
            let kib = cost(&binary, &head).await / 1024;
            println!("{answers:17} {name:16} {:5} bytes each: {kib:5} KiB for a connection", head.len());
        }
    }
}

/// Returns the memory that one connection with such requests adds to a new process.
async fn cost(binary: &str, head: &Bytes) -> u64 {
    let origin = Origin::h2c().await;
    let authority = Authority::new();
    let files = Files::write(&authority, &authority.issue(&[NAME]));
    let settings = Settings::new(&files).upstream("all", "/", &[origin.url()]).performance(LIMITS).block(OPEN);
    let config = settings.write(&files);
    let program = Program::start(Path::new(binary), &["--config", config.to_str().expect("a path of text")]);
    let warm = Client::new(&authority).connect_when_up(settings.addr(), NAME).await;
    assert_eq!(warm.get("/").await.expect("an answer").text(), "hello");
    let client = Client::tuned(&authority, |transport| {
        transport.stream_receive_window(0u32.into());
    });
    let (before, mut clients) = (resident(&program), Vec::new());
    for _ in 0..CONNECTIONS {
        clients.push(fill(&client, &settings, head).await);
    }
    let all = 1 + CONNECTIONS * STREAMS;
    origin.journal().until_within(Duration::from_secs(60), "all requests", |record| record.requests.len() == all).await;
    warm.get("/").await.expect("an answer");
    let grown = resident(&program).saturating_sub(before);
    drop(clients);
    grown / CONNECTIONS as u64
}

async fn fill(client: &Client, settings: &Settings, head: &Bytes) -> (raw::Connection, Vec<raw::Request>) {
    let connection = client.connect_raw(settings.addr(), NAME).await;
    connection.send_settings().await;
    let mut requests = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        requests.push(connection.request(head, true).await);
    }
    (connection, requests)
}

/// Returns the resident memory of the process, in bytes.
fn resident(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).expect("read the status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
}
