//! Dropping root: user, group and capabilities of each thread, read from `/proc`.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::Path};

use spooky_testkit::{certs::Files, client::Client, origin::Origin, process::Program, settings::Settings, wait};
use tokio::process::Command;

use crate::proxy::{NAME, SPOOKY, certificates};

/// The user and group `nobody` and `nogroup` of Debian, the defaults of the configuration.
pub(crate) const NOBODY: u32 = 65_534;
/// Bits of the kernel's capability sets.
pub(crate) const READ_SEARCH: u64 = 1 << 2;
pub(crate) const BIND_SERVICE: u64 = 1 << 10;

pub(crate) fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: only root can start as root");
    }
    is_root
}

/// The credentials of one thread.
pub(crate) struct Thread {
    pub(crate) name: String,
    status: BTreeMap<String, String>,
}

impl Thread {
    pub(crate) fn words(&self, key: &str) -> Vec<&str> {
        self.status[key].split_whitespace().collect()
    }

    pub(crate) fn bits(&self, key: &str) -> u64 {
        u64::from_str_radix(&self.status[key], 16).unwrap()
    }
}

pub(crate) fn threads(program: &Program) -> Vec<Thread> {
    threads_of(program.pid())
}

/// Returns the threads of a process.
pub(crate) fn threads_of(pid: u32) -> Vec<Thread> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let read = |path: &Path| {
        let text = std::fs::read_to_string(path.join("status")).unwrap();
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let status: BTreeMap<_, _> = lines.map(|(key, value)| (key.to_owned(), value.trim().to_owned())).collect();
        Thread { name: status["Name"].clone(), status }
    };
    tasks.map(|task| read(&task.unwrap().path())).collect()
}

/// Waits until no thread has effective capabilities: they are raised while files are read. Returns the threads.
pub(crate) async fn lowered(program: &Program) -> Vec<Thread> {
    lowered_in(program.pid()).await
}

/// As [`lowered`], of a process.
pub(crate) async fn lowered_in(pid: u32) -> Vec<Thread> {
    wait::until(wait::BOUND, "no effective capabilities", || async {
        let found = threads_of(pid);
        found.iter().all(|thread| thread.bits("CapEff") == 0).then_some(found)
    })
    .await
}

/// Returns settings with two workers.
fn settings(files: &Files, origin: &Origin, security: &str) -> Settings {
    Settings::new(files).workers(2).security(security).upstream("all", "/", &[origin.url()])
}

/// Starts the program with a command changed by `prepare`. Retries if the port was taken.
pub(crate) async fn start(
    files: &Files,
    settings: impl Fn() -> Settings,
    prepare: impl Fn(&mut Command),
) -> (Program, Settings) {
    for _ in 0..5 {
        let settings = settings();
        let path = settings.write(files);
        let mut command = Command::new(SPOOKY);
        command.env_remove("RUST_LOG").arg("--config").arg(&path);
        prepare(&mut command);
        let program = Program::spawn(command);
        let taken = wait::until(wait::BOUND, "Spooky to start", || async {
            let output = program.output();
            let is_taken = output.contains("Failed to bind");
            (is_taken || output.contains("Performance profile: ")).then_some(is_taken)
        });
        if !taken.await {
            return (program, settings);
        }
    }
    panic!("no port stayed free");
}

/// Makes the files readable for everybody, or only for root.
pub(crate) fn readable(files: &Files, by_all: bool) {
    let mode = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(files.dir(), if by_all { 0o755 } else { 0o700 });
    for file in std::fs::read_dir(files.dir()).unwrap() {
        mode(&file.unwrap().path(), if by_all { 0o644 } else { 0o600 });
    }
}

#[tokio::test]
async fn root_is_given_up_by_every_thread_and_serving_goes_on() {
    if !is_root() {
        return;
    }
    let origin = Origin::h2c().await;
    for (retain, by_all, permitted) in
        [(true, false, BIND_SERVICE | READ_SEARCH), (true, true, BIND_SERVICE), (false, false, 0)]
    {
        let (authority, files) = certificates();
        readable(&files, by_all);
        let security = format!("privileges: {{ retain_capabilities: {retain} }}");
        let make = || settings(&files, &origin, &security);
        let (mut program, settings) = start(&files, make, |_| {}).await;
        program.line("Dropped root privileges to user='nobody' group='nogroup'").await;
        let connection = Client::new(&authority).connect_when_up(settings.addr(), NAME).await;
        assert_eq!(connection.get("/").await.unwrap().text(), "hello");

        let found = lowered(&program).await;
        for thread in &found {
            let id = NOBODY.to_string();
            assert_eq!(thread.words("Uid"), [id.as_str(); 4], "{}", thread.name);
            assert_eq!(thread.words("Gid"), [id.as_str(); 4], "{}", thread.name);
            assert_eq!(thread.words("Groups"), [""; 0], "{}", thread.name);
            assert_eq!(thread.words("NoNewPrivs"), ["1"], "{}", thread.name);
            assert_eq!(thread.bits("CapInh") | thread.bits("CapAmb"), 0, "{}", thread.name);
            assert_eq!(thread.bits("CapPrm") & !permitted, 0, "{}: {:x}", thread.name, thread.bits("CapPrm"));
        }
        let main = found.iter().find(|thread| thread.status["Pid"] == program.pid().to_string()).unwrap();
        assert_eq!(main.bits("CapPrm"), permitted, "retain {retain}, readable by all {by_all}");
        let names: Vec<_> = found.iter().map(|thread| thread.name.as_str()).collect();
        assert!(["worker-0", "worker-1"].iter().all(|name| names.contains(name)), "{names:?}");

        for _ in 0..8 {
            let body = vec![b'x'; 100_000];
            let other = Client::new(&authority).connect_when_up(settings.addr(), NAME).await;
            assert_eq!(other.post("/echo", body.clone()).await.unwrap().body, body);
        }
        drop(connection);
        assert_eq!(program.stop().await.code(), Some(0), "{}", program.output());
    }
}

#[tokio::test]
async fn an_account_that_is_root_is_no_drop() {
    if !is_root() {
        return;
    }
    let origin = Origin::h2c().await;
    let (_authority, files) = certificates();
    for _ in 0..5 {
        let settings = settings(&files, &origin, "privileges: { user: root, group: root }");
        let mut command = Command::new(SPOOKY);
        command.env_remove("RUST_LOG").arg("--config").arg(settings.write(&files));
        let mut program = Program::spawn(command);
        assert_eq!(program.exit(wait::BOUND).await.code(), Some(1));
        let output = program.rest().await.join("\n");
        if !output.contains("Failed to bind") {
            let text = "Failed to drop privileges after privileged bind: privilege drop verification failed: still \
                        running as root";
            assert_eq!(output.lines().filter(|line| *line == text).count(), 1, "{output}");
            let again = std::net::UdpSocket::bind(settings.addr());
            assert!(again.is_ok(), "still bound: {again:?}");
            return;
        }
    }
    panic!("no port stayed free");
}

#[tokio::test]
async fn as_another_user_nothing_changes() {
    if !is_root() {
        return;
    }
    let origin = Origin::h2c().await;
    let (authority, files) = certificates();
    readable(&files, true);
    // This user may not have access to the build directory.
    let binary = files.dir().join("spooky");
    std::fs::copy(SPOOKY, &binary).unwrap();
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755)).unwrap();
    let security = "privileges: { enabled: true, user: daemon, group: daemon }\nsandbox: off";
    let make = || settings(&files, &origin, security);
    let as_nobody = |command: &mut Command| {
        let arguments: Vec<_> = command.as_std().get_args().map(ToOwned::to_owned).collect();
        *command = Command::new(&binary);
        command.args(arguments).env_remove("RUST_LOG").uid(NOBODY).gid(NOBODY);
    };
    let (mut program, settings) = start(&files, make, as_nobody).await;
    let connection = Client::new(&authority).connect_when_up(settings.addr(), NAME).await;
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    for thread in threads(&program) {
        let id = NOBODY.to_string();
        assert_eq!((thread.words("Uid"), thread.words("Gid")), (vec![id.as_str(); 4], vec![id.as_str(); 4]));
        assert_eq!(thread.words("NoNewPrivs"), ["0"], "{}", thread.name);
    }
    assert!(!program.output().contains("Dropped root privileges"), "{}", program.output());
    drop(connection);
    assert_eq!(program.stop().await.code(), Some(0));
}

#[tokio::test]
async fn a_reload_after_the_drop_reads_what_only_root_may_read_if_capabilities_were_kept() {
    if !is_root() {
        return;
    }
    let origin = Origin::h2c().await;
    for (retain, outcome) in [(true, "Configuration reloaded (generation=2)"), (false, "; keeping generation 1")] {
        let (authority, files) = certificates();
        readable(&files, false);
        let security = format!("privileges: {{ retain_capabilities: {retain} }}");
        let make = || settings(&files, &origin, &security);
        let (mut program, settings) = start(&files, make, |_| {}).await;
        program.line("Performance profile: ").await;
        let moved = settings.text().replace("path_prefix: \"/\"", "path_prefix: \"/status/\"");
        std::fs::write(files.dir().join("spooky.yaml"), moved).unwrap();
        readable(&files, false);
        program.signal(rustix::process::Signal::HUP);
        program.line(outcome).await;
        let connection = Client::new(&authority).connect_when_up(settings.addr(), NAME).await;
        assert_eq!(connection.get("/").await.unwrap().status, if retain { 404 } else { 200 });
        lowered(&program).await;
        assert_eq!(program.stop().await.code(), Some(0));
    }
}

/// Certbot keeps certificates in directories that only root may enter.
#[tokio::test]
async fn certificates_that_only_root_may_read_are_renewed_after_the_drop() {
    if !is_root() {
        return;
    }
    let origin = Origin::h2c().await;
    let (authority, files) = certificates();
    readable(&files, false);
    let security = "privileges: { retain_capabilities: true }";
    let make = || settings(&files, &origin, security).block("reload: { debounce_ms: 50 }");
    let (mut program, settings) = start(&files, make, |_| {}).await;
    program.line("Performance profile: ").await;
    for generation in 2..=3 {
        let identity = authority.issue(&[NAME]);
        for (file, text) in [(&files.cert, &identity.cert_pem), (&files.key, &identity.key_pem)] {
            // Another file each time, so that it is found only in the directory.
            let beside = file.with_extension("new");
            std::fs::write(&beside, text).unwrap();
            std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600)).unwrap();
            std::fs::rename(beside, file).unwrap();
        }
        program.line(&format!("Certificates reloaded (generation={generation})")).await;
        lowered(&program).await;
        let shows_it = || async {
            let connection = Box::pin(Client::new(&authority).connect_when_up(settings.addr(), NAME)).await;
            let chain = connection.quic().peer_identity().unwrap();
            let chain = chain.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().unwrap();
            (chain[0] == *identity.der()).then_some(())
        };
        wait::until(wait::BOUND, "the new certificate", shows_it).await;
    }
    assert!(!program.output().contains("cannot be watched"), "{}", program.output());
    assert_eq!(program.stop().await.code(), Some(0));
}
