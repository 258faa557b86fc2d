//! `cargo xtask soak`: builds the product for release and runs `spooky/examples/soak` with it.

use std::path::Path;

use crate::step::Step;

pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    Step::cargo(root, &["build", "--release", "--locked", "--package", "spooky", "--bin", "spooky"]).run()?;
    let example = ["run", "--release", "--locked", "--package", "spooky", "--example", "soak", "--"];
    let binary = ["target/release/spooky"];
    Step::cargo(root, &[&example[..], &binary, arguments].concat()).run()
}
