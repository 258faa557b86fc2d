//! Fuzzes the parser of trace contexts.
#![no_main]

#[path = "../../crates/bridge/tests/checks/trace_context.rs"]
mod trace_context;

libfuzzer_sys::fuzz_target!(|data: &[u8]| trace_context::check(data));
