//! The worker's QUIC endpoint: finds the connection of each datagram, serves those with something to do, lets them send.

mod accept;
pub(crate) mod cid;
pub(crate) mod congestion;
mod conn;
mod drops;
mod ending;
mod endpoint;
mod establish;
mod keys;
pub(crate) mod migration;
pub(crate) mod outgoing;
mod receive;
mod resets;
mod share;
pub(crate) mod trim_padding;
pub(crate) mod version;

pub use drops::Dropped;
pub use endpoint::Edge;
pub use keys::QuicKeys;
