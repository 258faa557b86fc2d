//! Drops root between binding and the start of the workers, according to `security.privileges`.
//!
//! Chooses the account and the capabilities; `net::sys::privileges` makes the system calls.

use crate::{file_watch::certificate_files, start_error::StartError};
use spooky_config::{Config, Privileges};
use spooky_net::sys::privileges::{self, Account, Capability, DropError};
use spooky_telemetry::Owner;
use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// A prepared privilege drop. Exists only if the process was started as root and must not stay root.
pub(crate) struct PrivilegeDrop {
    account: Account,
    retain_capabilities: bool,
    /// The files that a reload reads.
    files: Vec<PathBuf>,
}

impl PrivilegeDrop {
    /// Finds the account and sets `no_new_privs`. Must be called before the first thread is started. Returns `None` if there
    /// is nothing to drop.
    pub(super) fn prepare(config: &Config, file: &Path) -> Result<Option<Self>, StartError> {
        let wanted = &config.security.privileges;
        if !wanted.enabled || !privileges::is_root() {
            return Ok(None);
        }
        let is_default_group = wanted.group == Privileges::default().group;
        let account = Account::find(&wanted.user, &wanted.group, is_default_group).map_err(|error| explain(&error))?;
        privileges::forbid_new_privileges()
            .map_err(|error| StartError(format!("Failed to set no_new_privs: {error}")))?;
        Ok(Some(Self { account, retain_capabilities: wanted.retain_capabilities, files: files(config, file) }))
    }

    /// The user and the group that the process switches to.
    pub(super) fn owner(&self) -> Owner {
        let (user, group) = self.account.ids();
        Owner { user, group }
    }

    /// Drops root in all threads.
    pub(super) fn apply(self) -> Result<(), StartError> {
        let kept = || if self.retain_capabilities { self.wanted_capabilities() } else { Vec::new() };
        let kept = privileges::drop_root(&self.account, kept).map_err(|error| explain(&error))?;
        let (user, group) = (self.account.user(), self.account.group());
        tracing::info!("Dropped root privileges to user='{user}' group='{group}'");
        tracing::debug!("Capabilities kept for a reload: {kept:?}");
        Ok(())
    }

    /// Returns the capabilities that a reload may need. Must be called as the new user.
    fn wanted_capabilities(&self) -> Vec<Capability> {
        let is_refused = |file: &PathBuf| {
            let error = std::fs::File::open(file).err();
            error.is_some_and(|error| error.kind() == ErrorKind::PermissionDenied)
        };
        let mut wanted = vec![Capability::BindService];
        if self.files.iter().any(is_refused) {
            wanted.push(Capability::ReadSearch);
        }
        wanted
    }
}

fn explain(error: &DropError) -> StartError {
    StartError(format!("Failed to drop privileges after privileged bind: {error}"))
}

/// Returns the files that the configuration names, and its own.
fn files(config: &Config, file: &Path) -> Vec<PathBuf> {
    let own = std::iter::once(file.to_owned());
    let secrets = [&config.performance.quic_secret_file, &config.observability.control_api.auth_token_file];
    own.chain(certificate_files(config)).chain(secrets.into_iter().flatten().cloned()).collect()
}
