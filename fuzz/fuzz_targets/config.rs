//! Fuzzes the configuration file: parsing must not panic, and a valid configuration must load again after it is written.
#![no_main]

#[path = "../../crates/config/tests/checks/config.rs"]
mod config;

libfuzzer_sys::fuzz_target!(|data: &[u8]| config::check(data));
