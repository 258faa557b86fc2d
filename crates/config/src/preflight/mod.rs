//! Checks of what the file points to: certificates and keys, authorities, accounts, ports. Run by `check` and at start.
//!
//! Reads files and binds ports for a moment; leaves nothing open and changes nothing.

mod accounts;
mod material;
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

/// Why the world is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `spooky check`: ports are tried, and what only a start as another user can show is a warning.
    Check,
    /// Before a start or a reload: binding and dropping privileges follow anyway and speak for themselves.
    Start,
}

/// Everything that is wrong with the files, accounts and ports that the configuration names. Together with the warnings
/// of the file itself: [`Loaded::problems`].
pub fn check_world(loaded: &Loaded, mode: Mode) -> Vec<Problem> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    check_world_at(loaded, mode, i64::try_from(now).unwrap_or(i64::MAX))
}

fn check_world_at(loaded: &Loaded, mode: Mode, now: i64) -> Vec<Problem> {
    let mut world = World { loaded, now, reader: Reader::new(&loaded.file, &|_| None), files: Vec::new() };
    world.check_tls();
    world.check_token_file();
    world.check_quic_secret();
    world.check_workers(std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    world.check_accounts(mode);
    if mode == Mode::Check {
        world.check_ports();
    }
    Problems::new(world.reader.problems, &loaded.file, String::new()).into_iter().cloned().collect()
}

/// The check in progress.
struct World<'l> {
    loaded: &'l Loaded,
    /// Seconds since 1970.
    now: i64,
    reader: Reader<'l>,
    /// Files that a reload reads again, with their keys.
    files: Vec<(PathBuf, String)>,
}

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// Fewest bytes of a secret from which keys are derived.
const MIN_SECRET_BYTES: usize = 32;

impl World<'_> {
    /// Reports `text` at the key `path`.
    fn report(&mut self, path: &str, text: Text, arguments: &[(&str, &str)]) {
        if self.reader.is_full(text) {
            return;
        }
        let place = self.loaded.tree.descend(path).0.place;
        path.clone_into(&mut self.reader.path);
        self.reader.report(place, text, "", arguments);
    }

    /// The bytes of a file, or a report in the words for this kind of file.
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

    /// With `auto` the number of workers is that of the cores, which the file cannot know.
    fn check_workers(&mut self, cores: usize) {
        let performance = &self.loaded.config.performance;
        if performance.worker_threads == Auto::Auto && !performance.reuseport && cores > 1 {
            self.report("performance.reuseport", REUSEPORT, &[]);
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

/// Reads a regular file. A device or a pipe could hold the check for ever.
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
    // What is cut off could be a certificate.
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::other("larger than 16 MiB"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
