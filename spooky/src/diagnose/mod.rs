//! `spooky diagnose`: an archive with what is needed to find the cause of a problem, without secrets; and the system check.

mod http;
pub(crate) mod system;

use flate2::{Compression, write::GzEncoder};
use spooky_config::{Config, Problems};
use std::{
    fmt::Write as _,
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tar::{Builder, Header};

/// Directory of the files in the archive.
const DIRECTORY: &str = "spooky-diagnose";
/// Only the owner may read the archive: the log has paths and addresses of clients.
const MODE: u32 = 0o600;
/// Bytes of the log, from its end.
const LOG_TAIL: u64 = 1024 * 1024;
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
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(&path)?;
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
            self.add_read(name, std::fs::read(path))?;
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
        let file = control.auth_token_file.as_ref().map(std::fs::read_to_string).transpose();
        let token = match file {
            Ok(file) => file.or_else(|| control.auth_token.as_ref().map(|token| token.expose().to_owned())),
            Err(error) => {
                self.note("control/", &format!("the token cannot be read: {error}"));
                None
            }
        };
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

    fn add_log(&mut self, config: &Config) -> io::Result<()> {
        if !config.log.file.enabled {
            self.note("log.txt", "the log goes to standard error");
            return Ok(());
        }
        self.add_read("log.txt", tail(&config.log.file.path))
    }

    /// Adds the state of each running process with the name of this program.
    fn add_processes(&mut self) -> io::Result<()> {
        for directory in std::fs::read_dir("/proc")?.filter_map(Result::ok) {
            let path = directory.path();
            let id = directory.file_name().to_string_lossy().into_owned();
            let named = std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "spooky");
            if !named || id == std::process::id().to_string() || !id.bytes().all(|byte| byte.is_ascii_digit()) {
                continue;
            }
            for file in ["status", "limits"] {
                self.add_read(&format!("processes/{id}/{file}.txt"), std::fs::read(path.join(file)))?;
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

/// Returns the last lines of a file.
fn tail(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
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
        let found = tail(&path).unwrap();
        assert_eq!((found.len() % 100, found.len() as u64 > LOG_TAIL - 100), (0, true));
    }
}
