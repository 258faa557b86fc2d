//! Fields to bytes (RFC 7541 6): cheap first, small second.
//!
//! Values are sent as they are, without Huffman coding, and enter the dynamic table only if their name tends to repeat its
//! values and this value was seen before; so what is unique to a request costs one copy and never displaces what repeats.
//! Credentials are marked as never to be indexed, by anyone (RFC 7541 7.1.3).

use super::{ENTRY_OVERHEAD, static_table, table::Table};
use crate::{
    integer,
    message::{Field, Known, Name},
};

/// The largest dynamic table used, whatever the peer allows: it is scanned by nobody, but both sides pay memory for it.
const MAX_TABLE_SIZE: usize = 4096;
/// Values longer than this are not worth a fourth of the table.
const MAX_INDEXED_VALUE: usize = MAX_TABLE_SIZE / 4;
/// Slots of the memory of recent values; a power of two, twice the entries that fit in the table.
const SLOTS: usize = 256;

/// What becomes of a field line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// Worth an entry if its value repeats.
    Index,
    /// Likely unique.
    Literal,
    /// A secret.
    Never,
}

/// The plan for a name. Those not listed are sent as literals.
fn plan(name: Known) -> Plan {
    match name {
        Known::Authorization | Known::Cookie | Known::ProxyAuthorization | Known::SetCookie => Plan::Never,
        Known::Authority
        | Known::Accept
        | Known::AcceptCharset
        | Known::AcceptEncoding
        | Known::AcceptLanguage
        | Known::AccessControlRequestHeaders
        | Known::AccessControlRequestMethod
        | Known::CacheControl
        | Known::ContentEncoding
        | Known::ContentType
        | Known::Host
        | Known::Method
        | Known::Origin
        | Known::Priority
        | Known::Protocol
        | Known::Te
        | Known::UpgradeInsecureRequests
        | Known::UserAgent
        | Known::Via
        | Known::XForwardedHost
        | Known::XForwardedPort
        | Known::XForwardedProto => Plan::Index,
        _ => Plan::Literal,
    }
}

/// A value seen recently: its hash and, if it is in the table, the number of its entry.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u32,
    entry: Option<u32>,
}

/// A table size update that the peer must hear of before the next field line (RFC 7541 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Update {
    /// The smallest size since the last block.
    least: usize,
    size: usize,
}

/// The encoding half of a connection.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    update: Option<Update>,
    slots: Box<[Slot]>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder for a peer that announced nothing yet.
    pub fn new() -> Self {
        Self {
            table: Table::new(super::DEFAULT_TABLE_SIZE as usize),
            update: None,
            slots: vec![Slot::default(); SLOTS].into_boxed_slice(),
        }
    }

    /// The peer announced this `SETTINGS_HEADER_TABLE_SIZE`. The next block tells it what became of it.
    pub fn set_limit(&mut self, limit: u32) {
        let size = (limit as usize).min(MAX_TABLE_SIZE);
        let least = self.update.map_or(self.table.max_size(), |update| update.least).min(size);
        self.update = Some(Update { least, size });
    }

    /// Appends the block for these fields.
    pub fn encode<'a>(&mut self, fields: impl Iterator<Item = Field<'a>>, out: &mut Vec<u8>) {
        self.resize(out);
        for field in fields {
            match field.name {
                Name::Known(known) => self.known(known, &field, out),
                Name::Other(name) => {
                    out.push(if field.sensitive { 0x10 } else { 0 });
                    string(name, out);
                    string(field.value, out);
                }
            }
        }
    }

    fn resize(&mut self, out: &mut Vec<u8>) {
        let Some(Update { least, size }) = self.update.take() else { return };
        if least < size {
            integer::encode(5, 0x20, least as u64, out);
        }
        integer::encode(5, 0x20, size as u64, out);
        self.table.resize(least);
        self.table.resize(size);
    }

    fn known(&mut self, name: Known, field: &Field<'_>, out: &mut Vec<u8>) {
        // What came as never indexed goes on as that (RFC 7541 6.2.3).
        if !field.sensitive
            && let Some(index) = static_table::full_index(name, field.value)
        {
            return integer::encode(7, 0x80, index as u64, out);
        }
        match plan(name) {
            _ if field.sensitive => literal(4, 0x10, name, field.value, out),
            Plan::Never => literal(4, 0x10, name, field.value, out),
            Plan::Index if field.value.len() <= MAX_INDEXED_VALUE => self.repeating(name, field.value, out),
            Plan::Index | Plan::Literal => literal(4, 0, name, field.value, out),
        }
    }

    /// A field whose value may have been sent before: by index if it is in the table, into the table if it was seen, else as
    /// a literal that is remembered.
    fn repeating(&mut self, name: Known, value: &[u8], out: &mut Vec<u8>) {
        let hash = hash(name, value);
        let Some(slot) = self.slots.get_mut(hash as usize % SLOTS) else { return };
        if slot.hash != hash {
            *slot = Slot { hash, entry: None };
            return literal(4, 0, name, value, out);
        }
        if let Some(entry) = slot.entry {
            let place = self.table.inserted().wrapping_sub(entry).wrapping_sub(1) as usize;
            if self.table.get(place) == Some((Name::Known(name), value)) {
                return integer::encode(7, 0x80, (static_table::LEN + 1 + place) as u64, out);
            }
        }
        if name.as_bytes().len() + value.len() + ENTRY_OVERHEAD > self.table.max_size() {
            return literal(4, 0, name, value, out);
        }
        slot.entry = Some(self.table.inserted());
        self.table.insert(Name::Known(name), value);
        literal(6, 0x40, name, value, out);
    }
}

/// A literal field line with the representation given by `prefix` bits and `flags`, its name by static index if there is one.
fn literal(prefix: u32, flags: u8, name: Known, value: &[u8], out: &mut Vec<u8>) {
    if let Some(index) = static_table::name_index(name) {
        integer::encode(prefix, flags, index as u64, out);
    } else {
        out.push(flags);
        string(name.as_bytes(), out);
    }
    string(value, out);
}

/// A string as it is (RFC 7541 5.2 with H = 0).
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    integer::encode(7, 0, bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// A hash good enough to find repeats; a collision costs bytes, never correctness.
fn hash(name: Known, value: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut state = (name as u64 + 1).wrapping_mul(FACTOR) ^ value.len() as u64;
    let (words, rest) = value.as_chunks::<8>();
    for word in words {
        state = (state.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(FACTOR);
    }
    for byte in rest {
        state = (state.rotate_left(9) ^ u64::from(*byte)).wrapping_mul(FACTOR);
    }
    (state >> 32) as u32
}
