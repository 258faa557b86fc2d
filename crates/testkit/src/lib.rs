//! Test peers for Spooky: certificates, an independent HTTP/3 client, origins that behave and origins that do not, a
//! lossy link, and the processes of other people's programs.
//!
//! Owns everything that a test needs on the far side of the wire. It shares no code with the product, so that a
//! mistake in one is not repeated in the other; the product never imports it (dev-dependency only). Called by the
//! integration tests and by the unit tests of the crates that do I/O.
//!
//! All waits are bounded and fail the test with the name of what was awaited ([`wait`]).
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "test support: a broken assumption must fail the test at once, with its place"
)]

pub mod certs;
pub mod client;
pub mod foreign;
pub mod journal;
pub mod link;
pub mod origin;
pub mod pattern;
pub mod port;
pub mod process;
pub mod program;
pub mod rng;
pub mod rogue;
pub mod settings;
pub mod wait;

#[cfg(test)]
mod dialer;
