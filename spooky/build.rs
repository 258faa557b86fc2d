//! Tells the program what it was built from, for `spooky version`. No time stamps: the same sources give the same program.

use std::{path::Path, process::Command};

/// What stands for a commit outside a repository.
const UNKNOWN: &str = "unknown";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=SPOOKY_COMMIT={}", commit().as_deref().unwrap_or(UNKNOWN));
    println!("cargo:rustc-env=SPOOKY_TARGET={}", variable("TARGET"));
    let features = Some(variable("CARGO_CFG_FEATURE")).filter(|features| !features.is_empty());
    println!("cargo:rustc-env=SPOOKY_FEATURES={}", features.as_deref().unwrap_or("none"));
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// The commit of the sources, if they are a repository of their own. Sources that only lie inside of another
/// repository (a vendored or packaged copy) have none.
fn commit() -> Option<String> {
    let manifest = variable("CARGO_MANIFEST_DIR");
    let root = Path::new(&manifest).parent()?;
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // The log of HEAD grows with every commit and checkout; HEAD itself names a branch and stays as it is.
    for name in ["HEAD", "logs/HEAD"] {
        let path = root.join(git(root, &["rev-parse", "--git-path", name])?);
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    git(root, &["rev-parse", "HEAD"])
}

/// The output of a git command, or none without git or without a repository.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
