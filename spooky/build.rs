//! Sets the build information of `spooky version`. Without a time stamp, so that builds are reproducible.

use std::{path::Path, process::Command};

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

/// Returns the commit of the sources, if they are their own repository and not a copy inside another one.
fn commit() -> Option<String> {
    let manifest = variable("CARGO_MANIFEST_DIR");
    let root = Path::new(&manifest).parent()?;
    let top = git(root, &["rev-parse", "--show-toplevel"])?;
    if Path::new(&top).canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    // HEAD names a branch and does not change with a commit; its log does.
    for name in ["HEAD", "logs/HEAD"] {
        let path = root.join(git(root, &["rev-parse", "--git-path", name])?);
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    git(root, &["rev-parse", "HEAD"])
}

/// Returns the output of a git command, `None` without git or without a repository.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
