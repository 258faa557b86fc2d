//! Connections to backends, one file per protocol. `transport` owns and polls them.

mod connection;
mod h2;
mod state;

pub(crate) use connection::{Connection, OpenError, Stream};
pub(crate) use h2::H2Connection;
pub(crate) use state::{Due, Phase, ReadEnd};
