//! HPACK decoder (RFC 7541 3), which writes each field line directly into the arena of the message.
//!
//! A section above its limit is decoded to the end, because the dynamic table must stay equal to the peer's, but its
//! fields are dropped. The caller then fails only the stream.

use super::{ENTRY_OVERHEAD, Error, static_table, table::Table};
use crate::{
    huffman,
    integer::{self, IntegerError},
    message::{Fields, Name},
};

/// Largest dynamic table. No entry then has a name longer than [`Fields`] can hold.
const MAX_TABLE_SIZE: usize = 65_535;

/// Bytes that the scratch space keeps; more is freed.
const MAX_SCRATCH: usize = 4096;

/// The rest of the size limit of a section while it is decoded.
struct SectionBudget {
    left: usize,
    exceeded: bool,
}

impl SectionBudget {
    /// Counts a field with `bytes` of name and value.
    fn take(&mut self, bytes: usize) {
        match self.left.checked_sub(bytes.saturating_add(ENTRY_OVERHEAD)) {
            Some(left) => self.left = left,
            None => self.exceeded = true,
        }
    }
}

/// The HPACK decoder of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// Largest size that a table size update may select.
    limit: usize,
    /// The limit was reduced below the current size: the next block must begin with a size update (RFC 7541 4.2).
    update_due: bool,
    /// Receives the fields of a section that is over its limit.
    scratch: Fields,
}

impl Decoder {
    /// Creates a decoder whose peer may use a dynamic table of up to `limit` bytes (at most 65 535). Until the peer
    /// knows the limit, it uses the default size.
    pub fn new(limit: u32) -> Self {
        let default = super::DEFAULT_TABLE_SIZE as usize;
        let limit = (limit as usize).clamp(default, MAX_TABLE_SIZE);
        Self { table: Table::new(default), limit, update_due: false, scratch: Fields::default() }
    }

    /// Applies a `SETTINGS_HEADER_TABLE_SIZE` that the peer has acknowledged.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = (limit as usize).min(MAX_TABLE_SIZE);
        self.update_due = self.table.max_size() > self.limit;
    }

    /// Appends the fields of a complete block to `fields`. Returns `Ok(false)` if the section exceeds `max_section`
    /// (names, values and 32 bytes for each field, RFC 9113 6.5.2); `fields` then has only a part of it, which the
    /// caller must drop.
    pub fn decode(&mut self, block: &[u8], fields: &mut Fields, max_section: usize) -> Result<bool, Error> {
        let mut input = block;
        let mut budget = SectionBudget { left: max_section, exceeded: false };
        self.resize(&mut input)?;
        while let Some(first) = input.first() {
            self.line(*first, &mut input, fields, &mut budget)?;
        }
        self.trim();
        Ok(!budget.exceeded)
    }

    /// Frees what a section over its limit has left.
    pub(super) fn trim(&mut self) {
        if self.scratch.memory() > MAX_SCRATCH {
            self.scratch = Fields::default();
        }
    }

    /// Reads a field line, whose first byte is `first`.
    fn line(
        &mut self,
        first: u8,
        input: &mut &[u8],
        fields: &mut Fields,
        budget: &mut SectionBudget,
    ) -> Result<(), Error> {
        match first {
            0x80.. => self.indexed(input, fields, budget),
            0x40..0x80 => self.literal(6, true, false, input, fields, budget),
            0x20..0x40 => Err(Error::TableSize),
            _ => self.literal(4, false, first >= 0x10, input, fields, budget),
        }
    }

    /// Reads a field line and drops the field.
    pub(super) fn skip_line(&mut self, input: &mut &[u8]) -> Result<(), Error> {
        let Some(first) = input.first() else { return Ok(()) };
        self.line(*first, input, &mut Fields::default(), &mut SectionBudget { left: 0, exceeded: true })
    }

    /// Returns the length of an encoded string from which on a field with it is larger than the dynamic table. The
    /// longest code has 30 bits (RFC 7541 appendix B), so a string shrinks to at most a quarter when it is decoded.
    pub(super) fn long_string(&self) -> usize {
        4 * self.table.max_size()
    }

    pub(super) fn clear_table(&mut self) {
        self.table.clear();
    }

    /// Reads table size updates, which are valid only at the start of a block (RFC 7541 4.2, 6.3).
    pub(super) fn resize(&mut self, input: &mut &[u8]) -> Result<(), Error> {
        while matches!(input.first(), Some(0x20..0x40)) {
            let size = integer(5, input)?;
            if size > self.limit {
                return Err(Error::TableSize);
            }
            self.table.resize(size);
            self.update_due = false;
        }
        if self.update_due { Err(Error::TableSize) } else { Ok(()) }
    }

    /// Reads an indexed field line (RFC 7541 6.1).
    fn indexed(&mut self, input: &mut &[u8], fields: &mut Fields, budget: &mut SectionBudget) -> Result<(), Error> {
        let (name, value) = self.entry(integer(7, input)?)?;
        budget.take(name.as_bytes().len() + value.len());
        if !budget.exceeded {
            fields.push(name, value);
        }
        Ok(())
    }

    /// Reads a literal field line (RFC 7541 6.2) and inserts it into the dynamic table if `index` is set.
    fn literal(
        &mut self,
        prefix: u32,
        index: bool,
        sensitive: bool,
        input: &mut &[u8],
        fields: &mut Fields,
        budget: &mut SectionBudget,
    ) -> Result<(), Error> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let sink = if budget.exceeded { &mut scratch } else { fields };
        let mut writer = sink.begin_field();
        match integer(prefix, input)? {
            0 => {
                let before = writer.arena().len();
                string(input, writer.arena())?;
                // [`Fields`] cannot hold a longer name, so the section is dropped.
                budget.exceeded |= writer.arena().len() - before > MAX_TABLE_SIZE;
                writer.end_name();
            }
            index => match self.entry(index)?.0 {
                Name::Known(known) => writer.known(known),
                Name::Other(bytes) => {
                    writer.arena().extend_from_slice(bytes);
                    writer.end_name();
                }
            },
        }
        string(input, writer.arena())?;
        writer.finish(sensitive);
        if let Some(field) = sink.iter().next_back() {
            budget.take(field.name.as_bytes().len() + field.value.len());
            if index {
                self.table.insert(field.name, field.value);
            }
        }
        self.scratch = scratch;
        Ok(())
    }

    /// Returns the entry at this index of both tables (RFC 7541 2.3.3).
    pub(super) fn entry(&self, index: usize) -> Result<(Name<'_>, &[u8]), Error> {
        match static_table::entry(index) {
            Some((known, value)) => Ok((Name::Known(known), value)),
            None => {
                index.checked_sub(static_table::LEN + 1).and_then(|index| self.table.get(index)).ok_or(Error::Index)
            }
        }
    }

    /// Returns the memory that the decoder holds.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.scratch.memory() + self.table.held()
    }

    /// Returns the size of the entries of the dynamic table.
    #[cfg(test)]
    pub(super) fn table_size(&self) -> usize {
        (0..self.table.len())
            .filter_map(|index| self.table.get(index))
            .map(|(name, value)| name.as_bytes().len() + value.len() + ENTRY_OVERHEAD)
            .sum()
    }
}

/// Reads an integer (RFC 7541 5.1).
pub(super) fn integer(prefix: u32, input: &mut &[u8]) -> Result<usize, Error> {
    match integer::decode(prefix, input) {
        Ok(value) => usize::try_from(value).map_err(|_| Error::Integer),
        Err(IntegerError::Incomplete) => Err(Error::Truncated),
        Err(IntegerError::Overflow) => Err(Error::Integer),
    }
}

/// Reads a string (RFC 7541 5.2) and appends it to `out`.
fn string(input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    let coded = input.first().is_some_and(|first| first & 0x80 != 0);
    let len = integer(7, input)?;
    let (bytes, rest) = input.split_at_checked(len).ok_or(Error::Truncated)?;
    *input = rest;
    if coded {
        huffman::decode(bytes, out).map_err(|_| Error::Huffman)
    } else {
        out.extend_from_slice(bytes);
        Ok(())
    }
}
