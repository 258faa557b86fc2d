//! TCP clients: HTTP/2 and HTTP/1.1 over TLS, behind the PROXY protocol if the configuration says so.
//!
//! [`TcpEdge`] offers the exchange the same operations as the QUIC side. `edge` has the passes of the worker's loop, `conn` and
//! `send` the two halves of a connection, `http2` and `http1` what differs by protocol.

mod accept;
mod acceptor;
mod body_queue;
mod closing;
mod conn;
mod count;
mod edge;
mod http1;
mod http2;
mod operations;
mod outgoing;
mod protocol;
mod send;
mod session;
mod settings;
mod socket;
mod stream;

pub use count::ConnectionCount;
pub use edge::TcpEdge;
pub use settings::TcpSettings;
