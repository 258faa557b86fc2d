//! Project automation: `cargo xtask ci`, `cargo xtask tidy`, `cargo xtask fuzz`, `cargo xtask release`,
//! `cargo xtask dist`, `cargo xtask soak`. Imports nothing of the product.
#![forbid(unsafe_code)]

mod ci;
mod dist;
mod files;
mod fuzz;
mod release;
mod soak;
mod step;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask ci [--no-test]       everything that must pass: format, source rules, lints, documentation, tests, dependencies,
                                 at most 20 s of each fuzz target
cargo xtask tidy                 the source rules alone: layers, sizes, header comments, unsafe, forbidden text and names, links, log messages
cargo xtask fuzz TARGET [--seconds N] [--keep]
                                 runs one fuzz target (default 60 s); --keep merges what it found into the corpus
cargo xtask fuzz                 lists the targets
cargo xtask release              target/release/spooky, optimized with a profile of itself under load
cargo xtask dist [--deb]         target/dist: the archive with checksum, licences and bill of materials, and the Debian package
cargo xtask soak [--minutes N] [--without-upgrades]
                                 an hour under load, reloads, killed backends, new certificates and upgrades";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["ci"] => ci::run(&root(), true),
        ["ci", "--no-test"] => ci::run(&root(), false),
        ["tidy"] => tidy::run(&root()),
        ["release"] => release::run(&root()),
        ["dist"] => dist::run(&root(), false),
        ["dist", "--deb"] => dist::run(&root(), true),
        ["soak", rest @ ..] => soak::run(&root(), rest),
        ["fuzz", rest @ ..] => fuzz::run(&root(), rest),
        _ => Err(USAGE.to_owned()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the root of the workspace: the parent of the crate directory that `cargo run` sets, else the current directory. Not
/// that of compile time, because workspaces may share a target directory.
fn root() -> PathBuf {
    let manifest_dir = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    manifest_dir.as_deref().and_then(Path::parent).map_or_else(|| ".".into(), Path::to_owned)
}
