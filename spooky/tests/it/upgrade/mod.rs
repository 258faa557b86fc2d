//! Upgrades by SIGUSR2: a new process takes over the sockets, and no connection is lost (docs/operate/reload-upgrade.md).

mod connections;
mod control;
mod failed;
mod old;
mod privileges;
mod programs;
mod sessions;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use spooky_testkit::wait;

use crate::proxy::Proxy;

/// A proxy whose process has been replaced some times. Ends all processes when it is dropped.
pub(crate) struct Upgraded {
    pub(crate) proxy: Proxy,
    /// All processes, the newest last.
    processes: Vec<Pid>,
}

impl Upgraded {
    pub(crate) fn new(proxy: Proxy) -> Self {
        let first = pid(&proxy.pid().to_string());
        Self { proxy, processes: vec![first] }
    }

    pub(crate) fn newest(&self) -> Pid {
        *self.processes.last().unwrap()
    }

    /// Sends a signal to the newest process.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.newest(), signal).unwrap();
    }

    /// Replaces the newest process, and waits until the new one serves.
    pub(crate) async fn upgrade(&mut self) {
        let serves = "this process serves from here on";
        let before = self.proxy.count(serves);
        self.signal(Signal::USR2);
        self.proxy.logged(serves, before + 1).await;
        self.proxy.logged("Upgrade complete: process ", before + 1).await;
        let output = self.proxy.program.output();
        let line = output.lines().rfind(|line| line.contains("Upgrade complete: process ")).unwrap();
        let new = pid(line.split("Upgrade complete: process ").nth(1).unwrap().split(' ').next().unwrap());
        // A service manager does not wait for a main process that is not its child, and does not notice its end.
        assert!(!self.processes.contains(&parent(new)), "the new process is a child of an old one");
        self.processes.push(new);
    }

    /// Waits until a process has ended, by its position.
    pub(crate) async fn ended(&self, position: usize) {
        let process = self.processes[position];
        let what = format!("the end of process {process:?}");
        wait::until(wait::BOUND, &what, || async { is_gone(process).then_some(()) }).await;
    }

    /// Stops the newest process, and checks that all end in order.
    pub(crate) async fn stop(self) {
        self.signal(Signal::TERM);
        self.all_ended().await;
    }

    /// Waits until all processes have ended in order.
    async fn all_ended(mut self) {
        for position in 0..self.processes.len() {
            self.ended(position).await;
        }
        let status = self.proxy.program.exit(wait::BOUND).await;
        assert_eq!(status.code(), Some(0), "{}", self.proxy.program.output());
        self.proxy.program.rest().await;
        assert_eq!(self.proxy.count("Spooky shutdown complete"), self.processes.len());
    }
}

impl Drop for Upgraded {
    fn drop(&mut self) {
        for process in &self.processes[1..] {
            let _ended = kill_process(*process, Signal::KILL);
        }
    }
}

fn parent(process: Pid) -> Pid {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap();
    pid(stat.rsplit(") ").next().unwrap().split(' ').nth(1).unwrap())
}

fn pid(text: &str) -> Pid {
    Pid::from_raw(text.parse().expect("a process id")).expect("a process id")
}

/// A child that has ended stays a zombie until its parent waits for it or ends.
fn is_gone(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    test_kill_process(process).is_err() || stat.is_ok_and(|stat| stat.contains(") Z "))
}
