//! QPACK (RFC 9204) with the static table only: a dynamic table of capacity 0 is what the server announces and uses.
//!
//! Without it no field section depends on another stream, nothing can be blocked, and there is no state to fill. Called by
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
