//! The operator: reloads, replaces certificates and the program, kills backends, and watches memory.

use crate::{NAME, backends::Backends, ledger::Ledger};
use rustix::process::{Pid, Signal, kill_process};
use spooky_testkit::{
    certs::{Authority, Files},
    process::Program,
    rng::Rng,
    tcp, wait,
};
use std::{
    fs,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

const TICK: Duration = Duration::from_secs(1);
/// Ticks between two kills, two certificates, two upgrades, two reports.
const KILL: u64 = 10;
const CERTIFICATE: u64 = 60;
const UPGRADE: u64 = 300;
const REPORT: u64 = 60;

pub(crate) struct Faults {
    pub(crate) program: Program,
    pub(crate) backends: Backends,
    pub(crate) files: Files,
    pub(crate) authority: Arc<Authority>,
    /// The configuration.
    pub(crate) text: String,
    pub(crate) file: PathBuf,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) addr: SocketAddr,
    /// Reloads that have been in effect.
    pub(crate) reloads: usize,
    /// The process that serves, once the program was replaced.
    pub(crate) pid: Option<u32>,
}

impl Faults {
    /// Runs for `length`. Returns the resident memory of each tick, in KiB.
    pub(crate) async fn run(&mut self, length: Duration, is_upgraded: bool) -> Vec<u64> {
        let (begun, mut rng, mut memory) = (Instant::now(), Rng::new(1), Vec::new());
        for tick in 1_u64.. {
            tokio::time::sleep((TICK * tick as u32).saturating_sub(begun.elapsed())).await;
            if begun.elapsed() >= length {
                break;
            }
            if tick.is_multiple_of(UPGRADE) && is_upgraded {
                self.upgrade().await;
            } else {
                self.reload(tick);
            }
            if tick.is_multiple_of(CERTIFICATE) {
                self.replace_certificate().await;
            }
            if tick.is_multiple_of(KILL) {
                self.ledger.on_kill();
                self.backends.kill_one(&mut rng).await;
            }
            memory.push(resident(self.pid()));
            if tick.is_multiple_of(REPORT) {
                self.check_reloads();
                let (served, excused) = (self.ledger.served(), self.ledger.excused());
                let resident = memory.last().copied().unwrap_or_default();
                println!("{:4} min: {served} requests, {excused} failed with a backend, {resident} KiB", tick / REPORT);
            }
        }
        memory
    }

    fn pid(&self) -> u32 {
        self.pid.unwrap_or_else(|| self.program.pid())
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("signal the process");
    }

    fn reload(&self, tick: u64) {
        let timeout = format!("performance:\n  backend_timeout_ms: {}\n", 20_000 + tick);
        fs::write(self.file.with_extension("new"), self.text.replace("performance:\n", &timeout)).expect("write");
        fs::rename(self.file.with_extension("new"), &self.file).expect("put the configuration in place");
        self.signal(Signal::HUP);
    }

    /// Replaces the certificate, and waits until new connections get it.
    async fn replace_certificate(&self) {
        let identity = self.authority.issue(&[NAME]);
        // The pair is whole again only after the second rename; until then a reload refuses it.
        for (path, text) in [(&self.files.cert, &identity.cert_pem), (&self.files.key, &identity.key_pem)] {
            fs::write(path.with_extension("new"), text).expect("write a PEM file");
            fs::rename(path.with_extension("new"), path).expect("put a PEM file in place");
        }
        let is_served = || async {
            let tls = tcp::connect(&self.authority, self.addr, NAME, &[b"http/1.1"]).await.ok()?;
            let served = tls.get_ref().1.peer_certificates()?.first()?;
            (served == identity.der()).then_some(())
        };
        wait::until(wait::BOUND, "the new certificate", is_served).await;
    }

    /// Checks that most reloads since the last check were in effect; those between the halves of a certificate are refused.
    fn check_reloads(&mut self) {
        let output = self.program.output();
        let reloads = output.lines().filter(|line| line.contains("Configuration reloaded (generation=")).count();
        let expected = self.reloads + REPORT as usize / 2;
        if reloads < expected {
            self.ledger.on_violation(format!("{reloads} reloads in effect, at least {expected} expected"));
        }
        self.reloads = reloads;
        if let Some(line) = output.lines().find(|line| line.contains("panicked")) {
            self.ledger.on_violation(line.to_owned());
        }
    }

    /// Stops the process, which must end well.
    pub(crate) async fn stop(&mut self) {
        self.signal(Signal::TERM);
        let (pid, output) = (self.pid(), || self.program.output());
        let is_gone = || async { (!is_running(pid)).then_some(()) };
        wait::until(wait::BOUND, "the end of the process", is_gone).await;
        if !output().contains("Spooky shutdown complete") {
            self.ledger.on_violation("the process did not stop in order".to_owned());
        }
    }

    /// Returns the processes that have taken over, in their order.
    fn successors(&self) -> Vec<u32> {
        let output = self.program.output();
        let ids = output.lines().filter_map(|line| line.split_once("Upgrade complete: process ")?.1.split(' ').next());
        ids.filter_map(|id| id.parse().ok()).collect()
    }

    /// Replaces the program, and waits until the new process serves.
    async fn upgrade(&mut self) {
        let (old, before) = (self.pid(), self.successors().len());
        self.signal(Signal::USR2);
        let next = || async { self.successors().get(before).copied() };
        let new = wait::until(wait::BOUND, "the next process", next).await;
        let is_gone = || async { (!is_running(old)).then_some(()) };
        self.pid = Some(new);
        wait::until(wait::BOUND, "the end of the previous process", is_gone).await;
    }
}

/// Returns whether a process exists and has not ended.
fn is_running(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
