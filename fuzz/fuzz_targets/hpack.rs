//! Fuzzes the HPACK decoder with field blocks of a backend.
#![no_main]

#[path = "../../crates/bridge/tests/checks/hpack.rs"]
mod hpack;

libfuzzer_sys::fuzz_target!(|data: &[u8]| hpack::check(data));
