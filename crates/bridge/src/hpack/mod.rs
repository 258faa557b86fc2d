//! Field compression of HTTP/2 (RFC 7541): field sections to bytes and back, with one dynamic table per direction.
//!
//! [`Decoder`] writes straight into the arena of a message, [`Encoder`] straight into the output of a connection. Both are
//! used by [`crate::h2`] alone and know nothing of frames.

mod decoder;
mod encoder;
mod static_table;
mod table;

#[cfg(test)]
mod tests;

pub use decoder::Decoder;
pub use encoder::Encoder;

/// Dynamic table size before any setting (RFC 9113 6.5.2).
pub const DEFAULT_TABLE_SIZE: u32 = 4096;

/// What an entry of a table, or a field of a section, counts on top of its bytes (RFC 7541 4.1, RFC 9113 6.5.2).
const ENTRY_OVERHEAD: usize = 32;

/// A block that cannot be decoded. The tables of both sides now differ: the connection is lost (RFC 9113 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The block ends within a field line.
    Truncated,
    /// An integer beyond 32 bits or with superfluous bytes (RFC 7541 5.1).
    Integer,
    /// A string that is no valid Huffman code (RFC 7541 5.2).
    Huffman,
    /// An index outside of both tables (RFC 7541 2.3.3).
    Index,
    /// A table size update above the limit, missing where one is due, or not at the start of the block (RFC 7541 4.2, 6.3).
    TableSize,
}

impl Error {
    /// What is wrong, in words.
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
