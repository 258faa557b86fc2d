//! The process under test, its configuration and its certificates. A panic in one of its threads fails the test.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use spooky_testkit::certs::{Authority, Files};
use spooky_testkit::client::{Client, Connection, raw};
use spooky_testkit::process::Program;
use spooky_testkit::settings::Settings;
use spooky_testkit::tcp::{Curl, Http1, Http2};
use spooky_testkit::{program, wait};

pub(crate) const SPOOKY: &str = env!("CARGO_BIN_EXE_spooky");
/// Number of ports that are tried: another process may take a free port before it is bound.
const ATTEMPTS: usize = 5;
/// A timeout that a busy machine does not reach. Tests of this timeout set it for their upstream.
const PATIENCE: &str = "backend_connect_timeout_ms: 5s";
/// The host name of the proxy's certificate.
pub(crate) const NAME: &str = "localhost";

/// The counters that a worker logs when it stops.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestCounts {
    pub(crate) total: u64,
    pub(crate) success: u64,
    pub(crate) failure: u64,
    pub(crate) cancelled: u64,
}

pub(crate) struct Proxy {
    pub(crate) program: Program,
    pub(crate) settings: Settings,
    pub(crate) authority: Authority,
    /// The certificates and the configuration; removed on drop.
    files: Files,
}

impl Proxy {
    /// Starts with settings changed by `adjust`, and waits until it serves.
    pub(crate) async fn start(adjust: impl Fn(Settings) -> Settings) -> Self {
        Self::start_edited(adjust, |text| text).await
    }

    /// As [`Proxy::start`]; `edit` changes the text of the file.
    pub(crate) async fn start_edited(adjust: impl Fn(Settings) -> Settings, edit: impl Fn(String) -> String) -> Self {
        Self::start_by(run, adjust, edit).await
    }

    /// As [`Proxy::start_edited`]; `run` starts the program with a configuration file.
    pub(crate) async fn start_by(
        run: impl Fn(&Path) -> Program,
        adjust: impl Fn(Settings) -> Settings,
        edit: impl Fn(String) -> String,
    ) -> Self {
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

    /// Starts with one upstream for all paths, with these backends.
    pub(crate) async fn before(backends: &[String]) -> Self {
        Self::start(|settings| settings.upstream("all", "/", backends)).await
    }

    /// Returns a client that trusts the proxy's certificate.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.authority)
    }

    /// Opens an HTTP/3 connection.
    pub(crate) async fn connect(&self) -> Connection {
        self.client().connect(self.settings.addr(), NAME).await
    }

    /// Opens a raw connection and sends SETTINGS.
    pub(crate) async fn greeted(&self) -> raw::Connection {
        let connection = self.raw().await;
        connection.send_settings().await;
        connection
    }

    /// Opens a raw connection.
    pub(crate) async fn raw(&self) -> raw::Connection {
        self.client().connect_raw(self.settings.addr(), NAME).await
    }

    /// Opens an HTTP/2 connection over TCP.
    pub(crate) async fn http2(&self) -> Http2 {
        Http2::connect(&self.authority, self.settings.addr(), NAME).await
    }

    /// Opens an HTTP/1.1 connection over TCP.
    pub(crate) async fn http1(&self) -> Http1 {
        Http1::connect(&self.authority, self.settings.addr(), NAME).await
    }

    /// Returns curl for this proxy, if it is installed.
    pub(crate) fn curl(&self) -> Option<Curl> {
        Some(Curl::new(program::require("curl")?, &self.files.ca, self.settings.addr()))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.program.pid()
    }

    /// Returns the resident memory of the process, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("read the status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a VmRSS line");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number of kB");
        kib * 1024
    }

    /// Returns the number of log lines that contain `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.program.output().lines().filter(|line| line.contains(text)).count()
    }

    /// Waits until `times` log lines contain `text`, and checks that there are no more.
    ///
    /// Tests must wait for a line: it may be read here after the answer that it precedes.
    pub(crate) async fn logged(&self, text: &str, times: usize) {
        wait::until(wait::BOUND, text, || async { (self.count(text) >= times).then_some(()) }).await;
        assert_eq!(self.count(text), times, "lines of the log with: {text}");
    }

    /// Returns the directory of `spooky.yaml` and the certificates.
    pub(crate) fn dir(&self) -> &Path {
        self.files.dir()
    }

    /// Replaces the configuration file.
    pub(crate) fn rewrite(&self, text: &str) {
        std::fs::write(self.files.dir().join("spooky.yaml"), text).expect("write the configuration");
    }

    /// Reloads with this text, and waits until the generation is in effect.
    pub(crate) async fn reload(&self, text: &str, generation: u64) {
        self.rewrite(text);
        self.program.signal(Signal::HUP);
        self.logged(&format!("Configuration reloaded (generation={generation})"), 1).await;
    }

    /// Stops the process with SIGTERM. Checks the exit status, the last log line, and that every request has ended once.
    pub(crate) async fn stop(mut self) {
        self.end().await;
    }

    /// As [`Proxy::stop`]. Returns the proxy, for what it has logged.
    pub(crate) async fn stopped(mut self) -> Self {
        self.end().await;
        self
    }

    /// As [`Proxy::stop`], after everything sent on a connection was received. Returns the counters.
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

    /// Returns the sums of the counters that the workers have logged.
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

/// Waits until the process serves. Returns false if another test has taken its port.
async fn serves(program: &Program) -> bool {
    wait::until(wait::BOUND, "Spooky to serve", || async {
        let output = program.output();
        assert!(!output.contains(": error: "), "{output}");
        // Without TCP Spooky only warns and starts.
        let is_taken = ["Failed to bind", "Bootstrap TLS listener disabled: "].iter().any(|line| output.contains(line));
        (is_taken || output.contains("Performance profile: ")).then_some(!is_taken)
    })
    .await
}

/// Creates a CA, and files with a certificate for the proxy.
pub(crate) fn certificates() -> (Authority, Files) {
    let authority = Authority::new();
    let files = Files::write(&authority, &authority.issue(&[NAME, "127.0.0.1", "a.example", "b.example"]));
    (authority, files)
}

/// Starts the binary with a configuration file.
pub(crate) fn run(config: &Path) -> Program {
    Program::start(Path::new(SPOOKY), &["--config", config.to_str().expect("a path of text")])
}

/// A timeout that no test reaches, even with packet loss on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(180);
