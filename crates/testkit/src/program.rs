//! Finds third-party programs for interop tests.
//!
//! A test is never skipped in CI, and elsewhere only with a message that names the missing program.

use std::path::{Path, PathBuf};
use std::{env, fs};

/// Environment variable with a Python interpreter that can import aioquic, grpcio, httpx and websockets; `make test` installs
/// one in `target/`.
pub const PYTHON_VARIABLE: &str = "SPOOKY_TEST_PYTHON";

/// Interpreter that `make test` installs, relative to the root of the workspace.
const PYTHON_IN_WORKSPACE: &str = "target/venv/bin/python";

/// Directories searched after those of `PATH`. Debian installs daemons there.
const MORE_DIRECTORIES: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Finds a program. If it is missing, prints that the test is skipped; in CI (`CI` is set) fails the test.
pub fn require(name: &str) -> Option<PathBuf> {
    found(name, find(name), "make test")
}

/// Finds the interpreter with the packages of `make test`, with the same rule as [`require`].
pub fn require_python() -> Option<PathBuf> {
    let python = match env::var_os(PYTHON_VARIABLE) {
        Some(path) => PathBuf::from(path),
        None => workspace().join(PYTHON_IN_WORKSPACE),
    };
    found(
        "a virtual environment with aioquic, grpcio, httpx and websockets",
        Some(python).filter(|path| path.is_file()),
        "make test",
    )
}

/// Returns the path of a Python program of this crate. Each begins with its usage.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("py").join(name)
}

/// Returns the root of the workspace.
pub fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.expect("the crate lies two levels below the root").to_owned()
}

/// Returns the text of a file of the workspace.
pub fn file(path: &str) -> String {
    let path = workspace().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = MORE_DIRECTORIES.iter().map(PathBuf::from);
    env::split_paths(&path).chain(more).map(|directory| directory.join(name)).find(|candidate| candidate.is_file())
}

fn found(name: &str, path: Option<PathBuf>, remedy: &str) -> Option<PathBuf> {
    if path.is_none() {
        decide(name, remedy, env::var_os("CI").is_some());
    }
    path
}

fn decide(name: &str, remedy: &str, ci: bool) {
    assert!(!ci, "{name} is not installed, and nothing is skipped in CI; run `{remedy}`");
    eprintln!("\n*** SKIPPED: {name} is not installed; `{remedy}` installs it ***\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_every_machine_has() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-anywhere").is_none());
    }

    #[test]
    #[should_panic(expected = "nothing is skipped in CI")]
    fn never_skips_in_ci() {
        decide("nghttpd", "make test", true);
    }

    #[test]
    fn skips_loudly_elsewhere() {
        decide("nghttpd", "make test", false);
    }

    #[test]
    fn the_client_script_is_there() {
        assert!(script("h3_client.py").is_file());
        assert!(workspace().join("Cargo.toml").is_file());
    }
}
