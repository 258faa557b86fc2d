//! Project automation: `cargo xtask ci`, `cargo xtask tidy`, `cargo xtask fuzz`, `cargo xtask release`.
//!
//! Owns the one definition of what must hold before a change lands. Knows the source tree, never the product's types.
//! Called by people, by the build's entry point and by nothing else.
#![forbid(unsafe_code)]

mod ci;
mod fuzz;
mod release;
mod step;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask ci [--no-test]       everything that must pass: format, house rules, lints, documentation, tests, dependencies,
                                 20 s of each fuzz target
cargo xtask tidy                 the house rules alone: layers, sizes, door signs, unsafe, words
cargo xtask fuzz TARGET [--seconds N] [--keep]
                                 runs one fuzz target (default 60 s); --keep merges what it found into the corpus
cargo xtask fuzz                 lists the targets
cargo xtask release              target/release/spooky, optimised by a profile of itself under load";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["ci"] => ci::run(&root(), true),
        ["ci", "--no-test"] => ci::run(&root(), false),
        ["tidy"] => tidy::run(&root()),
        ["release"] => release::run(&root()),
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

/// The root of the workspace that this runs for: `cargo run` tells the crate's folder; without it, the current folder.
/// Not the workspace that it was built in, which may be another one with the same target folder.
fn root() -> PathBuf {
    let told = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    told.as_deref().and_then(Path::parent).map_or_else(|| ".".into(), Path::to_owned)
}
