//! Any bytes as a configuration file: a configuration or problems, never a panic, and what loads survives being written.
#![no_main]

#[path = "../../crates/config/tests/checks/config.rs"]
mod config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| config::check(data));
