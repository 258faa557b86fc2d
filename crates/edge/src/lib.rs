//! The client side of the proxy: QUIC connections and the HTTP/3 sessions on them.
//!
//! [`Edge`] is one worker's view of one listener. The worker gives it datagrams and the time, drains its [`Event`]s,
//! answers through its methods, and lets it fill send batches. It does no I/O of its own and knows no backend.
#![forbid(unsafe_code)]

mod budget;
mod event;
mod h3;
mod limiter;
mod quic;
mod settings;

pub use budget::ResponseBudget;
pub use event::{Abort, BodyRead, Event, EventKind, StreamRef};
pub use h3::Body;
pub use limiter::{ConnectionDecision, ConnectionLimiter, LimiterSlot};
pub use quic::{Dropped, Edge, QuicKeys};
pub use settings::{EdgeError, EdgeSettings};
