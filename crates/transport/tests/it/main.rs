//! The transport against real sockets: origins made with the `h2` crate, and raw ones that do what a test tells them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption must fail the test at once, with its place"
)]

mod bodies;
mod chance;
mod failures;
mod lifetimes;
mod origin;
mod raw;
mod requests;
mod secure;
mod worker;
