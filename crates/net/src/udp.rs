//! Batched UDP: one system call receives up to 32 messages or sends up to 32 bursts, with GRO and GSO, the local
//! address of every datagram, and ECN.
//!
//! This module owns sockets and their buffers; a datagram is bytes between two addresses. The listeners of the worker
//! are its only callers, and workers share nothing in it.
//!
//! IPv4 peers of a dual-stack socket have their plain IPv4 address.

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
pub use socket::{UdpOptions, UdpSocket, granted_buffers, receive_drops};

#[cfg(test)]
mod tests;
