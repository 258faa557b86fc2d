//! Fuzzes the removal of padding with the frames of a client's QUIC packet.
#![no_main]

#[path = "../../crates/bridge/tests/checks/padding.rs"]
mod padding;

libfuzzer_sys::fuzz_target!(|data: &[u8]| padding::check(data));
