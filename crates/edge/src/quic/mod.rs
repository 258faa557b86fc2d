//! The QUIC endpoint of a listener on one worker: connections, their datagrams and timers.

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
pub(crate) mod qlog;
mod receive;
mod resets;
mod share;
pub(crate) mod trim_padding;
pub(crate) mod version;

pub use endpoint::Edge;
pub use keys::QuicKeys;
