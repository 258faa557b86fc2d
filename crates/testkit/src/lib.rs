//! Test peers for Spooky: certificates, an independent HTTP/3 client, correct and misbehaving origins, a lossy link, and
//! third-party programs.
//!
//! Shares no code with the product, so that a mistake in one is not repeated in the other. The product imports it only as a
//! dev-dependency. All waits are bounded and name what they wait for ([`wait`]).
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "test support: a broken assumption must fail the test at once, with its position"
)]

pub mod certs;
pub mod client;
pub mod dns;
pub mod duplex;
pub mod external;
pub mod http1;
pub mod journal;
pub mod link;
pub mod log;
pub mod origin;
pub mod pattern;
pub mod port;
pub mod process;
pub mod program;
pub mod rng;
pub mod rogue;
pub mod settings;
pub mod tcp;
pub mod verifications;
pub mod wait;

#[cfg(test)]
mod dialer;
