//! The sandbox: Landlock restricts which files the process can change and execute, seccomp which system calls it can make.
//!
//! Both apply to every process that this one starts as well, and cannot be undone.

mod calls;
mod error;
mod files;

pub use error::SandboxError;
pub use files::FileAccess;

use std::hash::{DefaultHasher, Hash, Hasher};

/// What is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Landlock, or why there is none.
    pub landlock: Result<(), SandboxError>,
    /// seccomp, or why there is none.
    pub seccomp: Result<(), SandboxError>,
}

/// Enters the sandbox: Landlock for the calling thread and those that it starts, seccomp for all threads. Sets
/// `no_new_privs`, which both need.
///
/// `layers` names the restrictions that are in force already, because the process was started by one with a sandbox. They are
/// not repeated: the kernel takes only 16 of Landlock, and each filter of seccomp makes all system calls slower. What comes into
/// force is added to the list.
///
/// Must be called after the privileges are dropped and before the first thread that opens files.
pub fn enter(access: &FileAccess, layers: &mut Vec<u64>) -> Sandbox {
    // Landlock first: its system calls are not needed afterwards.
    let landlock = once(layers, access, || files::restrict(access));
    let seccomp =
        calls::program().and_then(|program| once(layers, &calls::words(&program), || calls::restrict(&program)));
    Sandbox { landlock, seccomp }
}

/// Restricts the process unless `layers` has this restriction. Between versions of the hash a restriction may be repeated, which
/// is harmless.
fn once(
    layers: &mut Vec<u64>,
    what: &impl Hash,
    restrict: impl FnOnce() -> Result<(), SandboxError>,
) -> Result<(), SandboxError> {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    let layer = hasher.finish();
    if !layers.contains(&layer) {
        restrict()?;
        layers.push(layer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_restriction_that_is_in_force_is_not_repeated_and_one_that_fails_is_not_in_force() {
        let (mut layers, mut calls) = (Vec::new(), 0);
        let mut enter = |layers: &mut Vec<u64>, what: &str, result: Result<(), SandboxError>| {
            once(layers, &what, || {
                calls += 1;
                result
            })
        };
        let failed = Err(SandboxError::new("not here"));
        assert_eq!(enter(&mut layers, "files", failed.clone()), failed);
        for what in ["files", "files", "calls", "files", "calls"] {
            assert_eq!(enter(&mut layers, what, Ok(())), Ok(()));
        }
        assert_eq!((layers.len(), calls), (2, 3));
    }

    /// Runs in a thread of its own, which alone is restricted by Landlock.
    #[test]
    fn only_named_directories_can_be_changed_and_only_system_programs_executed() {
        let directory = tempfile::tempdir().unwrap();
        let [open, closed] = ["open", "closed"].map(|name| directory.path().join(name));
        for path in [&open, &closed] {
            fs::create_dir(path).unwrap();
            fs::copy("/bin/true", path.join("program")).unwrap();
        }
        let access = FileAccess { writable: Some(vec![open.clone()]), executable: vec![closed.join("program")] };
        let restricted = std::thread::spawn(move || {
            if let Err(error) = files::restrict(&access) {
                eprintln!("skipped: no Landlock here: {error}");
                return;
            }
            let write = |path: &std::path::Path| fs::write(path.join("file"), "text").map_err(|error| error.kind());
            let denied = Err(std::io::ErrorKind::PermissionDenied);
            assert_eq!((write(&open), write(&closed)), (Ok(()), denied));
            fs::rename(open.join("file"), open.join("other")).unwrap();
            fs::remove_file(open.join("other")).unwrap();
            assert!(fs::remove_file(closed.join("program")).is_err());
            fs::read(closed.join("program")).unwrap();
            let execute = |path: &std::path::Path| {
                std::process::Command::new(path).status().map(|status| status.success()).map_err(|error| error.kind())
            };
            assert_eq!(execute("/bin/true".as_ref()), Ok(true));
            assert_eq!(execute(&closed.join("program")), Ok(true), "named");
            assert_eq!(execute(&open.join("program")).ok(), None);
        });
        restricted.join().unwrap();
    }
}
