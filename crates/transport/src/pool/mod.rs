//! Connections to backends, one file per protocol. `transport` owns them in slots and drives them.

mod connection;
mod h2;
mod state;

pub(crate) use connection::{Connection, NotTaken, Stream};
pub(crate) use h2::H2Connection;
pub(crate) use state::{Due, Phase, ReadEnd};
