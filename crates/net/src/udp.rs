//! UDP in batches: one system call receives up to 32 messages or sends up to 32 bursts, with GRO and GSO, the local
//! address of every datagram, and ECN.
//!
//! Owns sockets and their buffers. Knows nothing of QUIC: a datagram is bytes between two addresses. The worker of
//! `edge` is the only caller; nothing here is shared between workers.
//!
//! IPv4 peers of a dual stack socket appear, and are addressed, with their plain IPv4 address.

mod address;
mod control;
mod gso;
mod interface;
mod messages;
mod raw;
mod ready;
mod recv;
mod send;
mod socket;

pub use interface::{InterfaceMtus, MIN_MTU, interface_mtu};
pub use ready::AsyncUdp;
pub use recv::{Datagram, Drain, RECV_BATCH, RecvBatch};
pub use send::{MAX_BURSTS, MAX_PENDING_BYTES, SendBatch, SendOutcome, SendStats, Transmit};
pub use socket::{UdpOptions, UdpSocket};

#[cfg(test)]
mod tests;
