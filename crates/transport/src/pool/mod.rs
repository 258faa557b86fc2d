//! Connections to backends, one file per protocol. `transport` owns and polls them.

mod connection;
mod h1;
mod h2;
mod open_error;
mod outgoing;
mod read_size;
mod state;

pub(crate) use connection::{Connection, Stream};
pub(crate) use h1::H1Connection;
pub(crate) use h2::H2Connection;
pub(crate) use open_error::OpenError;
pub(crate) use state::{Due, Phase, ReadEnd};
