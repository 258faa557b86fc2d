//! Bytes to fields (RFC 7541 3): each field line goes straight into the arena of the message.
//!
//! A section over its limit is still decoded to the end, because the dynamic table must follow the peer's, but no longer
//! kept; the caller then fails the stream and the connection lives on.

use super::{ENTRY_OVERHEAD, Error, static_table, table::Table};
use crate::{
    huffman,
    integer::{self, IntegerError},
    message::{Fields, Name},
};

/// The largest dynamic table: a name longer than what [`Fields`] can hold then never is an entry.
const MAX_TABLE_SIZE: usize = 65_535;

/// What is left of the limit on a section while it is decoded.
struct Room {
    left: usize,
    exceeded: bool,
}

impl Room {
    /// Counts one field with so many bytes of name and value.
    fn take(&mut self, bytes: usize) {
        match self.left.checked_sub(bytes.saturating_add(ENTRY_OVERHEAD)) {
            Some(left) => self.left = left,
            None => self.exceeded = true,
        }
    }
}

/// The decoding half of a connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// The largest size that a table size update may choose.
    limit: usize,
    /// The limit fell below the size in use: the next block must begin with a size update (RFC 7541 4.2).
    update_due: bool,
    /// Takes the fields of a section that is over its limit.
    scratch: Fields,
}

impl Decoder {
    /// A decoder whose peer may use a dynamic table of up to `limit` bytes (at most 65 535), and the default size until it
    /// knows that.
    pub fn new(limit: u32) -> Self {
        let default = super::DEFAULT_TABLE_SIZE as usize;
        let limit = (limit as usize).clamp(default, MAX_TABLE_SIZE);
        Self { table: Table::new(default), limit, update_due: false, scratch: Fields::default() }
    }

    /// The peer acknowledged this `SETTINGS_HEADER_TABLE_SIZE`: it is the limit from now on.
    pub fn set_limit(&mut self, limit: u32) {
        self.limit = (limit as usize).min(MAX_TABLE_SIZE);
        self.update_due = self.table.max_size() > self.limit;
    }

    /// Appends the fields of a whole block to `fields`. Returns `Ok(false)` if the section is larger than `max_section` (names,
    /// values and 32 bytes for each field, RFC 9113 6.5.2); `fields` then has a part of it, which is to be dropped.
    pub fn decode(&mut self, block: &[u8], fields: &mut Fields, max_section: usize) -> Result<bool, Error> {
        let mut input = block;
        let mut room = Room { left: max_section, exceeded: false };
        self.resize(&mut input)?;
        while let Some(first) = input.first() {
            match first {
                0x80.. => self.indexed(&mut input, fields, &mut room)?,
                0x40..0x80 => self.literal(6, true, false, &mut input, fields, &mut room)?,
                0x20..0x40 => return Err(Error::TableSize),
                _ => self.literal(4, false, *first >= 0x10, &mut input, fields, &mut room)?,
            }
        }
        Ok(!room.exceeded)
    }

    /// Table size updates, which may only stand at the start of a block (RFC 7541 4.2, 6.3).
    fn resize(&mut self, input: &mut &[u8]) -> Result<(), Error> {
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

    /// An indexed field line (RFC 7541 6.1).
    fn indexed(&mut self, input: &mut &[u8], fields: &mut Fields, room: &mut Room) -> Result<(), Error> {
        let (name, value) = self.entry(integer(7, input)?)?;
        room.take(name.as_bytes().len() + value.len());
        if !room.exceeded {
            fields.push(name, value);
        }
        Ok(())
    }

    /// A literal field line (RFC 7541 6.2), which enters the dynamic table if `index` is set.
    fn literal(
        &mut self,
        prefix: u32,
        index: bool,
        sensitive: bool,
        input: &mut &[u8],
        fields: &mut Fields,
        room: &mut Room,
    ) -> Result<(), Error> {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let sink = if room.exceeded { &mut scratch } else { fields };
        let mut open = sink.open();
        match integer(prefix, input)? {
            0 => {
                let before = open.arena().len();
                string(input, open.arena())?;
                // Longer than what [`Fields`] can hold, so it is not to be kept.
                room.exceeded |= open.arena().len() - before > MAX_TABLE_SIZE;
                open.end_name();
            }
            place => match self.entry(place)?.0 {
                Name::Known(known) => open.known(known),
                Name::Other(bytes) => {
                    open.arena().extend_from_slice(bytes);
                    open.end_name();
                }
            },
        }
        string(input, open.arena())?;
        open.finish(sensitive);
        if let Some(field) = sink.iter().next_back() {
            room.take(field.name.as_bytes().len() + field.value.len());
            if index {
                self.table.insert(field.name, field.value);
            }
        }
        self.scratch = scratch;
        Ok(())
    }

    /// The entry at this index of both tables (RFC 7541 2.3.3).
    fn entry(&self, index: usize) -> Result<(Name<'_>, &[u8]), Error> {
        match static_table::entry(index) {
            Some((known, value)) => Ok((Name::Known(known), value)),
            None => {
                index.checked_sub(static_table::LEN + 1).and_then(|place| self.table.get(place)).ok_or(Error::Index)
            }
        }
    }

    /// The size that the dynamic table counts, without the room that it may still take.
    #[cfg(test)]
    pub(super) fn table_size(&self) -> usize {
        (0..self.table.len())
            .filter_map(|place| self.table.get(place))
            .map(|(name, value)| name.as_bytes().len() + value.len() + ENTRY_OVERHEAD)
            .sum()
    }
}

/// An integer (RFC 7541 5.1).
fn integer(prefix: u32, input: &mut &[u8]) -> Result<usize, Error> {
    match integer::decode(prefix, input) {
        Ok(value) => usize::try_from(value).map_err(|_| Error::Integer),
        Err(IntegerError::Incomplete) => Err(Error::Truncated),
        Err(IntegerError::Overflow) => Err(Error::Integer),
    }
}

/// A string (RFC 7541 5.2), appended to `out`.
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
