//! What floods do to other clients: `cargo run --release -p spooky --example flood -- target/release/spooky`.
//!
//! One worker. A normal client asks every 2 ms, first alone, then beside each kind of flood at full speed: empty datagrams,
//! datagrams of one byte, and packets full of empty STREAM frames. Prints the latency of the normal client.
//!
//! Two cores are enough: Spooky has core 0 to itself; the origin, the normal client and the attacker share core 1, the
//! attacker with the lowest priority. What the attacker takes from core 1 all the same is seen in the row with datagrams to a
//! socket that nobody reads.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a measurement: a broken assumption ends it"
)]

use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::client::{Client, Connection};
use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use std::{
    net::{SocketAddr, UdpSocket},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

const REQUESTS: usize = 1500;
const EVERY: Duration = Duration::from_millis(2);
const NAME: &str = "localhost";

#[tokio::main]
async fn main() {
    let binary = std::env::args().nth(1).expect("the path of the spooky binary");
    let origin = Origin::h2c().await;
    let authority = Arc::new(Authority::new());
    let files = Files::write(&authority, &authority.issue(&[NAME]));
    let settings = Settings::new(&files).upstream("all", "/", &[origin.url()]);
    let config = settings.write(&files);
    let config = config.to_str().expect("a path of text");
    run("taskset", &["-a", "-p", "-c", "1", &std::process::id().to_string()]);
    let _program = Program::start(Path::new("taskset"), &["-c", "0", &binary, "--config", config]);
    let addr = settings.addr();
    let connection = Client::new(&authority).connect_when_up(addr, NAME).await;
    measure(&connection).await; // warms up
    report("alone", &measure(&connection).await, 0.0);
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("bind on loopback");
    let elsewhere = nobody.local_addr().expect("its address");
    for (name, size, to) in
        [("elsewhere, for comparison", 1, elsewhere), ("empty datagrams", 0, addr), ("datagrams of one byte", 1, addr)]
    {
        beside(name, &connection, |flood| datagrams(to, size, flood)).await;
    }
    beside("empty STREAM frames", &connection, |flood| stream_frames(addr, authority.clone(), flood)).await;
}

/// A flood under way: when it shall end, and what it has sent.
#[derive(Clone, Default)]
struct Flood {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
}

/// Runs a program of the system that changes how this process or one of its threads is scheduled.
fn run(program: &str, arguments: &[&str]) {
    let ran = std::process::Command::new(program).args(arguments).output().expect("taskset and renice are installed");
    assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Gives the calling thread the lowest priority.
fn lower_priority() {
    let thread = std::fs::read_link("/proc/thread-self").expect("procfs");
    let number = thread.file_name().and_then(|name| name.to_str()).expect("a number");
    run("renice", &["-n", "19", "-p", number]);
}

async fn beside(name: &str, connection: &Connection, start: impl FnOnce(Flood) -> JoinHandle<()>) {
    let flood = Flood::default();
    let thread = start(flood.clone());
    let (begun, took) = (Instant::now(), measure(connection).await);
    flood.stop.store(true, Relaxed);
    thread.join().expect("the flood");
    report(name, &took, flood.sent.load(Relaxed) as f64 / begun.elapsed().as_secs_f64());
}

fn datagrams(to: SocketAddr, size: usize, flood: Flood) -> JoinHandle<()> {
    std::thread::spawn(move || {
        lower_priority();
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind on loopback");
        while !flood.stop.load(Relaxed) {
            let sent = socket.send_to(&[0x41][..size], to).is_ok();
            flood.sent.fetch_add(u64::from(sent), Relaxed);
        }
    })
}

/// A client that sends a body byte by byte, each in a packet filled with empty frames.
fn stream_frames(to: SocketAddr, authority: Arc<Authority>, flood: Flood) -> JoinHandle<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let head = [(":method", "POST"), (":scheme", "https"), (":authority", NAME), (":path", "/digest")];
    std::thread::spawn(move || {
        lower_priority();
        runtime.block_on(async move {
            let attacker = Client::filling(&authority).connect_raw(to, NAME).await;
            attacker.send_settings().await;
            let mut request = attacker.request(&frame::headers(&head), false).await;
            while !flood.stop.load(Relaxed) {
                request.write(&frame::frame(kind::DATA, b"x")).await;
                tokio::task::yield_now().await;
                flood.sent.store(attacker.quic().stats().udp_tx.datagrams, Relaxed);
            }
        });
    })
}

async fn measure(connection: &Connection) -> Vec<Duration> {
    let mut took = Vec::with_capacity(REQUESTS);
    let mut ticks = tokio::time::interval(EVERY);
    for _ in 0..REQUESTS {
        ticks.tick().await;
        let begun = Instant::now();
        assert_eq!(connection.get("/").await.expect("an answer").text(), "hello");
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    took
}

fn report(name: &str, took: &[Duration], per_second: f64) {
    let at = |permille: usize| took[(took.len() - 1) * permille / 1000].as_micros();
    println!(
        "{name:26} {per_second:8.0} packets/s  median {:6} us  99 % {:6} us  slowest {:6} us",
        at(500),
        at(990),
        at(1000)
    );
}
