//! The Spooky process: the exchange between both sides, the workers that run it, and its life from start to stop.
#![forbid(unsafe_code)]

pub mod cli;
mod demo;
mod exchange;
mod generation;
mod probe;
mod runtime;
mod signals;
mod snapshot;
mod worker;
