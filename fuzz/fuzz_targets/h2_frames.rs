//! Fuzzes the HTTP/2 client with bytes of a backend.
#![no_main]

#[path = "../../crates/bridge/tests/checks/h2_frames.rs"]
mod h2_frames;
#[path = "../../crates/bridge/tests/checks/prng.rs"]
mod prng;

libfuzzer_sys::fuzz_target!(|data: &[u8]| h2_frames::check(data));
