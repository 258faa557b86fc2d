//! The backend side: resolve, connect, TLS, and a pool of few HTTP/2 connections per backend. Knows no client.
//!
//! One [`Transport`] lives inside one worker and is not shared: no lock, no task per request. The worker's future calls
//! [`Transport::poll_io`], hands every [`Event`] to the exchange, lets the exchange call back (`request`, `send_data`,
//! `release`, `reset`), and ends its turn with one [`Transport::flush`]. Nothing here decides which backend serves a request
//! or whether it is repeated: a [`Failure`] only says what is known about it.
//!
//! Must be polled within a tokio runtime that has its I/O and time drivers enabled.
#![forbid(unsafe_code)]

mod connect;
mod counters;
mod event;
mod failure;
mod handle;
mod options;
mod origin;
mod pool;
mod queued;
mod requests;
mod reset;
mod resolve;
mod slots;
mod socket;
mod transport;
mod wake;

pub use counters::Counters;
pub use event::Event;
pub use failure::{Failure, FailureKind, Processed, Unsent};
pub use handle::{BackendId, RequestHandle};
pub use options::{BackendSpec, Options, Protocol, Scheme};
pub use spooky_bridge::h2::Code;
pub use transport::Transport;
