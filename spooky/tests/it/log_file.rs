//! `log.file` and `log.format`: lines in a file, which is opened again after it was rotated.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use serde_json::{Map, Value};
use spooky_testkit::{process::Program, settings::Settings, wait};
use tokio::process::Command;

use crate::proxy::{SPOOKY, certificates};

/// Keys that drop root, for tests that run as root.
const DROP_ROOT: &str = "privileges: { enabled: true }";
/// The numbers of `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;

/// A process that logs to a file.
struct Logging {
    program: Program,
    file: PathBuf,
    _directory: tempfile::TempDir,
}

impl Logging {
    /// Starts with these keys of `log`, in which `{file}` is a path in a directory that does not exist yet.
    async fn start(keys: &str, security: Option<&str>) -> Self {
        for _ in 0..5 {
            let (_, files) = certificates();
            let directory = tempfile::tempdir().unwrap();
            fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let file = directory.path().join("logs/spooky.log");
            let mut settings = Settings::new(&files).upstream("all", "/", &["http://127.0.0.1:9".to_owned()]);
            if let Some(security) = security {
                settings = settings.security(security);
            }
            let keys = keys.replace("{file}", file.to_str().unwrap());
            let config = settings.write(&files);
            let text = settings.text().replace("log: { level: info }", &format!("log: {{ level: info, {keys} }}"));
            fs::write(&config, text).unwrap();
            let mut command = Command::new(SPOOKY);
            command.env_remove("RUST_LOG").arg("--config").arg(&config);
            let program = Program::spawn(command);
            let is_up = wait::until(wait::BOUND, "Spooky to start", || async {
                let output = read(&file) + &program.output();
                let is_up = output.contains("Performance profile: ");
                (is_up || output.contains("Failed to bind")).then_some(is_up)
            });
            if is_up.await {
                return Self { program, file, _directory: directory };
            }
        }
        panic!("no port stayed free");
    }

    /// Waits until the file contains the text.
    async fn wrote(&self, text: &str) {
        wait::until(wait::BOUND, text, || async { read(&self.file).contains(text).then_some(()) }).await;
    }

    /// Renames the file, and makes the process open a new one by the signal. Returns what the old one has got.
    async fn rotate(&self, signal: Signal) -> String {
        let rotated = self.file.with_extension("1");
        fs::rename(&self.file, &rotated).unwrap();
        self.program.signal(signal);
        self.wrote("Log file reopened: ").await;
        read(&rotated)
    }
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_default()
}

#[tokio::test]
async fn a_pipe_without_a_reader_does_not_hold_up_signals() {
    let mut logging = Logging::start("file: { path: \"{file}\" }", None).await;
    let rotated = logging.file.with_extension("1");
    fs::rename(&logging.file, &rotated).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&logging.file).status().unwrap().success());
    logging.program.signal(Signal::USR1);
    logging.program.signal(Signal::HUP);
    logging.program.signal(Signal::TERM);
    assert_eq!(logging.program.exit(wait::BOUND).await.code(), Some(0));
}

#[tokio::test]
async fn lines_go_to_a_file_that_can_be_rotated_by_either_signal() {
    let mut logging = Logging::start("file: { path: \"{file}\" }", None).await;
    let first = logging.rotate(Signal::USR1).await;
    assert!(first.contains("INFO") && first.contains("Spooky is starting"), "{first}");
    assert!(!read(&logging.file).contains("Spooky is starting"));
    let second = logging.rotate(Signal::HUP).await;
    assert!(second.contains("Log file reopened: "), "{second}");
    assert!(logging.program.stop().await.success());
    assert!(read(&logging.file).ends_with("Spooky shutdown complete\n"), "{}", read(&logging.file));
    let others = logging.program.rest().await;
    assert!(others.iter().all(|line| !line.contains(" INFO ")), "on standard error: {others:?}");
}

#[tokio::test]
async fn a_line_of_json_is_an_object() {
    let mut logging = Logging::start("format: json, file: { path: \"{file}\" }", None).await;
    logging.program.stop().await;
    let lines: Vec<Map<String, Value>> =
        read(&logging.file).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let start = lines.iter().find(|line| line["msg"] == "Spooky is starting").unwrap();
    assert_eq!((&start["level"], &start["target"]), (&Value::from("info"), &Value::from("spooky::runtime")));
    assert!(start["ts"].as_str().unwrap().ends_with('Z'));
    assert!(lines.last().unwrap()["msg"] == "Spooky shutdown complete");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_is_reported_on_standard_error() {
    let mut logging = Logging::start("file: { path: /proc/none/spooky.log }", None).await;
    let failure = "Log file /proc/none/spooky.log cannot be opened, the log goes to standard error: ";
    logging.program.line(failure).await;
    logging.program.signal(Signal::USR1);
    logging.program.line("There is no log file to reopen; the log goes to standard error").await;
    assert!(logging.program.stop().await.success());
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_again_stays_in_use() {
    let mut logging = Logging::start("file: { path: \"{file}\" }", None).await;
    let directory = logging.file.parent().unwrap();
    let moved = directory.with_file_name("moved");
    fs::rename(directory, &moved).unwrap();
    fs::write(directory, "not a directory").unwrap();
    logging.program.signal(Signal::USR1);
    let file = moved.join("spooky.log");
    let kept = "cannot be reopened, the open one stays in use: ";
    wait::until(wait::BOUND, kept, || async { read(&file).contains(kept).then_some(()) }).await;
    logging.program.stop().await;
    assert!(read(&file).ends_with("Spooky shutdown complete\n"));
}

#[tokio::test]
async fn a_process_that_drops_root_can_open_its_file_again() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can start as root");
        return;
    }
    let mut logging = Logging::start("file: { path: \"{file}\" }", Some(DROP_ROOT)).await;
    logging.wrote("Dropped root privileges").await;
    let first = logging.rotate(Signal::USR1).await;
    assert!(first.contains("Spooky is starting"));
    let metadata = fs::metadata(&logging.file).unwrap();
    assert_eq!((metadata.uid(), metadata.mode() & 0o777), (NOBODY, 0o640));
    assert!(logging.program.stop().await.success());
}
