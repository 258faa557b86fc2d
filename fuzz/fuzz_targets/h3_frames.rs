//! Fuzzes HTTP/3 with request streams and unidirectional streams of a client.
#![no_main]

#[path = "../../crates/bridge/tests/checks/h3_frames.rs"]
mod h3_frames;
#[path = "../../crates/bridge/tests/checks/prng.rs"]
mod prng;

libfuzzer_sys::fuzz_target!(|data: &[u8]| h3_frames::check(data));
