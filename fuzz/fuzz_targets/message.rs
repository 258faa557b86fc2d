//! Fuzzes the checks and the rewriting of messages.
#![no_main]

#[path = "../../crates/bridge/tests/checks/message.rs"]
mod message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| message::check(data));
