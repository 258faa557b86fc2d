//! Interface of the limiter of client connections, which is called before any state of a connection exists.

use std::{any::Any, net::IpAddr, time::Instant};

/// Decides on new connections. Must not block, because the worker's thread calls it.
pub trait ConnectionLimiter: Send + Sync {
    /// Decides on the first packet of a connection. `is_validated` says whether it carries a valid address token.
    fn open(&self, client: IpAddr, is_validated: bool, now: Instant) -> ConnectionDecision;

    /// Returns the slot of a connection that was accepted without one and whose handshake is complete. `None` if there is
    /// none left; the connection is then closed with `CONNECTION_REFUSED`.
    fn establish(&self, client: IpAddr) -> Option<LimiterSlot>;
}

/// Counts a handshake or a connection until dropped.
pub type LimiterSlot = Box<dyn Any>;

/// What to do with a first packet.
pub enum ConnectionDecision {
    /// The handshake begins.
    Accept {
        /// Dropped when the handshake is complete or has failed.
        handshake: LimiterSlot,
        /// Dropped with the connection; `None` if the address is not validated yet.
        connection: Option<LimiterSlot>,
    },
    /// The client must validate its address (RFC 9000 section 8.1.2). Only for packets that are not validated.
    Retry,
    /// The client is refused with `CONNECTION_REFUSED`.
    Refuse,
    /// The packet is dropped silently.
    Drop,
}
