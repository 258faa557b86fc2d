//! Tests of configurations as a whole: samples, hostile files, the corpus of the fuzz target.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is the failure of a test"
)]

mod hostile;
mod loading;
mod replay;
mod samples;
