//! All that a backend can send on an HTTP/2 connection.
#![no_main]

#[path = "../../crates/bridge/tests/checks/h2_frames.rs"]
mod h2_frames;
#[path = "../../crates/bridge/tests/checks/prng.rs"]
mod prng;

libfuzzer_sys::fuzz_target!(|data: &[u8]| h2_frames::check(data));
