//! Method, authority and path of a request against a table of routes: never a panic, always the literal answer.
#![no_main]

#[path = "../../crates/lb/tests/checks/route.rs"]
mod route;

libfuzzer_sys::fuzz_target!(|data: &[u8]| route::check(data));
