//! Measures a thousand reloads: `cargo run --release -p spooky --example reloads -- target/release/spooky`.
//!
//! Two workers under the load of eight connections. Each reload changes a timeout; every second one also adds a backend and a
//! listener, which the next one removes. Prints the resident memory after every hundred reloads. Fails if a request is lost
//! or a connection is closed.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a measurement: a broken assumption ends it")]

use rustix::process::Signal;
use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::Client;
use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use spooky_testkit::{port, wait};
use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

const RELOADS: u32 = 1000;
const REPORT_EVERY: u32 = 100;
const CONNECTIONS: usize = 8;
const BODY: usize = 2000;
const NAME: &str = "localhost";

#[tokio::main]
async fn main() {
    let binary = std::env::args().nth(1).expect("the path of the spooky binary");
    let (one, two) = (Origin::h2c().await, Origin::h2c().await);
    let authority = Arc::new(Authority::new());
    let files = Files::write(&authority, &authority.issue(&[NAME]));
    let settings = Settings::new(&files).workers(2).upstream("all", "/", &[one.url()]);
    let file = settings.write(&files);
    let mut program = Program::start(Path::new(&binary), &["--config", file.to_str().expect("a path of text")]);
    program.line("Performance profile: ").await;

    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..CONNECTIONS {
        clients.spawn(traffic(authority.clone(), settings.addr(), stop.clone(), served.clone()));
    }
    let begun = Instant::now();
    report(0, &program, &served);
    for reload in 1..=RELOADS {
        std::fs::write(&file, text(&settings, reload, &two.url(), port::free())).expect("write the configuration");
        program.signal(Signal::HUP);
        let line = format!("Configuration reloaded (generation={})", reload + 1);
        wait::until(wait::BOUND, &line, || async { program.output().contains(&line).then_some(()) }).await;
        if reload.is_multiple_of(REPORT_EVERY) {
            report(reload, &program, &served);
        }
    }
    stop.store(true, Relaxed);
    clients.join_all().await; // a request that was lost has panicked there
    let seconds = begun.elapsed().as_secs_f64();
    println!("{RELOADS} reloads and {} requests in {seconds:.1} s; none was lost", served.load(Relaxed));
}

/// Returns the configuration of a reload.
fn text(settings: &Settings, reload: u32, backend: &str, added: SocketAddr) -> String {
    let text = settings
        .text()
        .replace("performance:\n", &format!("performance:\n  backend_timeout_ms: {}\n", 20_000 + reload));
    if reload.is_multiple_of(2) {
        return text;
    }
    let line =
        |start: &str| text.lines().find(|line| line.starts_with(start)).expect("a line of the file").trim().to_owned();
    let (tls, port) = (line("  tls: "), line("  port: "));
    let listeners = format!(
        "listeners:\n  - {{ address: 127.0.0.1, {port}, {tls} }}\n  - {{ address: 127.0.0.1, port: {}, {tls} }}\nlog:",
        added.port()
    );
    let more = format!("    backends:\n      - {{ id: added, address: \"{backend}\" }}\n");
    text.replace("log:", &listeners).replace("    backends:\n", &more)
}

async fn traffic(authority: Arc<Authority>, addr: SocketAddr, stop: Arc<AtomicBool>, served: Arc<AtomicU64>) {
    let connection = Client::new(&authority).connect_when_up(addr, NAME).await;
    while !stop.load(Relaxed) {
        let reply = connection.post("/echo", vec![7; BODY]).await.expect("an answer");
        assert!(reply.status == 200 && reply.body.len() == BODY, "{}", reply.status);
        served.fetch_add(1, Relaxed);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn report(reload: u32, program: &Program, served: &AtomicU64) {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).expect("the process");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line").trim();
    println!("after {reload:4} reloads: {resident} resident, {} requests", served.load(Relaxed));
}
