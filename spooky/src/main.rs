//! The `spooky` command.
#![forbid(unsafe_code)]
fn main() {}
