//! Decoding of field sections (RFC 9204 4.5).

use super::table;
use crate::{
    huffman,
    integer::{self, IntegerError},
    message::{Fields, fields::FieldWriter},
};
use std::fmt;

/// Why a field section cannot be decoded. All but [`Error::TooLarge`] are `QPACK_DECOMPRESSION_FAILED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// It ends inside a field line.
    Truncated,
    /// An integer is too large.
    Integer,
    /// A string is not a valid Huffman encoding.
    Huffman,
    /// The static table has no such entry.
    StaticIndex,
    /// It refers to the dynamic table, whose capacity is 0.
    Dynamic,
    /// Its base is negative.
    Base,
    /// Names and values are larger than the limit.
    TooLarge,
}

impl Error {
    /// Returns a text for logs and `CONNECTION_CLOSE`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Truncated => "field section ends inside a field line",
            Self::Integer => "integer too large in a field section",
            Self::Huffman => "invalid Huffman string in a field section",
            Self::StaticIndex => "no such entry in the static table",
            Self::Dynamic => "reference to the dynamic table, whose capacity is 0",
            Self::Base => "negative base of a field section",
            Self::TooLarge => "field section too large",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for Error {}

impl From<IntegerError> for Error {
    fn from(error: IntegerError) -> Self {
        match error {
            IntegerError::Incomplete => Self::Truncated,
            IntegerError::Overflow => Self::Integer,
        }
    }
}

/// Appends the fields of an encoded section to `out`, at most `limit_bytes` of names and values.
///
/// # Errors
/// [`Error`]; `out` may then contain some of the fields.
pub fn decode(section: &[u8], out: &mut Fields, limit_bytes: usize) -> Result<(), Error> {
    let mut src = section;
    decode_prefix(&mut src)?;
    let mut budget = limit_bytes;
    while let Some(&first) = src.first() {
        let size = if first & 0x80 != 0 {
            indexed(first, &mut src, out)?
        } else if first & 0x40 != 0 {
            literal_with_indexed_name(first, &mut src, out)?
        } else if first & 0x20 != 0 {
            literal(first, &mut src, out)?
        } else {
            return Err(Error::Dynamic); // post-base index, with or without value
        };
        budget = budget.checked_sub(size).ok_or(Error::TooLarge)?;
    }
    Ok(())
}

/// Reads Required Insert Count and Base (4.5.1). Without a dynamic table the first is 0 and the second not negative.
fn decode_prefix(src: &mut &[u8]) -> Result<(), Error> {
    if let Some(rest) = src.strip_prefix(&[0, 0]) {
        *src = rest;
        return Ok(());
    }
    if integer::decode(8, src)? != 0 {
        return Err(Error::Dynamic);
    }
    let sign = src.first().is_some_and(|byte| byte & 0x80 != 0);
    integer::decode(7, src)?;
    if sign { Err(Error::Base) } else { Ok(()) }
}

fn indexed(first: u8, src: &mut &[u8], out: &mut Fields) -> Result<usize, Error> {
    if first & 0x40 == 0 {
        return Err(Error::Dynamic);
    }
    let index = integer::decode(6, src)?;
    let (name, value) = table::entry(index).ok_or(Error::StaticIndex)?;
    out.push(name, value);
    Ok(name.as_bytes().len() + value.len())
}

fn literal_with_indexed_name(first: u8, src: &mut &[u8], out: &mut Fields) -> Result<usize, Error> {
    if first & 0x10 == 0 {
        return Err(Error::Dynamic);
    }
    let index = integer::decode(4, src)?;
    let (name, _) = table::entry(index).ok_or(Error::StaticIndex)?;
    let mut writer = out.begin_field();
    writer.known(name);
    let value_len = value(src, &mut writer)?;
    writer.finish(first & 0x20 != 0);
    Ok(name.as_bytes().len() + value_len)
}

fn literal(first: u8, src: &mut &[u8], out: &mut Fields) -> Result<usize, Error> {
    let mut writer = out.begin_field();
    let len = integer::decode(3, src)?;
    let name_len = string(first & 0x08 != 0, len, src, &mut writer)?;
    if name_len > usize::from(u16::MAX) {
        return Err(Error::TooLarge); // longer than [`Fields`] can hold
    }
    writer.end_name();
    let value_len = value(src, &mut writer)?;
    writer.finish(first & 0x10 != 0);
    Ok(name_len + value_len)
}

fn value(src: &mut &[u8], writer: &mut FieldWriter<'_>) -> Result<usize, Error> {
    let is_huffman = src.first().is_some_and(|byte| byte & 0x80 != 0);
    let len = integer::decode(7, src)?;
    string(is_huffman, len, src, writer)
}

/// Appends a string of `len` encoded bytes to the arena and returns its decoded length.
#[inline]
fn string(is_huffman: bool, len: u64, src: &mut &[u8], writer: &mut FieldWriter<'_>) -> Result<usize, Error> {
    let len = usize::try_from(len).map_err(|_| Error::Truncated)?;
    let (bytes, rest) = src.split_at_checked(len).ok_or(Error::Truncated)?;
    *src = rest;
    let arena = writer.arena();
    if !is_huffman {
        arena.extend_from_slice(bytes);
        return Ok(len);
    }
    let before = arena.len();
    huffman::decode(bytes, arena).map_err(|_| Error::Huffman)?;
    Ok(arena.len() - before)
}
