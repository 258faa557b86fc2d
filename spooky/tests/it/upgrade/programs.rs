//! New programs that cannot be started, hang, or end at the worst time, and signals while they do.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Signal, kill_process};
use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::{program, wait};
use tempfile::TempDir;

use super::{Upgraded, is_gone, pid};
use crate::proxy::{Proxy, SPOOKY};

const FAILED: &str = "Upgrade failed, this process serves on: ";
const STARTED: &str = "Upgrade: process ";

/// A running copy of the program, which the test can replace.
struct Copy {
    upgraded: Upgraded,
    path: PathBuf,
    _directory: TempDir,
}

impl Copy {
    async fn start(origin: &Origin) -> Self {
        Self::start_in(origin, "auto").await
    }

    /// As [`Copy::start`], with this `security.sandbox`.
    async fn start_in(origin: &Origin, sandbox: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("spooky");
        fs::copy(SPOOKY, &path).unwrap();
        let run = |config: &Path| Program::start(&path, &["--config", config.to_str().unwrap()]);
        let adjust = |settings: spooky_testkit::settings::Settings| {
            settings
                .workers(2)
                .upstream("all", "/", &[origin.url()])
                .performance("shutdown_drain_timeout_ms: 10m")
                .security(&format!("privileges: {{ enabled: false, allow_root: true }}\nsandbox: {sandbox}"))
        };
        let upgraded = Upgraded::new(Proxy::start_by(run, adjust, |text| text).await);
        Self { upgraded, path, _directory: directory }
    }

    /// Replaces the program by a script.
    fn replace(&self, script: &str, mode: u32) {
        let new = self.path.with_extension("new");
        fs::write(&new, script).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(mode)).unwrap();
        fs::rename(new, &self.path).unwrap();
    }

    /// Begins an upgrade, and waits until a process was started. Returns it.
    async fn begin(&self) -> rustix::process::Pid {
        let proxy = &self.upgraded.proxy;
        let before = proxy.count(STARTED);
        self.upgraded.signal(Signal::USR2);
        proxy.logged(STARTED, before + 1).await;
        let output = proxy.program.output();
        let line = output.lines().rfind(|line| line.contains(STARTED)).unwrap();
        pid(line.split(STARTED).nth(1).unwrap().split(' ').next().unwrap())
    }

    async fn serves(&self) {
        let proxy = &self.upgraded.proxy;
        assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
        assert_eq!(proxy.http1().await.get("/").await.text(), "hello");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_cannot_be_started_changes_nothing() {
    let origin = Origin::h2c().await;
    let mut copy = Copy::start(&origin).await;
    fs::remove_file(&copy.path).unwrap();
    let mut failures = 0;
    let mut fails = async |copy: &Copy, reason: &str| {
        copy.upgraded.signal(Signal::USR2);
        failures += 1;
        copy.upgraded.proxy.logged(FAILED, failures).await;
        assert_eq!(copy.upgraded.proxy.count(reason), 1, "{reason}: {}", copy.upgraded.proxy.program.output());
        copy.serves().await;
    };
    fails(&copy, "cannot be started: No such file or directory").await;
    copy.replace("no program", 0o644);
    fails(&copy, "cannot be started: Permission denied").await;
    copy.replace("#!/bin/sh\nexit 7\n", 0o755);
    fails(&copy, "the new process has ended before it was ready").await;
    fs::copy(SPOOKY, copy.path.with_extension("new")).unwrap();
    fs::rename(copy.path.with_extension("new"), &copy.path).unwrap();
    copy.upgraded.upgrade().await;
    copy.serves().await;
    copy.upgraded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_that_hangs_disturbs_nobody_and_does_not_hold_up_a_stop() {
    let origin = Origin::h2c().await;
    let copy = Copy::start(&origin).await;
    copy.replace("#!/bin/sh\nexec sleep 600\n", 0o755);
    let killed = copy.begin().await;
    copy.serves().await;
    kill_process(killed, Signal::KILL).unwrap();
    let proxy = &copy.upgraded.proxy;
    proxy.logged("the new process has ended before it was ready", 1).await;
    copy.serves().await;
    let hanging = copy.begin().await;
    // They wait for their turn, which does not come.
    copy.upgraded.signal(Signal::USR2);
    copy.upgraded.signal(Signal::HUP);
    copy.serves().await;
    let Copy { mut upgraded, path: _path, .. } = copy;
    upgraded.signal(Signal::TERM);
    let status = upgraded.proxy.program.exit(wait::BOUND).await;
    assert_eq!(status.code(), Some(0), "{}", upgraded.proxy.program.output());
    assert!(is_gone(hanging));
    upgraded.proxy.program.rest().await;
    assert_eq!(upgraded.proxy.count("Upgrade cancelled: this process was told to stop"), 1);
    assert_eq!(upgraded.proxy.count("Configuration reloaded"), 0);
    assert_eq!(upgraded.proxy.count("Upgrade: starting the new process"), 2);
}

/// Says that it is ready, and does not live to hear that it may begin.
const LOST: &str = r#"
import os, socket
fd, parent = map(int, os.environ["SPOOKY_UPGRADE"].split())
channel = socket.socket(fileno=fd)
channel.shutdown(socket.SHUT_RD)
channel.sendall(b"taken 0 udp\ntaken 0 tcp\nend\n")
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_that_ends_when_it_takes_over_makes_the_old_one_exit_with_an_error() {
    let Some(python) = program::require_python() else { return };
    let origin = Origin::h2c().await;
    let copy = Copy::start_in(&origin, "off").await; // for an interpreter anywhere
    copy.replace(&format!("#!{}\n{LOST}", python.display()), 0o755);
    let connection = copy.upgraded.proxy.connect().await;
    let gated = connection.clone();
    let waiting = tokio::spawn(async move { gated.get("/gate").await });
    origin.journal().until("the request", |seen| seen.requests.len() == 1).await;
    copy.upgraded.signal(Signal::USR2);
    let Copy { mut upgraded, path: _path, .. } = copy;
    upgraded.proxy.program.line("Upgrade failed: the new process has ended when it took over").await;
    // What has begun is finished all the same.
    origin.open_gate();
    assert_eq!(waiting.await.unwrap().unwrap().text(), "through");
    drop(connection);
    assert_eq!(upgraded.proxy.program.exit(wait::BOUND).await.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_to_the_old_process_starts_no_further_one() {
    let origin = Origin::h2c().await;
    let mut copy = Copy::start(&origin).await;
    let connection = copy.upgraded.proxy.connect().await;
    let gated = connection.clone();
    let waiting = tokio::spawn(async move { gated.get("/gate").await });
    origin.journal().until("the request", |seen| seen.requests.len() == 1).await;
    let old = copy.upgraded.newest();
    kill_process(old, Signal::USR2).unwrap();
    copy.upgraded.upgrade().await;
    // It drains now, and neither reloads nor upgrades.
    for signal in [Signal::USR2, Signal::HUP, Signal::USR1, Signal::USR2] {
        kill_process(old, signal).unwrap();
    }
    // The new one may be replaced meanwhile, also while it reloads.
    copy.upgraded.signal(Signal::HUP);
    copy.upgraded.upgrade().await;
    copy.serves().await;
    origin.open_gate();
    assert_eq!(waiting.await.unwrap().unwrap().text(), "through");
    drop(connection);
    copy.upgraded.ended(0).await;
    assert_eq!(copy.upgraded.proxy.count("Upgrade: starting the new process"), 2);
    copy.upgraded.stop().await;
}
