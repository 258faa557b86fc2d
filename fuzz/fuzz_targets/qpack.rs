//! Fuzzes QPACK with field sections, Huffman strings and instruction streams of a client.
#![no_main]

#[path = "../../crates/bridge/tests/checks/qpack.rs"]
mod qpack;

libfuzzer_sys::fuzz_target!(|data: &[u8]| qpack::check(data));
