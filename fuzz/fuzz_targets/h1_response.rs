//! Fuzzes the HTTP/1.1 client with bytes of a backend.
#![no_main]

#[path = "../../crates/bridge/tests/checks/h1_response.rs"]
mod h1_response;
#[path = "../../crates/bridge/tests/checks/h1_wire.rs"]
mod h1_wire;
#[path = "../../crates/bridge/tests/checks/prng.rs"]
mod prng;

libfuzzer_sys::fuzz_target!(|data: &[u8]| h1_response::check(data));
