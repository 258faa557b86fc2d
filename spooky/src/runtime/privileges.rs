//! Gives up, between binding and the start of the workers, what the process does not need: root, according to
//! `security.privileges`, and with the sandbox most system calls and files.
//!
//! Chooses the account and the capabilities; `net::sys::privileges` makes the system calls.

use super::sandbox;
use crate::{file_watch::certificate_files, start_error::StartError, upgrade::message::Restrictions};
use spooky_config::{Config, Privileges as Wanted};
use spooky_net::sys::privileges::{self, Account, Capability, DropError, RaisedCapabilities};
use spooky_telemetry::Owner;
use std::{
    io::{self, ErrorKind},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
};

/// What the process has at its start, and does not keep.
pub(crate) struct Privileges {
    source: Source,
    reload: ReloadNeeds,
    /// The layers of the sandbox that are in force.
    sandbox: Vec<u64>,
}

/// What a reload needs.
struct ReloadNeeds {
    retain_capabilities: bool,
    /// The files that it reads.
    read_files: Vec<PathBuf>,
    /// The files that it opens to write.
    log_files: Vec<PathBuf>,
}

enum Source {
    /// Nothing is given up: the process was not started as root, or is allowed to stay root.
    Unchanged,
    /// The process was started as root and becomes this account.
    Root(Account),
    /// The process replaces one that was started as root, and has got the capabilities that one has kept. They are effective
    /// in this thread until they are dropped.
    Passed { raised: RaisedCapabilities },
}

impl Privileges {
    /// Finds the account and sets `no_new_privs`; an upgraded process takes what it was passed on. Must be called before the
    /// first thread is started. `before` is what the process that this one replaces has given up.
    pub(super) fn prepare(config: &Config, file: &Path, before: Restrictions) -> Result<Self, StartError> {
        let wanted = &config.security.privileges;
        let source = if before.has_dropped_root {
            privileges::lower_inherited().map_err(|error| not_changed(&error))?;
            Source::Passed { raised: raise()? }
        } else if wanted.enabled && privileges::is_root() {
            let account = find(wanted).map_err(|error| explain(&error))?;
            privileges::forbid_new_privileges()
                .map_err(|error| StartError(format!("Failed to set no_new_privs: {error}")))?;
            Source::Root(account)
        } else {
            Source::Unchanged
        };
        let reload = ReloadNeeds {
            retain_capabilities: wanted.retain_capabilities,
            read_files: read_files(config, file),
            log_files: log_files(config),
        };
        Ok(Self { source, reload, sandbox: before.sandbox })
    }

    /// The user and the group that the process switches to.
    pub(super) fn owner(&self) -> Option<Owner> {
        let Source::Root(account) = &self.source else { return None };
        let (user, group) = account.ids();
        Some(Owner { user, group })
    }

    /// Calls `start`, which starts threads. They get no capabilities, as threads have none that were started before root was
    /// dropped.
    pub(super) fn without<T: Send>(&self, start: impl FnOnce() -> T + Send) -> Result<T, StartError> {
        let Source::Passed { .. } = self.source else { return Ok(start()) };
        let starting = || privileges::give_up_capabilities().map(|()| start());
        let started = std::thread::scope(|scope| scope.spawn(starting).join());
        let started = started.unwrap_or_else(|_panicked| Err(ErrorKind::Other.into()));
        started.map_err(|error| not_changed(&error))
    }

    /// Warns if the configuration names another user or group than the process that this one replaces runs as.
    pub(super) fn warn(&self, config: &Config) {
        let Source::Passed { .. } = self.source else { return };
        let wanted = &config.security.privileges;
        let (user, group) = privileges::current_ids();
        if wanted.enabled && find(wanted).is_ok_and(|account| account.ids() != (user, group)) {
            let Wanted { user: name, group: of, .. } = wanted;
            tracing::warn!(
                "security.privileges: user='{name}' group='{of}' needs a restart; after an upgrade the process runs as \
                 uid={user} gid={group} like the one before"
            );
        }
    }

    /// Gives up root in all threads, and enters the sandbox. Returns what was given up.
    pub(super) fn give_up(self, config: &Config) -> Result<Restrictions, StartError> {
        let Self { source, reload, mut sandbox } = self;
        let has_dropped_root = !matches!(source, Source::Unchanged);
        let kept = match source {
            Source::Unchanged => None,
            Source::Root(account) => {
                let kept =
                    privileges::drop_root(&account, || reload.capabilities()).map_err(|error| explain(&error))?;
                let (user, group) = (account.user(), account.group());
                tracing::info!("Dropped root privileges to user='{user}' group='{group}'");
                Some(kept)
            }
            Source::Passed { raised } => {
                drop(raised);
                Some(privileges::keep_inherited(&reload.capabilities()).map_err(|error| explain(&error))?)
            }
        };
        if let Some(kept) = kept {
            tracing::debug!("Capabilities kept for a reload: {kept:?}");
        }
        {
            // The directories of the logs may be root's.
            let _raised = has_dropped_root.then(raise).transpose()?;
            sandbox::enter(config, &mut sandbox)?;
        }
        Ok(Restrictions { has_dropped_root, sandbox })
    }
}

impl ReloadNeeds {
    /// Returns the capabilities that it may need. Must be called as the new user, without effective capabilities.
    fn capabilities(&self) -> Vec<Capability> {
        if !self.retain_capabilities {
            return Vec::new();
        }
        let is_refused =
            |error: Option<io::Error>| error.is_some_and(|error| error.kind() == ErrorKind::PermissionDenied);
        let cannot_read = |file: &PathBuf| {
            // Opening a pipe, such as the configuration on standard input, could block for ever.
            let is_pipe = std::fs::metadata(file).is_ok_and(|found| found.file_type().is_fifo());
            !is_pipe && is_refused(std::fs::File::open(file).err())
        };
        let cannot_find = |file: &PathBuf| is_refused(std::fs::metadata(file).err());
        let mut wanted = vec![Capability::BindService];
        if self.read_files.iter().any(cannot_read) || self.log_files.iter().any(cannot_find) {
            wanted.push(Capability::ReadSearch);
        }
        wanted
    }
}

fn find(wanted: &Wanted) -> Result<Account, DropError> {
    let is_default_group = wanted.group == Wanted::default().group;
    Account::find(&wanted.user, &wanted.group, is_default_group)
}

fn raise() -> Result<RaisedCapabilities, StartError> {
    privileges::raise_retained().map_err(|error| not_changed(&error))
}

fn not_changed(error: &io::Error) -> StartError {
    StartError(format!("Failed to use the capabilities of the process that this one replaces: {error}"))
}

fn explain(error: &DropError) -> StartError {
    StartError(format!("Failed to drop privileges after privileged bind: {error}"))
}

/// Returns the files that the configuration names, and its own.
fn read_files(config: &Config, file: &Path) -> Vec<PathBuf> {
    let own = std::iter::once(file.to_owned());
    let secrets = [&config.performance.quic_secret_file, &config.observability.control_api.auth_token_file];
    own.chain(certificate_files(config)).chain(secrets.into_iter().flatten().cloned()).collect()
}

fn log_files(config: &Config) -> Vec<PathBuf> {
    let general = config.log.file.enabled.then(|| config.log.file.path.clone());
    general.into_iter().chain(config.log.access.file.clone()).collect()
}
