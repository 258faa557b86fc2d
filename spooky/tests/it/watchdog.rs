//! The watchdog: what degrades a window, the restart command, the exit code (docs/reference/behaviour.md#watchdog).

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
    time::Instant,
};

use nix::{
    sys::{
        ptrace,
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use rustix::process::Signal;
use spooky_testkit::{client::Connection, origin::Origin, wait};
use tokio::task::JoinSet;

use crate::proxy::{LONG, Proxy};

/// A command that appends the reason of the restart to a file, as one line.
fn command(file: &Path) -> String {
    let script = r#"printf '%s\\n' \"$SPOOKY_WATCHDOG_REASON\" >> \"$0\""#;
    format!("restart_command: [/bin/sh, -c, \"{script}\", \"{}\"]", file.display())
}

/// Returns the block with windows of this length and with these lines.
fn watchdog(interval_ms: u32, lines: &[&str]) -> String {
    let lines = lines.join("\n    ");
    format!("resilience:\n  watchdog:\n    enabled: true\n    check_interval_ms: {interval_ms}\n    {lines}\n")
}

/// Opens requests that get no answer.
async fn hold(proxy: &Proxy, origin: &Origin, count: usize) -> (Connection, JoinSet<()>) {
    let (connection, mut held) = (proxy.connect().await, JoinSet::new());
    for _ in 0..count {
        let connection = connection.clone();
        held.spawn(async move { drop(connection.get("/hold").await) });
    }
    origin.journal().until("the requests", |record| record.requests.len() == count).await;
    (connection, held)
}

fn reasons(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_default()
}

#[tokio::test]
async fn an_overloaded_process_drains_runs_the_command_once_and_exits_with_3() {
    let (origin, directory) = (Origin::h2c().await, tempfile::tempdir().unwrap());
    let file = directory.path().join("reasons");
    let mut proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[origin.url()])
            .performance("global_inflight_limit: 2\nper_upstream_inflight_limit: 2\nmax_client_share_percent: 100")
            .block(&watchdog(50, &["unhealthy_consecutive_windows: 3", "drain_grace_ms: 200", &command(&file)]))
    })
    .await;
    assert_eq!(proxy.count("Watchdog enabled: check_interval_ms=50 "), 1);
    let (_connection, _held) = hold(&proxy, &origin, 2).await;
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(3));
    proxy.program.rest().await;
    assert_eq!(reasons(&file), "inflight_overload\n");
    for (text, count) in [
        ("Watchdog: window degraded reason=inflight_overload ", 1),
        ("Watchdog: unhealthy, requesting a restart reason=inflight_overload degraded_windows=3 ", 1),
        ("Restart requested reason=inflight_overload drain_grace_ms=200", 1),
        ("Restart command started: /bin/sh ", 1),
        ("Restart command ended: exit status: 0", 1),
    ] {
        assert_eq!(proxy.count(text), count, "{text}\n{}", proxy.program.output());
    }
}

#[tokio::test]
async fn requests_that_time_out_are_only_reported_without_a_command() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::start(|settings| {
        settings
            .upstream_with("all", "/", &[origin.url()], "timeouts: { connect_ms: 50, response_ms: 50 }")
            .block(&watchdog(500, &["min_requests_per_window: 4", "unhealthy_consecutive_windows: 2"]))
    })
    .await;
    let connection = proxy.connect().await;
    let load = async {
        loop {
            let mut requests = JoinSet::new();
            for _ in 0..8 {
                let connection = connection.clone();
                requests.spawn(async move { connection.get("/hold").await.unwrap().status.as_u16() });
            }
            assert_eq!(requests.join_all().await, [503; 8]);
        }
    };
    let text = "Watchdog: unhealthy, but no restart_command is set reason=timeout_spike degraded_windows=2 ";
    tokio::select! {
        never = load => never,
        () = proxy.logged(text, 1) => {}
    }
    assert_eq!(connection.get("/").await.unwrap().status, 200);
    proxy.logged("Watchdog: recovered after degraded_windows=", 1).await;
    assert_eq!(proxy.program.stop().await.code(), Some(0));
}

/// A worker without traffic sleeps for as long as it likes. All windows here are degraded by another reason, so that they can
/// be counted.
#[tokio::test]
async fn idle_workers_do_not_stall_and_reports_keep_their_distance() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.workers(2).upstream("all", "/", &[origin.url()]).block(&watchdog(
            50,
            &[
                "poll_stall_timeout_ms: 1000",
                "overload_inflight_percent: 0",
                "unhealthy_consecutive_windows: 40",
                "restart_cooldown_ms: 1000",
            ],
        ))
    })
    .await;
    let unhealthy = "Watchdog: unhealthy, but no restart_command is set reason=inflight_overload ";
    wait::until(LONG, "two reports", || async { (proxy.count(unhealthy) >= 2).then_some(()) }).await;
    let output = proxy.program.output();
    let reports: Vec<_> = output.lines().filter(|line| line.contains(unhealthy)).collect();
    assert!(reports.iter().all(|line| line.contains(" stalled_workers=- ")), "{reports:?}");
    let windows = |line: &str| -> u64 {
        line.split("degraded_windows=").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
    };
    assert_eq!(windows(reports[0]), 40);
    assert!(windows(reports[1]) > 41, "{reports:?}");
    proxy.stop().await;
}

#[tokio::test]
async fn reloads_do_not_interrupt_windows() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[origin.url()])
            .block(&watchdog(1000, &["overload_inflight_percent: 0", "unhealthy_consecutive_windows: 2"]))
    })
    .await;
    let unhealthy = "Watchdog: unhealthy, but no restart_command is set reason=inflight_overload degraded_windows=2 ";
    wait::within_time(LONG, "two windows", async {
        for generation in 2.. {
            proxy.program.signal(Signal::HUP);
            proxy.logged(&format!("Configuration reloaded (generation={generation})"), 1).await;
            if proxy.count(unhealthy) == 1 {
                return;
            }
        }
    })
    .await;
    proxy.stop().await;
}

/// Stops one thread of the program until the program ends.
pub(crate) fn freeze(pid: u32, thread: &str) {
    let named = |path: &PathBuf| std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == thread);
    let until = Instant::now() + wait::BOUND;
    // A thread gives itself its name when it begins to run.
    let path = loop {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        if let Some(path) = tasks.map(|task| task.unwrap().path()).find(named) {
            break path;
        }
        assert!(Instant::now() < until, "a thread {thread}");
        std::thread::yield_now();
    };
    let id = Pid::from_raw(path.file_name().unwrap().to_str().unwrap().parse().unwrap());
    let (sender, frozen) = mpsc::channel();
    // The thread that traces must also wait for the end of the traced one.
    std::thread::spawn(move || {
        ptrace::seize(id, ptrace::Options::empty()).unwrap();
        ptrace::interrupt(id).unwrap();
        let stopped = waitpid(id, Some(WaitPidFlag::__WALL)).unwrap();
        sender.send(stopped).unwrap();
        while !matches!(
            waitpid(id, Some(WaitPidFlag::__WALL)),
            Err(_) | Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
        ) {}
    });
    let stopped = frozen.recv_timeout(wait::BOUND).unwrap();
    assert!(matches!(stopped, WaitStatus::PtraceEvent(..)), "{stopped:?}");
}

#[tokio::test]
async fn a_worker_that_hangs_does_not_hold_up_the_restart() {
    let (origin, directory) = (Origin::h2c().await, tempfile::tempdir().unwrap());
    let file = directory.path().join("reasons");
    let mut proxy = Proxy::start(|settings| {
        settings.workers(2).upstream("all", "/", &[origin.url()]).block(&watchdog(
            50,
            &[
                "poll_stall_timeout_ms: 2000",
                "unhealthy_consecutive_windows: 2",
                "drain_grace_ms: 100",
                &command(&file),
            ],
        ))
    })
    .await;
    freeze(proxy.pid(), "worker-1");
    assert_eq!(proxy.program.exit(LONG).await.code(), Some(3));
    proxy.program.rest().await;
    assert_eq!(reasons(&file), "poll_stall\n");
    assert_eq!(proxy.count("reason=poll_stall stalled_workers=worker-1 "), 1, "{}", proxy.program.output());
    assert_eq!(proxy.count("A thread did not end within the drain; the process exits without it"), 1);
}

#[tokio::test]
async fn a_worker_that_hangs_does_not_hold_up_the_stop() {
    let origin = Origin::h2c().await;
    let mut proxy = Proxy::start(|settings| {
        let settings = settings.workers(2).upstream("all", "/", &[origin.url()]);
        settings.performance("shutdown_drain_timeout_ms: 100")
    })
    .await;
    freeze(proxy.pid(), "worker-1");
    proxy.program.signal(Signal::TERM);
    assert_eq!(proxy.program.exit(LONG).await.code(), Some(0));
    proxy.program.rest().await;
    assert_eq!(proxy.count("A thread did not end within the drain; the process exits without it"), 1);
    assert_eq!(proxy.count("Spooky shutdown complete"), 1);
}

#[tokio::test]
async fn a_stop_during_the_drain_of_a_restart_ends_the_process_at_once() {
    let (origin, directory) = (Origin::h2c().await, tempfile::tempdir().unwrap());
    let file = directory.path().join("reasons");
    let mut proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[origin.url()])
            .performance("global_inflight_limit: 1\nper_upstream_inflight_limit: 1")
            .block(&watchdog(50, &["unhealthy_consecutive_windows: 1", "drain_grace_ms: 600s", &command(&file)]))
    })
    .await;
    let (_connection, _held) = hold(&proxy, &origin, 1).await;
    proxy.program.line("Draining connections").await;
    proxy.program.signal(Signal::TERM);
    assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(1));
    assert_eq!(reasons(&file), "");
}

#[tokio::test]
async fn a_process_that_the_command_has_started_waits_for_the_cooldown() {
    let origin = Origin::h2c().await;
    for (cooldown, is_restarted) in [("600s", false), ("1", true)] {
        let cooldown = format!("restart_cooldown_ms: {cooldown}");
        let mut proxy = Proxy::start_by(
            |path| {
                let mut command = tokio::process::Command::new(crate::proxy::SPOOKY);
                command.arg("--config").arg(path).env("SPOOKY_WATCHDOG_REASON", "poll_stall").env("RUST_LOG", "debug");
                spooky_testkit::process::Program::spawn(command)
            },
            |settings| {
                settings.upstream("all", "/", &[origin.url()]).block(&watchdog(
                    50,
                    &[
                        "overload_inflight_percent: 0",
                        "unhealthy_consecutive_windows: 1",
                        "restart_command: [/bin/true]",
                        &cooldown,
                    ],
                ))
            },
            |text| text,
        )
        .await;
        if is_restarted {
            assert_eq!(proxy.program.exit(wait::BOUND).await.code(), Some(3));
        } else {
            proxy.program.line("Watchdog: window still degraded reason=inflight_overload degraded_windows=5").await;
            assert_eq!(proxy.program.stop().await.code(), Some(0));
            assert_eq!(proxy.count("requesting a restart"), 0);
        }
    }
}
