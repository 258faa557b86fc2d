//! Whether a new client connection may be opened: asked of whoever counts them, before any state is made for it.

use std::{any::Any, net::IpAddr, time::Instant};

/// Decides on new connections. Called on the worker's thread: it must not block.
pub trait ConnectionLimiter: Send + Sync {
    /// Judges the first packet of a connection. `is_validated` says whether the packet carries a token that proves that
    /// the client receives what is sent to its address.
    fn open(&self, client: IpAddr, is_validated: bool, now: Instant) -> ConnectionDecision;

    /// Gives a place to a connection that was accepted without one and whose handshake is complete; `None` if there is
    /// none left, and the client is refused (`CONNECTION_REFUSED`).
    fn establish(&self, client: IpAddr) -> Option<LimiterSlot>;
}

/// Something that is counted as long as it is not dropped.
pub type LimiterSlot = Box<dyn Any>;

/// What becomes of a first packet.
pub enum ConnectionDecision {
    /// The handshake begins.
    Accept {
        /// Held until the handshake is complete or has failed.
        handshake: LimiterSlot,
        /// Held as long as the connection exists; `None` if the address is not validated yet.
        connection: Option<LimiterSlot>,
    },
    /// The client is asked to prove its address (RFC 9000 section 8.1.2). To be answered only to an address without proof.
    Retry,
    /// The client is told that it may not connect (`CONNECTION_REFUSED`).
    Refuse,
    /// The packet is dropped without an answer.
    Drop,
}
