//! The sandbox: Landlock restricts which files the process can change and execute, seccomp which system calls it can make.
//!
//! Both apply to every process that this one starts as well, and cannot be undone.

mod calls;
mod error;
mod files;

pub use error::SandboxError;
pub use files::FileAccess;

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
/// Must be called after the privileges are dropped and before the first thread that opens files.
pub fn enter(access: &FileAccess) -> Sandbox {
    // Landlock first: its system calls are not needed afterwards.
    Sandbox { landlock: files::restrict(access), seccomp: calls::restrict() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

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
