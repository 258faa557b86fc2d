//! Fuzzes the HTTP/1.1 server with bytes of a client.
#![no_main]

#[path = "../../crates/bridge/tests/checks/h1_request.rs"]
mod h1_request;
#[path = "../../crates/bridge/tests/checks/h1_wire.rs"]
mod h1_wire;
#[path = "../../crates/bridge/tests/checks/prng.rs"]
mod prng;

libfuzzer_sys::fuzz_target!(|data: &[u8]| h1_request::check(data));
