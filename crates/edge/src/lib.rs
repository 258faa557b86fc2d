//! The client side of the proxy: QUIC connections and the HTTP/3 sessions on them.
//!
//! [`Edge`] holds the connections of one listener on one worker. The worker passes it datagrams and the time, takes its
//! [`Event`]s, answers through its methods, and lets it fill send batches. It does no I/O and knows no backend.
#![forbid(unsafe_code)]

mod backlog;
mod body;
mod budget;
mod event;
mod h3;
mod history;
mod identity;
mod limiter;
#[cfg(test)]
mod peer;
mod quic;
mod settings;
mod sticky;
mod tcp;
#[cfg(test)]
mod tests;
mod tls_failure;

pub use body::Body;
pub use budget::ResponseBudget;
pub use event::{Abort, BodyRead, Event, EventKind, StreamRef};
pub use limiter::{ConnectionDecision, ConnectionLimiter, LimiterSlot};
pub use quic::{Edge, QuicKeys};
pub use settings::{EdgeError, EdgeSettings};
pub use tcp::{ConnectionCount, TcpEdge, TcpSettings};
