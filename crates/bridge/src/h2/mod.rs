//! HTTP/2 (RFC 9113) as state machines without I/O: the client role towards backends, the server role towards clients.
//!
//! [`Connection`] is what both roles share: frames, HPACK, flow control, limits. [`Client`] is one connection to a
//! backend, driven by `transport`; [`Server`] is one connection of a client, driven by `edge`. The owner passes received
//! bytes to `recv`, calls the connection for what the exchange wants, and writes [`Connection::output`] to the socket
//! once per turn. This module opens no socket, reads no clock and does not decide about retries. A stream error never
//! ends the connection.

mod block;
mod client;
mod code;
mod config;
mod connection;
mod control;
mod data;
mod error;
mod event;
mod flood;
mod flow;
mod frame;
mod payload;
mod receive;
mod request;
mod response;
mod section;
mod send;
mod server;
mod settings;
mod stream;

#[cfg(test)]
mod tests;

pub use client::{Client, ClientRole};
pub use code::Code;
pub use config::{Config, ServerConfig};
pub use connection::Connection;
pub use error::{ConnectionError, SendRequestError};
pub use event::{Event, ServerEvent, StreamId};
pub use server::{Server, ServerRole};
