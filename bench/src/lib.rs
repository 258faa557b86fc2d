//! Measurements: what the parts of a request cost ([`codec`], [`aead`], [`udp`]), by which clock ([`clock`]), and a load
//! generator over real QUIC ([`load`]).
//!
//! Called by the programs in `src/bin` and the bench in `benches`. It is no part of the product, and no test depends on how
//! fast anything is.
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
