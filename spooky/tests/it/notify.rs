//! What the service manager is told (systemd `Type=notify`). The test is the service manager.

use std::path::Path;

use rustix::process::Signal;
use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::wait;
use tokio::net::UnixDatagram;

use crate::proxy::{Proxy, SPOOKY};
use crate::upgrade::Upgraded;
use crate::watchdog::freeze;

struct Manager {
    socket: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Self { socket, directory }
    }

    /// Starts Spooky with these environment variables.
    async fn start(&self, origin: &Origin, variables: &[(&str, &str)]) -> Proxy {
        let run = |config: &Path| self.program(config, variables);
        Proxy::start_by(run, |settings| settings.upstream("all", "/", &[origin.url()]), |text| text).await
    }

    fn program(&self, config: &Path, variables: &[(&str, &str)]) -> Program {
        let mut command = tokio::process::Command::new(SPOOKY);
        command.args(["--config", config.to_str().unwrap()]);
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify")).envs(variables.iter().copied());
        Program::spawn(command)
    }

    /// Waits for the next message and returns its lines.
    async fn message(&self) -> Vec<String> {
        let mut bytes = [0; 1000];
        let length = wait::within("a message to the service manager", self.socket.recv(&mut bytes)).await.unwrap();
        std::str::from_utf8(&bytes[..length]).unwrap().lines().map(str::to_owned).collect()
    }

    /// Waits for a message that is not a ping.
    async fn state(&self) -> Vec<String> {
        loop {
            let message = self.message().await;
            if message != ["WATCHDOG=1"] {
                return message;
            }
        }
    }
}

#[tokio::test]
async fn start_reload_and_stop_are_reported() {
    let (manager, origin) = (Manager::new(), Origin::h2c().await);
    let proxy = manager.start(&origin, &[]).await;
    assert_eq!(manager.state().await, ["READY=1", "STATUS=Serving (generation=1)"]);
    assert_eq!(proxy.connect().await.get("/").await.unwrap().text(), "hello");
    proxy.reload(&proxy.settings.text(), 2).await;
    let reloading = manager.state().await;
    let [state, time, status] = &reloading[..] else { panic!("{reloading:?}") };
    assert_eq!((&**state, &**status), ("RELOADING=1", "STATUS=Reloading the configuration"));
    let time: u64 = time.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!(time > 0);
    assert_eq!(manager.state().await, ["READY=1", "STATUS=Serving (generation=2)"]);
    // A failed reload ends too.
    proxy.rewrite("version: 9\n");
    proxy.program.signal(Signal::HUP);
    assert_eq!(manager.state().await[0], "RELOADING=1");
    assert_eq!(manager.state().await, ["READY=1", "STATUS=Serving (generation=2)"]);
    proxy.stop().await;
    assert_eq!(manager.state().await, ["STOPPING=1", "STATUS=Draining connections"]);
}

#[tokio::test]
async fn pings_come_while_the_workers_make_progress_also_without_traffic() {
    let (manager, origin) = (Manager::new(), Origin::h2c().await);
    let proxy = manager.start(&origin, &[("WATCHDOG_USEC", "100000")]).await;
    for _ in 0..5 {
        while manager.message().await != ["WATCHDOG=1"] {}
    }
    assert_eq!(proxy.count("makes no progress"), 0);
    proxy.stop().await;
}

#[tokio::test]
async fn a_worker_that_hangs_ends_the_pings() {
    const HANGS: &str = "worker-1 makes no progress; the service manager is not pinged";
    let (manager, origin) = (Manager::new(), Origin::h2c().await);
    let run = |config: &Path| {
        // Two workers, of which the other one goes on.
        let text = std::fs::read_to_string(config).unwrap().replace("worker_threads: 1", "worker_threads: 2");
        std::fs::write(config, text).unwrap();
        manager.program(config, &[("WATCHDOG_USEC", "100000")])
    };
    let proxy = Proxy::start_by(run, |settings| settings.upstream("all", "/", &[origin.url()]), |text| text).await;
    while manager.message().await != ["WATCHDOG=1"] {}
    freeze(proxy.pid(), "worker-1");
    let lines = async |count: usize| {
        wait::until(wait::BOUND, HANGS, || async { (proxy.count(HANGS) >= count).then_some(()) }).await;
    };
    lines(1).await;
    let mut bytes = [0; 1000];
    while manager.socket.try_recv(&mut bytes).is_ok() {}
    lines(4).await;
    assert_eq!(manager.socket.try_recv(&mut bytes).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn the_new_process_of_an_upgrade_is_the_main_process_before_it_reports_itself() {
    let (manager, origin) = (Manager::new(), Origin::h2c().await);
    let mut upgraded = Upgraded::new(manager.start(&origin, &[("WATCHDOG_USEC", "100000")]).await);
    assert_eq!(manager.state().await[0], "READY=1");
    upgraded.upgrade().await;
    assert_eq!(manager.state().await[0], "RELOADING=1");
    let main = format!("MAINPID={}", upgraded.newest().as_raw_nonzero());
    assert_eq!(manager.state().await[0], main);
    assert_eq!(manager.state().await, ["READY=1", "STATUS=Serving (generation=1)"]);
    upgraded.ended(0).await;
    // The new process pings now.
    while manager.message().await != ["WATCHDOG=1"] {}
    // A failed upgrade ends too.
    let good = upgraded.proxy.settings.text();
    upgraded.proxy.rewrite("version: 9\n");
    upgraded.signal(Signal::USR2);
    assert_eq!(manager.state().await[0], "RELOADING=1");
    assert_eq!(manager.state().await, ["READY=1", "STATUS=Serving (generation=1)"]);
    upgraded.proxy.rewrite(&good);
    upgraded.stop().await;
    assert_eq!(manager.state().await[0], "STOPPING=1");
}
