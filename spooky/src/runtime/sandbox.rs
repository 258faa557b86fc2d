//! Enters the sandbox after the privileges were dropped, according to `security.sandbox`.
//!
//! Chooses the files; `net::sys::sandbox` makes the system calls.

use crate::start_error::StartError;
use spooky_config::{Config, Sandbox};
use spooky_net::sys::sandbox::{self, FileAccess, SandboxError};
use std::path::{Path, PathBuf};

/// Where logs are by default. A reload can begin a log there.
const LOG_DIRECTORY: &str = "/var/log/spooky";

/// Enters the sandbox as far as the kernel has it. Fails if it is required and a part is missing. `layers` are those in force;
/// new ones are added.
pub(super) fn enter(config: &Config, layers: &mut Vec<u64>) -> Result<(), StartError> {
    let is_required = match config.security.sandbox {
        Sandbox::Off => return Ok(()),
        Sandbox::Auto => false,
        Sandbox::Required => true,
    };
    let entered = sandbox::enter(&file_access(config), layers);
    for (name, part) in [("Landlock", &entered.landlock), ("seccomp", &entered.seccomp)] {
        if let (true, Err(error)) = (is_required, part) {
            return Err(StartError(format!("security.sandbox is required, but {name} is not available: {error}")));
        }
    }
    tracing::info!("Sandbox: landlock={} seccomp={}", state(&entered.landlock), state(&entered.seccomp));
    Ok(())
}

fn state(part: &Result<(), SandboxError>) -> String {
    match part {
        Ok(()) => "on".to_owned(),
        Err(error) => format!("({error})"),
    }
}

/// Returns what the process needs: the directories of its logs, its own program for an upgrade, and the restart command. That
/// command is as restricted as this process, so with one writing is not restricted.
fn file_access(config: &Config) -> FileAccess {
    let command = config.resilience.watchdog.restart_command.first().map(PathBuf::from);
    let log = config.log.file.enabled.then(|| directory(&config.log.file.path));
    let access = config.log.access.file.as_deref().map(directory);
    let logs = [log, access, config.log.qlog_dir.clone(), Some(LOG_DIRECTORY.into())].into_iter().flatten();
    FileAccess {
        writable: command.is_none().then(|| logs.collect()),
        // A new version replaces the file, so the directory is what stays.
        executable: std::env::current_exe().ok().as_deref().map(directory).into_iter().chain(command).collect(),
    }
}

fn directory(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}
