//! Fuzzes the parser of PROXY headers with the first bytes of a connection.
#![no_main]

#[path = "../../crates/bridge/tests/checks/proxy_protocol.rs"]
mod proxy_protocol;

libfuzzer_sys::fuzz_target!(|data: &[u8]| proxy_protocol::check(data));
