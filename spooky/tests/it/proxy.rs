//! The process under test with what a client needs to reach it.
//!
//! Owns the configuration's files and the process; a panic in any of its threads fails the test. Called by every theme.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::{Client, Connection, raw};
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use spooky_testkit::wait;

/// The binary that this test run has built.
pub(crate) const SPOOKY: &str = env!("CARGO_BIN_EXE_spooky");
/// Ports that are tried: one may be taken between its choice and its use.
const ATTEMPTS: usize = 5;
/// A timeout that no busy machine runs into, as the other defaults are; a test of a timeout sets its upstream's own.
const PATIENCE: &str = "backend_connect_timeout_ms: 5s";
/// What the certificate of the proxy is for.
pub(crate) const NAME: &str = "localhost";

/// What a worker says of its requests when it stops.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestCounts {
    pub(crate) total: u64,
    pub(crate) success: u64,
    pub(crate) failure: u64,
    pub(crate) cancelled: u64,
}

/// A running Spooky.
pub(crate) struct Proxy {
    pub(crate) program: Program,
    pub(crate) settings: Settings,
    pub(crate) authority: Authority,
    /// The certificates and the configuration; they go away with the proxy.
    files: Files,
}

impl Proxy {
    /// Starts with the settings that `adjust` makes of the defaults, and awaits that it serves.
    pub(crate) async fn start(adjust: impl Fn(Settings) -> Settings) -> Self {
        Self::start_edited(adjust, |text| text).await
    }

    /// As [`Proxy::start`], with a last word on the text of the file.
    pub(crate) async fn start_edited(adjust: impl Fn(Settings) -> Settings, edit: impl Fn(String) -> String) -> Self {
        for _ in 0..ATTEMPTS {
            let (authority, files) = certificates();
            let settings = adjust(Settings::new(&files).performance(PATIENCE));
            let path = settings.write(&files);
            std::fs::write(&path, edit(settings.text())).expect("write the configuration");
            let program = run(&path);
            if serves(&program).await {
                return Self { program, settings, authority, files };
            }
        }
        panic!("no port stayed free in {ATTEMPTS} attempts");
    }

    /// Starts with one upstream for everything, with these backends.
    pub(crate) async fn before(backends: &[String]) -> Self {
        Self::start(|settings| settings.upstream("all", "/", backends)).await
    }

    /// A client that trusts the proxy.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.authority)
    }

    /// A connection that speaks HTTP/3.
    pub(crate) async fn connect(&self) -> Connection {
        self.client().connect(self.settings.addr(), NAME).await
    }

    /// A connection on which SETTINGS have been sent and all else is the test's.
    pub(crate) async fn greeted(&self) -> raw::Connection {
        let connection = self.raw().await;
        connection.send_settings().await;
        connection
    }

    /// A connection on which nothing has been sent.
    pub(crate) async fn raw(&self) -> raw::Connection {
        self.client().connect_raw(self.settings.addr(), NAME).await
    }

    /// The process.
    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Memory of the process that is in RAM, bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("read the status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        kib * 1024
    }

    /// How many lines of the log contain `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.program.output().lines().filter(|line| line.contains(text)).count()
    }

    /// Awaits that so many lines of the log contain `text`, and finds no more of them.
    ///
    /// What Spooky wrote before it answered may be read here after the answer, so a line is always awaited.
    pub(crate) async fn logged(&self, text: &str, times: usize) {
        wait::until(wait::BOUND, text, || async { (self.count(text) >= times).then_some(()) }).await;
        assert_eq!(self.count(text), times, "lines of the log with: {text}");
    }

    /// Where its configuration file `spooky.yaml` and its certificates are.
    pub(crate) fn dir(&self) -> &Path {
        self.files.dir()
    }

    /// Replaces the text of its configuration file.
    pub(crate) fn rewrite(&self, text: &str) {
        std::fs::write(self.files.dir().join("spooky.yaml"), text).expect("write the configuration");
    }

    /// Reloads with this text, and awaits that it is in effect under this number.
    pub(crate) async fn reload(&self, text: &str, generation: u64) {
        self.rewrite(text);
        self.program.signal(Signal::HUP);
        self.logged(&format!("Configuration reloaded (generation={generation})"), 1).await;
    }

    /// Ends the process by SIGTERM and holds it to its promises: status 0, the last line says so, and every request has
    /// ended once.
    pub(crate) async fn stop(mut self) {
        self.end().await;
    }

    /// The same, once what a client has sent on its connection was taken; gives the counts.
    pub(crate) async fn stop_counted(mut self, connection: raw::Connection) -> RequestCounts {
        connection.quic().close(0x100u32.into(), b"done");
        self.end().await;
        self.request_counts()
    }

    async fn end(&mut self) {
        let status = self.program.stop().await;
        assert_eq!(status.code(), Some(0), "{}", self.program.output());
        self.program.line("Spooky shutdown complete").await;
        self.program.rest().await;
        if ["info", "haunt"].iter().any(|level| self.settings.text().contains(&format!("log: {{ level: {level} }}"))) {
            let RequestCounts { total, success, failure, cancelled } = self.request_counts();
            assert_eq!(total, success + failure + cancelled, "{}", self.program.output());
        }
    }

    /// The sums of what its workers have logged when they stopped.
    pub(crate) fn request_counts(&self) -> RequestCounts {
        let output = self.program.output();
        let lines: Vec<_> = output.lines().filter(|line| line.contains(": stopped, requests=")).collect();
        assert!(!lines.is_empty(), "{output}");
        let sum = |key: &str| -> u64 {
            let values = lines.iter().map(|line| {
                let value = line.split(' ').find_map(|word| word.strip_prefix(key)).expect("each of the counts");
                value.parse::<u64>().expect("a number")
            });
            values.sum()
        };
        RequestCounts {
            total: sum("requests="),
            success: sum("success="),
            failure: sum("failure="),
            cancelled: sum("cancelled="),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let output = self.program.output();
        if std::thread::panicking() {
            eprintln!("--- Spooky wrote:\n{output}\n---");
        } else {
            assert!(!output.contains("panicked at"), "{output}");
        }
    }
}

/// Whether the process serves; false if another test was handed its port in the meantime.
async fn serves(program: &Program) -> bool {
    wait::until(wait::BOUND, "Spooky to serve", || async {
        let output = program.output();
        assert!(!output.contains(": error: "), "{output}");
        let is_up = output.contains("Performance profile: ");
        (is_up || output.contains("Failed to bind")).then_some(is_up)
    })
    .await
}

/// An authority, and files with a leaf for the proxy.
pub(crate) fn certificates() -> (Authority, Files) {
    let authority = Authority::new();
    let files = Files::write(&authority, &authority.issue(&[NAME, "127.0.0.1", "a.example", "b.example"]));
    (authority, files)
}

/// Runs the binary on a configuration file.
pub(crate) fn run(config: &Path) -> Program {
    Program::start(Path::new(SPOOKY), &["--config", config.to_str().expect("a path of text")])
}

/// Longer than anything here takes, also over a bad link on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(180);
