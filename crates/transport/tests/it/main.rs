//! Tests of the transport with real sockets, against origins of the `h2` crate and scripted raw peers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a broken assumption must fail the test at once, with its place"
)]

mod bodies;
mod failures;
mod http1;
mod lifetimes;
mod names;
mod origin;
mod random;
mod raw;
mod requests;
mod secure;
mod versions;
mod worker;
