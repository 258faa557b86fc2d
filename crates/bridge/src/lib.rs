//! The protocol-neutral HTTP message, the rules for its fields, and the wire protocols as state machines.
//!
//! This crate does no I/O (sans-io): it takes bytes and returns events and bytes. It opens no socket and reads no
//! clock. `edge` drives the servers, `transport` the clients of [`h3`], [`h2`] and [`h1`]; both use [`message`].
#![forbid(unsafe_code)]

mod flood;
pub mod h1;
pub mod h2;
pub mod h3;
pub mod hpack;
pub mod huffman;
pub mod integer;
pub mod message;
pub mod padding;
pub mod proxy_protocol;
pub mod qpack;
mod write_buffer;

use write_buffer::FramePosition;
pub use write_buffer::WriteBuffer;
