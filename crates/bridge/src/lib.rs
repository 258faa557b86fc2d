//! The HTTP message in its neutral form, the rules for its fields, and the wire protocols as state machines.
//!
//! Everything here is *sans-io*: bytes in, events out, bytes out. Nothing in this crate opens a socket, reads a clock or
//! knows which side of the proxy calls it. `edge` drives [`h3`], `transport` drives [`h2`]; they meet in [`message`].
#![forbid(unsafe_code)]

pub mod h2;
pub mod h3;
pub mod hpack;
pub mod huffman;
pub mod integer;
pub mod message;
pub mod padding;
pub mod qpack;
