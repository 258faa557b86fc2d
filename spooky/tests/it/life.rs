//! Start and stop: binding, signals, exit status (docs/reference/behaviour.md#life-cycle).

use std::net::UdpSocket;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, Signal, getrlimit, prlimit};
use spooky_testkit::certs::Files;
use spooky_testkit::client::{Client, Failure, frame, get, raw::End};
use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use spooky_testkit::wait;
use tokio::task::JoinSet;

use crate::proxy::{LONG, NAME, Proxy, SPOOKY, certificates, run};

#[tokio::test]
async fn sigterm_finishes_what_has_begun_and_takes_nothing_new() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("shutdown_drain_timeout_ms: 60s")
    })
    .await;
    let connection = proxy.connect().await;
    let gated = connection.clone();
    let waiting = tokio::spawn(async move { gated.get("/gate").await });
    origin.journal().until("the request at the origin", |record| record.requests.len() == 1).await;
    proxy.program.signal(Signal::TERM);
    proxy.program.line("Draining connections").await;
    let refused = wait::until(wait::BOUND, "new connections to be refused", || async {
        proxy.client().dial(proxy.settings.addr(), NAME).await.err()
    });
    refused.await;
    // Requests may still be accepted until the worker sees the drain; after GOAWAY they are refused.
    let late = wait::until(wait::BOUND, "GOAWAY", || async { connection.get("/").await.err() }).await;
    assert!(matches!(late, Failure::GoingAway | Failure::Stream(0x10b)), "{late:?}");
    origin.open_gate();
    assert_eq!(waiting.await.unwrap().unwrap().text(), "through");
    drop(connection);
    let status = proxy.program.exit(wait::BOUND).await;
    assert_eq!(status.code(), Some(0));
    proxy.program.line("Spooky shutdown complete").await;
}

#[tokio::test]
async fn sigint_stops_like_sigterm() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::before(&[origin.url()]).await;
    assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
    proxy.program.signal(Signal::INT);
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(0));
    proxy.program.line("Spooky shutdown complete").await;
}

/// The kernel grants at most 1 GiB, to root as well.
#[tokio::test]
async fn buffers_that_the_kernel_does_not_grant_are_one_warning_and_what_was_sent_is_logged_at_the_end() {
    const SMALLER: &str = "the kernel granted smaller buffers than configured, udp_recv_buffer_bytes=";
    let origin = Origin::h2c().await;
    for (wanted, warnings) in [("4GiB", 1), ("64KiB", 0)] {
        let buffers = format!("udp_recv_buffer_bytes: {wanted}\nudp_send_buffer_bytes: 64KiB");
        let mut proxy = Proxy::start(|settings| {
            settings.level("debug").workers(2).upstream("all", "/", &[origin.url()]).performance(&buffers)
        })
        .await;
        assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
        proxy.program.stop().await;
        proxy.program.line("Spooky shutdown complete").await;
        assert_eq!(proxy.count(SMALLER), warnings, "{wanted}");
        let output = proxy.program.output();
        let sent = output.lines().filter_map(|line| line.split(" sent datagrams=").nth(1)?.split(' ').next());
        let sent: Vec<u64> = sent.map(|count| count.parse().unwrap()).collect();
        assert_eq!((sent.len(), sent.iter().any(|count| *count > 2)), (2, true), "{sent:?}");
    }
}

/// Without early registration, a signal during the start would kill the process without a drain.
#[tokio::test]
async fn a_signal_during_the_start_stops_like_any_other() {
    let (_authority, files) = certificates();
    for start in 0..20 {
        let settings = Settings::new(&files).workers(2).upstream("all", "/", &["http://127.0.0.1:1".to_owned()]);
        let mut program = run(&settings.write(&files));
        program.line("Spooky is starting").await;
        program.signal(Signal::TERM);
        let status = program.exit(wait::BOUND).await;
        let output = program.rest().await.join("\n");
        if !output.contains("Failed to bind") {
            assert_eq!(status.code(), Some(0), "start {start}: {status}\n{output}");
            assert!(output.contains("Spooky shutdown complete"), "start {start}: {output}");
        }
    }
}

#[tokio::test]
async fn a_second_signal_quits_at_once() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("shutdown_drain_timeout_ms: 600s")
    })
    .await;
    let connection = proxy.connect().await;
    let holding = tokio::spawn(async move { connection.get("/gate").await });
    origin.journal().until("the request at the origin", |record| record.requests.len() == 1).await;
    proxy.program.signal(Signal::TERM);
    proxy.program.line("Draining connections").await;
    proxy.program.signal(Signal::TERM);
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(1));
    assert_eq!(proxy.count("Spooky shutdown complete"), 0);
    holding.abort();
}

#[tokio::test]
async fn the_drain_ends_when_its_time_is_over() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("shutdown_drain_timeout_ms: 300")
    })
    .await;
    let connection = proxy.greeted().await;
    let mut request = connection.request(&frame::get("/hold"), true).await;
    origin.journal().until("the request at the origin", |record| record.requests.len() == 1).await;
    proxy.program.signal(Signal::TERM);
    let end = request.answer().await.unwrap_err();
    assert!(matches!(end, End::Reset(0x10c) | End::Connection(Some(0x100))), "{end:?}");
    assert_eq!(connection.closed().await, Some(0x100), "H3_NO_ERROR");
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(0));
    proxy.program.line("Spooky shutdown complete").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_two_workers_all_work() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).workers(2)).await;
    assert_eq!(proxy.count("Data-plane workers=2"), 1);
    let mut clients = JoinSet::new();
    for number in 0..40u64 {
        // Each has its own socket, so that the kernel distributes them.
        let connection = proxy.connect().await;
        clients.spawn(async move {
            for count in 0..10 {
                let body = vec![b'x'; (number * 100 + count) as usize];
                let reply = connection.post("/echo", body.clone()).await.unwrap();
                assert_eq!(reply.body, body);
            }
        });
    }
    wait::within_time(LONG, "all clients", clients.join_all()).await;
    let record = origin.journal().now();
    assert_eq!(record.requests.len(), 400);
    assert!(record.connections >= 2, "one worker did everything");
    proxy.stop().await;
}

/// Returns settings with a port in use, and the socket that uses it.
fn occupied(files: &Files) -> (Settings, UdpSocket) {
    let tries = std::iter::repeat_with(|| Settings::new(files)).take(20);
    // Another test may get the free port first.
    let mut found = tries.filter_map(|settings| UdpSocket::bind(settings.addr()).ok().map(|socket| (settings, socket)));
    let (settings, socket) = found.next().expect("a port that stays free");
    (settings.upstream("all", "/", &["http://127.0.0.1:1".to_owned()]), socket)
}

#[tokio::test]
async fn a_bad_file_is_reported_with_its_place_and_nothing_is_bound() {
    let (_authority, files) = certificates();
    // If the port were bound before the check, the error would be about this socket.
    let (settings, _taken) = occupied(&files);
    let path = settings.write(&files);
    let cases = [
        ("worker_threads: 1", "worker_threads: many", "worker_threads"),
        ("performance:", "performence:", "performence"),
        ("version: 1", "version: 9", "version"),
        ("127.0.0.1:1", "127.0.0.1:70000", "127.0.0.1:70000"),
        ("key.pem", "lost.pem", "lost.pem"),
        ("upstream:\n", "upstream: [\n", ""),
    ];
    for (good, bad, named) in cases {
        let text = settings.text().replace(good, bad);
        std::fs::write(&path, &text).unwrap();
        let mut program = run(&path);
        let status = program.exit(wait::BOUND).await;
        let output = program.rest().await.join("\n");
        assert_eq!(status.code(), Some(1), "{bad}: {output}");
        let error = output.lines().find(|line| line.contains(": error: "));
        let place = error.and_then(|line| line.split("spooky.yaml:").nth(1));
        let place = place.unwrap_or_else(|| panic!("{bad}: no place in {output}"));
        let mut numbers = place.split(':').map(|number| number.trim().parse::<usize>());
        let line = numbers.next().and_then(Result::ok).unwrap_or_else(|| panic!("{bad}: no line in {output}"));
        assert!(numbers.next().is_some_and(|column| column.is_ok()), "{bad}: no column in {output}");
        assert!(!output.contains("bind") && output.contains(named), "{bad}: {output}");
        if !named.is_empty() {
            assert!(text.lines().nth(line - 1).unwrap().contains(named), "{bad}: wrong line: {output}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_said_so() {
    let mut program = run(std::path::Path::new("/nonexistent/spooky.yaml"));
    assert_eq!(program.exit(wait::BOUND).await.code(), Some(1));
    let output = program.rest().await.join("\n");
    assert!(output.contains("/nonexistent/spooky.yaml"), "{output}");
}

#[tokio::test]
async fn a_port_in_use_ends_the_start() {
    let (_authority, files) = certificates();
    for workers in [1, 2] {
        let (settings, _taken) = occupied(&files);
        let settings = settings.workers(workers);
        let mut program = run(&settings.write(&files));
        assert_eq!(program.exit(wait::BOUND).await.code(), Some(1));
        let output = program.rest().await.join("\n");
        let text = format!("Failed to bind UDP socket {}: ", settings.addr());
        assert!(output.contains(&text) && output.contains("in use"), "{output}");
    }
}

/// The workers of a process share a port, other processes cannot bind it.
#[tokio::test]
async fn a_second_instance_on_the_same_port_ends_at_its_start_and_takes_nothing() {
    let origin = Origin::h2c().await;
    for workers in [1, 2] {
        let proxy = Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).workers(workers)).await;
        for second in [1, 2, 3] {
            let (_authority, files) = certificates();
            let text = proxy.settings.clone().workers(second).level("silence").text();
            let path = files.dir().join("second.yaml");
            std::fs::write(&path, text).unwrap();
            let mut program = run(&path);
            assert_eq!(program.exit(wait::BOUND).await.code(), Some(1));
            let output = program.rest().await;
            let error = format!("Failed to bind UDP socket {}: Address already in use", proxy.settings.addr());
            let [.., text, hint] = &output[..] else { panic!("no hint: {output:?}") };
            assert!(text.starts_with(&error) && hint.starts_with("    hint: Another process listens"), "{output:?}");
            assert_eq!(output.iter().filter(|line| line.contains("Failed to bind")).count(), 1, "{output:?}");
        }
        for _ in 0..8 {
            assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
        }
    }
}

/// A temporary lack of resources, simulated by a limit on file descriptors that lets the start succeed, but not the worker.
#[tokio::test]
async fn a_worker_that_cannot_start_is_tried_again_until_it_can() {
    let origin = Origin::h2c().await;
    let (authority, files) = certificates();
    for limit in 8..64 {
        let settings = Settings::new(&files).upstream("all", "/", &[origin.url()]);
        let file = settings.write(&files);
        // For TCP clients the limit would be raised.
        let without_tcp = settings.text().replacen("  tls:", "  tcp: { enabled: false }\n  tls:", 1);
        std::fs::write(&file, without_tcp).unwrap();
        let start = format!("ulimit -Sn {limit}; exec {SPOOKY} --config {}", file.display());
        let mut command = tokio::process::Command::new("sh");
        command.args(["-c", &start]).env_remove("RUST_LOG");
        let mut program = Program::spawn(command);
        let waits = wait::until(wait::BOUND, "the worker or the start to fail", || async {
            let output = program.output();
            let waits =
                output.contains("worker-0 failed to start: ") && output.contains("; 0/1 workers running, not ready; ");
            (waits || output.contains("rror") || output.contains("Failed")).then_some(waits)
        });
        if !waits.await {
            continue;
        }
        let pid = i32::try_from(program.pid()).ok().and_then(rustix::process::Pid::from_raw);
        let enough = Rlimit { current: Some(256), maximum: getrlimit(Resource::Nofile).maximum };
        prlimit(pid, Resource::Nofile, enough).unwrap();
        program.line("worker-0 restarted; 1/1 workers running, ready").await;
        let connection = Client::new(&authority).connect_when_up(settings.addr(), NAME).await;
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
        drop(connection);
        assert_eq!(program.stop().await.code(), Some(0), "{}", program.output());
        return;
    }
    panic!("no limit lets the process start and not the worker");
}

#[tokio::test]
async fn reopening_a_log_that_is_no_file_ends_nothing() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.connect().await;
    for _ in 0..3 {
        proxy.program.signal(Signal::USR1);
        proxy.program.line("There is no log file to reopen; the log goes to standard error").await;
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    }
    proxy.program.signal(Signal::TERM);
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(0));
}

#[tokio::test]
async fn the_lines_of_a_start_come_in_their_order() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let output = proxy.program.output();
    let listener = format!("Ingress: HTTP/3 (QUIC) on UDP {}", proxy.settings.addr());
    let mut rest = output.as_str();
    for line in [
        "Starting configuration validation...",
        "Configuration validation passed successfully",
        "Spooky is starting",
        &listener,
        "Data-plane workers=1 packet_shards_per_worker=1 reuseport=true pin_workers=false",
        "Performance profile: global_inflight_limit=",
    ] {
        let (_, after) =
            rest.split_once(line).unwrap_or_else(|| panic!("{line:?} is not where it should be:\n{output}"));
        rest = after;
    }
    proxy.stop().await;
}

#[tokio::test]
async fn an_idle_proxy_sleeps() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.connect().await;
    connection.send(get("/")).await.unwrap();
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", proxy.program.pid())).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().map(str::to_owned).collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    };
    // Measures CPU time over a period: a busy loop would use about a hundred ticks.
    let before = ticks();
    let _ = tokio::time::timeout(Duration::from_secs(1), std::future::pending::<()>()).await;
    let used = ticks() - before;
    assert!(used < 20, "{used} ticks of CPU for nothing");
}
