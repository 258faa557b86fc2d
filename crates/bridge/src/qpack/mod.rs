//! QPACK (RFC 9204) with the static table only: the server announces and uses a dynamic table of capacity 0.
//!
//! So no field section depends on another stream, no stream can be blocked, and a peer can fill no state. Called by
//! [`crate::h3`].

mod decode;
mod encode;
mod instructions;
mod table;

pub use decode::{Error, decode};
pub use encode::encode;
pub use instructions::{DecoderStream, EncoderStream, InstructionError};

#[cfg(test)]
mod tests;
