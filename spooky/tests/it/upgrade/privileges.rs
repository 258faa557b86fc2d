//! Upgrades of a process that was started as root, has dropped it, and is in the sandbox.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::Signal;
use spooky_testkit::client::Client;
use spooky_testkit::origin::Origin;
use spooky_testkit::process::Program;
use spooky_testkit::wait;

use super::Upgraded;
use crate::privileges::{BIND_SERVICE, NOBODY, READ_SEARCH, Thread, is_root, lowered_in, threads_of};
use crate::proxy::{NAME, Proxy, SPOOKY};

/// An address of this test alone, on which ports below 1024 are free.
const HOST: &str = "127.0.71.14";

/// Sets the modes of the configuration, its directory and the certificates: for root alone, or for everybody.
fn open_to_all(directory: &Path, is_open: bool) {
    let (of_directory, of_file) = if is_open { (0o755, 0o644) } else { (0o700, 0o600) };
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::set_permissions(path, Permissions::from_mode(of_file)).unwrap();
        }
    }
    fs::set_permissions(directory, Permissions::from_mode(of_directory)).unwrap();
}

/// Starts as root with these lines of `security`. The access log is in a directory that only root may enter.
async fn start(origin: &Origin, programs: &Path, security: &str, is_open: bool) -> Upgraded {
    // The service user may not have access to the build directory.
    let binary = programs.join("spooky");
    fs::copy(SPOOKY, &binary).unwrap();
    for path in [programs, &binary] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let run = |config: &Path| {
        let directory = config.parent().unwrap();
        let log = directory.join("logs/access.log");
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        fs::write(&log, "").unwrap();
        fs::set_permissions(&log, Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(log.parent().unwrap(), Permissions::from_mode(if is_open { 0o755 } else { 0o700 }))
            .unwrap();
        let access = format!("log: {{ level: info, access: {{ enabled: true, file: \"{}\" }} }}", log.display());
        let text = fs::read_to_string(config).unwrap();
        fs::write(config, text.replace("log: { level: info }", &access)).unwrap();
        open_to_all(directory, is_open);
        Program::start(&binary, &["--config", config.to_str().unwrap()])
    };
    let adjust = |settings: spooky_testkit::settings::Settings| {
        settings.workers(2).security(security).upstream("all", "/", &[origin.url()])
    };
    let mut proxy = Proxy::start_by(run, adjust, |text| text).await;
    proxy.program.line("Dropped root privileges to user='nobody' group='nogroup'").await;
    Upgraded::new(proxy)
}

impl Upgraded {
    fn config(&self) -> String {
        fs::read_to_string(self.proxy.dir().join("spooky.yaml")).unwrap()
    }

    /// Checks who the threads of the newest process are, and which capabilities they may use.
    async fn has(&self, permitted: u64) {
        let pid = self.newest().as_raw_nonzero().get().unsigned_abs();
        let found = wait::until(wait::BOUND, "all threads", || async {
            let found = lowered_in(pid).await;
            let is_there = |name: &&str| found.iter().any(|thread| thread.name == *name);
            ["spooky", "worker-0", "worker-1", "watchdog", "log"].iter().all(is_there).then_some(found)
        })
        .await;
        for thread in &found {
            let Thread { name, .. } = thread;
            let id = NOBODY.to_string();
            assert_eq!(
                (thread.words("Uid"), thread.words("Gid")),
                (vec![id.as_str(); 4], vec![id.as_str(); 4]),
                "{name}"
            );
            assert_eq!((thread.bits("CapInh"), thread.bits("CapAmb")), (0, 0), "{name}");
            assert_eq!(thread.bits("CapPrm") & !permitted, 0, "{name}");
            assert_eq!(thread.words("NoNewPrivs"), ["1"], "{name}");
        }
        let main = found.iter().find(|thread| thread.name == "spooky").unwrap();
        assert_eq!(main.bits("CapPrm"), permitted);
    }

    async fn serves(&self) {
        assert_eq!(self.proxy.connect().await.get("/").await.unwrap().text(), "hello");
        assert_eq!(self.proxy.http1().await.get("/").await.text(), "hello");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn root_only_keys_and_logs_and_low_ports_work_after_upgrades() {
    if !is_root() {
        return;
    }
    let (origin, programs) = (Origin::h2c().await, tempfile::tempdir().unwrap());
    let mut upgraded = start(&origin, programs.path(), "privileges: {}", false).await;
    let kept = BIND_SERVICE | READ_SEARCH;
    upgraded.has(kept).await;
    for number in 1..=3 {
        upgraded.serves().await;
        upgraded.upgrade().await;
        upgraded.has(kept).await;
        upgraded.ended(number - 1).await;
    }
    upgraded.serves().await;
    let log = upgraded.proxy.dir().join("logs/access.log");
    let lines = || async { (fs::read_to_string(&log).unwrap().lines().count() == 8).then_some(()) };
    wait::until(wait::BOUND, "the access lines of four processes", lines).await;
    // A reload reads the key again, opens the log, and binds a port that needs the capability.
    let port = upgraded.proxy.settings.addr().port();
    let text = upgraded
        .config()
        .replace(&format!("address: \"127.0.0.1\"\n  port: {port}\n"), &format!("address: \"{HOST}\"\n  port: 443\n"));
    assert_ne!(text, upgraded.config());
    upgraded.proxy.rewrite(&text);
    upgraded.signal(Signal::HUP);
    upgraded.proxy.logged("Configuration reloaded (generation=2)", 1).await;
    upgraded.proxy.logged("Log file reopened: ", 1).await;
    let client = Client::new(&upgraded.proxy.authority);
    let connection = client.connect_when_up(format!("{HOST}:443").parse().unwrap(), NAME).await;
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    drop(connection);
    upgraded.has(kept).await;
    assert_eq!(upgraded.proxy.count("cannot be"), 0, "{}", upgraded.proxy.program.output());
    upgraded.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_keeps_no_more_than_a_fresh_one_would() {
    if !is_root() {
        return;
    }
    let (origin, programs) = (Origin::h2c().await, tempfile::tempdir().unwrap());
    let mut upgraded = start(&origin, programs.path(), "privileges: { user: nobody }", false).await;
    upgraded.has(BIND_SERVICE | READ_SEARCH).await;
    open_to_all(upgraded.proxy.dir(), true);
    fs::set_permissions(upgraded.proxy.dir().join("logs"), Permissions::from_mode(0o755)).unwrap();
    upgraded.upgrade().await;
    upgraded.has(BIND_SERVICE).await;
    let text = upgraded.config().replace("user: nobody", "user: daemon, retain_capabilities: false");
    upgraded.proxy.rewrite(&text);
    upgraded.upgrade().await;
    upgraded.has(0).await;
    let warning = "security.privileges: user='daemon' group='nogroup' needs a restart";
    upgraded.proxy.logged(warning, 1).await;
    upgraded.upgrade().await;
    upgraded.has(0).await;
    upgraded.serves().await;
    // Now nothing is kept that could read the key.
    open_to_all(upgraded.proxy.dir(), false);
    upgraded.signal(Signal::USR2);
    upgraded
        .proxy
        .logged("Upgrade failed, this process serves on: the new process has ended before it was ready", 1)
        .await;
    upgraded.serves().await;
    upgraded.stop().await;
}

/// The kernel takes at most 16 layers of Landlock, and each filter of seccomp makes every system call slower.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sandbox_does_not_grow_with_upgrades() {
    if !is_root() {
        return;
    }
    let (origin, programs) = (Origin::h2c().await, tempfile::tempdir().unwrap());
    let mut upgraded = start(&origin, programs.path(), "privileges: {}\nsandbox: auto", false).await;
    let sandbox = |upgraded: &Upgraded| {
        let output = upgraded.proxy.program.output();
        let line = output.lines().rfind(|line| line.contains("Sandbox: landlock=")).unwrap();
        line.split("Sandbox: ").nth(1).unwrap().to_owned()
    };
    upgraded.proxy.program.line("Sandbox: landlock=").await;
    let first = sandbox(&upgraded);
    assert!(first.ends_with("seccomp=on"), "{first}");
    for number in 1..=18 {
        upgraded.upgrade().await;
        assert_eq!(sandbox(&upgraded), first, "after {number} upgrades");
        for thread in threads_of(upgraded.newest().as_raw_nonzero().get().unsigned_abs()) {
            let filters = (thread.words("Seccomp"), thread.words("Seccomp_filters"));
            assert_eq!(filters, (vec!["2"], vec!["1"]), "{} after {number} upgrades", thread.name);
        }
        upgraded.ended(number - 1).await;
    }
    upgraded.serves().await;
    upgraded.stop().await;
}
