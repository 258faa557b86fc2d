//! Checks the files, accounts and ports that a configuration names. Run by `check`, at start and before a reload.
//!
//! Reads files and binds ports briefly; closes everything and changes nothing.

mod accounts;
mod certificate;
mod ports;
pub(crate) mod texts;
mod tls;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::file::performance::REUSEPORT;
use crate::load::Loaded;
use crate::problem::{Problem, Problems};
use crate::spec::{Reader, Text};
use crate::value::number::Auto;
use texts::os_text;
pub use tls::{expiry_warning, ocsp_warning};

/// Which checks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreflightMode {
    /// `spooky check`: binds ports, and unknown accounts are only warnings unless it runs as root.
    Check,
    /// Before a start or a reload: skips checks that binding and dropping privileges repeat.
    Start,
}

/// Returns the problems of the files, accounts and ports that the configuration names. [`Loaded::problems`] adds the
/// warnings about the file itself.
pub fn preflight(loaded: &Loaded, mode: PreflightMode) -> Vec<Problem> {
    preflight_at(loaded, mode, unix_time())
}

fn unix_time() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(now).unwrap_or(i64::MAX)
}

fn preflight_at(loaded: &Loaded, mode: PreflightMode, now: i64) -> Vec<Problem> {
    let mut preflight = Preflight { loaded, now, reader: Reader::new(&loaded.file, &|_| None), files: Vec::new() };
    preflight.check_tls();
    preflight.check_token_file();
    preflight.check_quic_secret();
    preflight.check_workers(std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    preflight.check_accounts(mode);
    if mode == PreflightMode::Check {
        preflight.check_ports();
    }
    Problems::new(preflight.reader.problems, &loaded.file, "").into_iter().cloned().collect()
}

struct Preflight<'l> {
    loaded: &'l Loaded,
    /// Unix time in seconds.
    now: i64,
    reader: Reader<'l>,
    /// Files that a reload reads again, with the paths of their keys.
    files: Vec<(PathBuf, String)>,
}

const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Minimum length of a secret from which keys are derived.
const MIN_SECRET_BYTES: usize = 32;

impl Preflight<'_> {
    fn report(&mut self, path: &str, text: Text, arguments: &[(&str, &str)]) {
        if self.reader.count_if_full(text) {
            return;
        }
        let span = self.loaded.tree.descend(path).0.span;
        path.clone_into(&mut self.reader.path);
        self.reader.report(span, text, "", arguments);
    }

    /// Returns the bytes of a file, or reports `missing` or `unreadable` at the key `path`.
    fn read(&mut self, path: &str, file: &Path, missing: Text, unreadable: Text) -> Option<Vec<u8>> {
        self.files.push((file.to_owned(), path.to_owned()));
        match read_limited(file) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let absent = error.kind() == std::io::ErrorKind::NotFound;
                let arguments = [("p", &*file.display().to_string()), ("reason", &*os_text(&error))];
                self.report(path, if absent { missing } else { unreadable }, &arguments);
                None
            }
        }
    }

    /// Checks the number of workers; that of `worker_threads: auto` depends on the machine.
    fn check_workers(&mut self, cores: usize) {
        let performance = &self.loaded.config.performance;
        if performance.worker_threads == Auto::Auto && !performance.reuseport && cores > 1 {
            self.report("performance.reuseport", REUSEPORT, &[]);
        }
        let threads = performance.worker_threads.unwrap_or(cores);
        if performance.workers(threads).is_none() {
            let shards = performance.packet_shards_per_worker.to_string();
            self.report(
                "performance.packet_shards_per_worker",
                texts::WORKERS,
                &[("a", &threads.to_string()), ("b", &shards)],
            );
        }
    }

    fn check_quic_secret(&mut self) {
        const KEY: &str = "performance.quic_secret_file";
        if let Some(file) = &self.loaded.config.performance.quic_secret_file {
            let bytes = self.read(KEY, file, texts::FILE_MISSING, texts::FILE_UNREADABLE);
            if bytes.is_some_and(|bytes| bytes.len() < MIN_SECRET_BYTES) {
                self.report(KEY, texts::SECRET_SHORT, &[("p", &file.display().to_string())]);
            }
        }
    }

    fn check_token_file(&mut self) {
        const KEY: &str = "observability.control_api.auth_token_file";
        let control = &self.loaded.config.observability.control_api;
        if let Some(file) = &control.auth_token_file {
            let bytes = self.read(KEY, file, texts::FILE_MISSING, texts::FILE_UNREADABLE);
            if bytes.is_some_and(|bytes| bytes.trim_ascii().is_empty()) {
                self.report(KEY, texts::TOKEN_EMPTY, &[]);
            }
        }
    }
}

/// Reads a regular file. Reading a device or a pipe could block forever.
fn read_limited(file: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let kind = std::fs::metadata(file)?;
    if kind.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    if !kind.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    // Truncating could drop a certificate.
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other("larger than 16 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
