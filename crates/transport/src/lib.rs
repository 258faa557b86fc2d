//! The backend side: name resolution, TCP, TLS, and a pool of HTTP/2 connections per backend.
//!
//! Each worker owns one [`Transport`]; it has no lock and no task per request. In each turn, the worker calls
//! [`Transport::poll_io`], passes every [`Event`] to the exchange, which calls `request`, `send_data`, `release` and `reset`,
//! and then calls [`Transport::flush`] once. This crate does not choose backends and does not retry: a [`Failure`] only
//! reports what is known about the request.
//!
//! Must be polled within a tokio runtime that has its I/O and time drivers enabled.
#![forbid(unsafe_code)]

mod connect;
mod counters;
mod dial;
mod event;
mod failure;
mod handle;
mod idle;
mod names;
mod options;
mod origin;
mod pool;
mod queued;
mod requests;
mod resolve;
mod slots;
mod socket;
mod transport;

pub use counters::Counters;
pub use event::Event;
pub use failure::{Failure, FailureKind, Processed, Unsent};
pub use handle::{BackendId, RequestHandle};
pub use names::{NameCounts, NameEvent, NameTable, Resolver, SystemFiles};
pub use options::{BackendSpec, IdleCount, Options, Protocol, Scheme};
pub use spooky_bridge::h2::Code;
pub use transport::Transport;
