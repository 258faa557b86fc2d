//! Whether a new client connection may be opened: asked of whoever counts them, before any state is made for it.

use std::{any::Any, net::IpAddr, time::Instant};

/// Decides on new connections. Asked once for each, on the worker's thread: it must not block.
pub trait Gate: Send + Sync {
    /// A client at this address asks for a connection.
    fn enter(&self, client: IpAddr, now: Instant) -> Entry;
}

/// The answer.
pub enum Entry {
    /// It may come in. What is given along is dropped when the connection is gone.
    Admitted(Box<dyn Any>),
    /// It is told that it may not (`CONNECTION_REFUSED`).
    Refused,
    /// It is told nothing.
    Ignored,
}
