//! Fuzzes the HTTP/2 server with bytes of a client.
#![no_main]

#[path = "../../crates/bridge/tests/checks/h2_server.rs"]
mod h2_server;
#[path = "../../crates/bridge/tests/checks/prng.rs"]
mod prng;

libfuzzer_sys::fuzz_target!(|data: &[u8]| h2_server::check(data));
