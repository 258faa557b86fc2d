//! Fuzzes route lookup: it must not panic, and must agree with a simple reference implementation.
#![no_main]

#[path = "../../crates/lb/tests/checks/route.rs"]
mod route;

libfuzzer_sys::fuzz_target!(|data: &[u8]| route::check(data));
