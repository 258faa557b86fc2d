//! `spooky diagnose`: an archive with what is needed to find the cause of a problem, without secrets; and the system check.

mod http;
mod output;
mod owner;
pub(crate) mod system;

use flate2::{Compression, write::GzEncoder};
use output::{MODE, Output};
use spooky_config::{Config, ControlApi, Problems};
use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tar::{Builder, Header};

/// Directory of the files in the archive.
const DIRECTORY: &str = "spooky-diagnose";
/// Bytes of the log, from its end.
const LOG_TAIL: u64 = 1024 * 1024;
/// Bytes of a file of the system, from its beginning.
const SYSTEM_HEAD: u64 = 4 * 1024 * 1024;
/// Maximum number of processes: everybody may start some with this name.
const MAX_PROCESSES: usize = 32;
/// Files of the system that are copied.
const SYSTEM_FILES: [(&str, &str); 9] = [
    ("/proc/net/sockstat", "sockets/sockstat.txt"),
    ("/proc/net/sockstat6", "sockets/sockstat6.txt"),
    ("/proc/net/snmp", "sockets/snmp.txt"),
    ("/proc/net/netstat", "sockets/netstat.txt"),
    ("/proc/net/udp", "sockets/udp.txt"),
    ("/proc/net/udp6", "sockets/udp6.txt"),
    ("/proc/self/limits", "system/limits.txt"),
    ("/proc/meminfo", "system/meminfo.txt"),
    ("/proc/version", "system/kernel.txt"),
];

/// The result of the check of a configuration file.
pub(crate) struct Checked {
    pub(crate) problems: Problems,
    /// `None` if it has errors.
    pub(crate) config: Option<Config>,
}

/// Writes the archive. `version` is the text of `spooky version`. Returns its path.
pub(crate) fn write(checked: &Checked, version: &str, output: Option<PathBuf>) -> io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let path = output.unwrap_or_else(|| PathBuf::from(format!("{DIRECTORY}-{}.tar.gz", now.as_secs())));
    let (output, file) = Output::create(&path)?;
    let mut archive = Archive::new(file, now);
    archive.add("version.txt", version.as_bytes())?;
    archive.add("configuration/problems.txt", problems(&checked.problems).as_bytes())?;
    let defaults = spooky_config::default_config();
    archive.add_system(checked.config.as_ref().unwrap_or(&defaults))?;
    if let Some(config) = &checked.config {
        archive.add("configuration/effective.yaml", config.to_yaml().as_bytes())?;
        archive.add_endpoints(config)?;
        archive.add_log(config)?;
    }
    archive.add_processes()?;
    archive.finish()?;
    output.complete()?;
    Ok(path)
}

fn problems(found: &Problems) -> String {
    format!("{}{}\n", found.plain(), found.summary())
}

/// An archive that is being written.
struct Archive {
    tar: Builder<GzEncoder<File>>,
    now: Duration,
    /// What could not be read, and why.
    missing: String,
}

impl Archive {
    fn new(file: File, now: Duration) -> Self {
        Self { tar: Builder::new(GzEncoder::new(file, Compression::default())), now, missing: String::new() }
    }

    fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(MODE);
        header.set_mtime(self.now.as_secs());
        self.tar.append_data(&mut header, format!("{DIRECTORY}/{name}"), bytes)
    }

    /// Adds what was read, or notes why it could not be read.
    fn add_read(&mut self, name: &str, read: io::Result<Vec<u8>>) -> io::Result<()> {
        match read {
            Ok(bytes) => self.add(name, &bytes),
            Err(error) => {
                self.note(name, &error.to_string());
                Ok(())
            }
        }
    }

    fn note(&mut self, name: &str, reason: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.missing, "{name}: {reason}");
    }

    fn add_system(&mut self, config: &Config) -> io::Result<()> {
        let found = system::judge(&system::machine, config);
        self.add("system/settings.txt", system::text(&found).as_bytes())?;
        for (path, name) in SYSTEM_FILES {
            self.add_read(name, head(Path::new(path)))?;
        }
        Ok(())
    }

    /// Adds what a running process says of itself.
    fn add_endpoints(&mut self, config: &Config) -> io::Result<()> {
        let (metrics, control) = (&config.observability.metrics, &config.observability.control_api);
        if metrics.enabled {
            self.add_read("metrics.txt", http::get(&metrics.address, metrics.port, &metrics.path, None))?;
        } else {
            self.note("metrics.txt", "observability.metrics is not enabled");
        }
        if !control.enabled || control.tls {
            self.note("control/", "observability.control_api is not enabled, or needs TLS");
            return Ok(());
        }
        let token = self.token(control);
        for (name, path) in [
            ("control/runtime.json", &control.runtime_path),
            ("control/ready.json", &control.ready_path),
            ("control/backends.json", &control.backends_path),
        ] {
            let token = token.as_deref().map(str::trim);
            self.add_read(name, http::get(&control.address, control.port, path, token))?;
        }
        Ok(())
    }

    /// Returns the token, if there is one and the port is Spooky's.
    fn token(&mut self, control: &ControlApi) -> Option<String> {
        let file = control
            .auth_token_file
            .as_ref()
            .map(|file| regular(file).and_then(|file| io::read_to_string(file.take(SYSTEM_HEAD))))
            .transpose();
        let token = match file {
            Ok(file) => file.or_else(|| control.auth_token.as_ref().map(|token| token.expose().to_owned()))?,
            Err(error) => {
                self.note("control/", &format!("the token cannot be read: {error}"));
                return None;
            }
        };
        if !owner::is_trusted(control.port) {
            self.note("control/", "the token is not sent: no process of Spooky, root or this user listens on the port");
            return None;
        }
        Some(token)
    }

    fn add_log(&mut self, config: &Config) -> io::Result<()> {
        if !config.log.file.enabled {
            self.note("log.txt", "the log goes to standard error");
            return Ok(());
        }
        self.add_read("log.txt", tail(&config.log.file.path))
    }

    /// Adds the state of each running process with the name of this program.
    fn add_processes(&mut self) -> io::Result<()> {
        let others = std::fs::read_dir("/proc")?.filter_map(|entry| {
            let (path, own) = (entry.ok()?.path(), std::process::id().to_string());
            let id = path.file_name()?.to_string_lossy().into_owned();
            let named = std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "spooky");
            (named && id != own && id.bytes().all(|byte| byte.is_ascii_digit())).then_some((id, path))
        });
        for (id, path) in others.take(MAX_PROCESSES) {
            for file in ["status", "limits"] {
                self.add_read(&format!("processes/{id}/{file}.txt"), head(&path.join(file)))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        let missing = std::mem::take(&mut self.missing);
        self.add("missing.txt", missing.as_bytes())?;
        self.tar.into_inner()?.finish()?.sync_all()
    }
}

fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(SYSTEM_HEAD).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file. Opening a pipe could block for ever.
fn regular(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    File::open(path)
}

/// Returns the last lines of a file.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = regular(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(LOG_TAIL);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes)?;
    if start > 0
        && let Some(end) = bytes.iter().position(|byte| *byte == b'\n')
    {
        bytes.drain(..=end);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_begins_with_a_whole_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(tail(&path).unwrap(), b"one\ntwo\n");
        let line = format!("{}\n", "x".repeat(99));
        std::fs::write(&path, line.repeat(20_000)).unwrap();
        assert!(tail(Path::new("/dev/null")).is_err() && tail(directory.path()).is_err());
        let found = tail(&path).unwrap();
        assert_eq!((found.len() % 100, found.len() as u64 > LOG_TAIL - 100), (0, true));
    }
}
