//! The worker's QUIC endpoint: finds the connection of each datagram, serves those with something to do, lets them send.

pub(crate) mod cid;
pub(crate) mod congestion;
mod conn;
mod endpoint;
pub(crate) mod migration;
pub(crate) mod trim;

pub use endpoint::Edge;
