//! The Spooky process: the exchange between both sides, the workers that run it, and its life from start to stop.
#![forbid(unsafe_code)]

pub mod cli;
mod control;
mod demo;
mod exchange;
mod listener;
mod probe;
mod restart;
mod runtime;
mod signals;
mod snapshot;
mod start_error;
mod state;
mod stream_window;
mod worker;
