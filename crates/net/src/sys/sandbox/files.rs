//! Landlock: which files the process can change and execute. Reading is not restricted, because a reload may name any file.

use super::error::SandboxError;
use landlock::{
    ABI, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus,
};
use std::path::{Path, PathBuf};

/// Directories whose programs can be executed: those of the system, which the service user cannot change.
const PROGRAMS: [&str; 7] = ["/bin", "/lib", "/lib64", "/opt", "/sbin", "/usr", "/nix"];
/// Devices such as `/dev/null` stay writable.
const DEVICES: &str = "/dev";
/// Interface version that can restrict what the sandbox needs: with it truncating is a right of its own.
const VERSION: ABI = ABI::V3;

/// The files that can be changed and executed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FileAccess {
    /// Directories in which files can be written, created and removed; `None` does not restrict that.
    pub writable: Option<Vec<PathBuf>>,
    /// Programs, or directories of programs, that can be executed beside those of the system.
    pub executable: Vec<PathBuf>,
}

/// Restricts the calling thread and those that it starts. What does not exist is skipped.
pub(super) fn restrict(access: &FileAccess) -> Result<(), SandboxError> {
    let change = AccessFs::from_write(VERSION);
    let execute = BitFlags::from(AccessFs::Execute);
    let handled = if access.writable.is_some() { change | execute } else { execute };
    let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let mut ruleset = ruleset.handle_access(handled).map_err(SandboxError::new)?.create().map_err(SandboxError::new)?;
    let programs = PROGRAMS.iter().map(Path::new).chain(access.executable.iter().map(PathBuf::as_path));
    let writable = access.writable.iter().flatten().map(PathBuf::as_path);
    let writable = writable.chain(access.writable.is_some().then_some(Path::new(DEVICES)));
    for (path, right) in programs.map(|path| (path, execute)).chain(writable.map(|path| (path, change))) {
        // Rights that only directories have are refused for files.
        let right = if path.is_dir() { right } else { right & AccessFs::from_file(VERSION) };
        if let Ok(file) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(file, right)).map_err(SandboxError::new)?;
        }
    }
    let status = ruleset.restrict_self().map_err(SandboxError::new)?;
    let missing = match (status.ruleset, status.landlock) {
        (RulesetStatus::FullyEnforced, _) => return Ok(()),
        (_, LandlockStatus::NotEnabled) => "Landlock is not enabled in this kernel",
        (_, LandlockStatus::NotImplemented) => "this kernel has no Landlock",
        (..) => "this kernel's Landlock does only a part of it; Linux 6.2 does all",
    };
    Err(SandboxError::new(missing))
}
