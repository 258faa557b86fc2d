//! Benchmarks: costs of the parts of a request ([`codec`], [`aead`], [`udp`], [`clock`]), and a load generator ([`load`]).
//!
//! Not part of the product. No test depends on a measured time.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "measurements of fixed samples, run by a person: a broken sample ends the program with its place"
)]

pub mod aead;
pub mod clock;
pub mod codec;
pub mod load;
pub mod sample;
pub mod udp;
