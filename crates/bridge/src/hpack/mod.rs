//! HPACK, the field compression of HTTP/2 (RFC 7541), with one dynamic table per direction.
//!
//! [`Decoder`] writes into the arena of a message, [`Encoder`] into the output of a connection. Used by [`crate::h2`]
//! only.

mod decoder;
mod encoder;
mod skip;
mod static_table;
mod table;

#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use encoder::Encoder;
pub use skip::SkipState;

/// Initial size of the dynamic table (RFC 9113 6.5.2).
pub const DEFAULT_TABLE_SIZE: u32 = 4096;

/// Overhead counted for a table entry, or a field of a section (RFC 7541 4.1, RFC 9113 6.5.2).
const ENTRY_OVERHEAD: usize = 32;

/// Why a block cannot be decoded. The tables of both sides now differ, so the connection must be closed (RFC 9113 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The block ends within a field line.
    Truncated,
    /// An integer that is too large or too long (RFC 7541 5.1).
    Integer,
    /// A string that is not a valid Huffman code (RFC 7541 5.2).
    Huffman,
    /// An index outside of both tables (RFC 7541 2.3.3).
    Index,
    /// A table size update that is above the limit, missing, or not at the start of the block (RFC 7541 4.2, 6.3).
    TableSize,
}

impl Error {
    /// Returns a text for logs and GOAWAY.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "field block ends within a field line",
            Self::Integer => "invalid integer in a field block",
            Self::Huffman => "invalid Huffman code in a field block",
            Self::Index => "index outside of the tables in a field block",
            Self::TableSize => "invalid table size update in a field block",
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Error {}
