//! HPACK encoder (RFC 7541 6), optimised for speed first and size second.
//!
//! Values are not Huffman-coded. They enter the dynamic table only if their name tends to repeat its values and the
//! value was sent before. So a unique value costs one copy and never evicts a repeated one. Credentials are sent as
//! never-indexed literals (RFC 7541 7.1.3).

use super::{ENTRY_OVERHEAD, static_table, table::Table};
use crate::{
    integer,
    message::{Field, Known, Name},
};

/// Largest dynamic table used, whatever the peer allows. Both sides pay memory for it.
const MAX_TABLE_SIZE: usize = 4096;
/// Longer values, a quarter of the table, are not inserted.
const MAX_INDEXED_VALUE: usize = MAX_TABLE_SIZE / 4;
/// Slots of the cache of recent values: a power of two, twice the entries that fit in the table.
const SLOTS: usize = 256;

/// How a field line is encoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Indexing {
    /// Inserted into the table if its value repeats.
    IfRepeated,
    /// A literal, because its value is likely unique.
    Without,
    /// A never-indexed literal.
    Never,
}

fn indexing(name: Known) -> Indexing {
    match name {
        Known::Authorization | Known::Cookie | Known::ProxyAuthorization | Known::SetCookie => Indexing::Never,
        Known::Accept
        | Known::AcceptCharset
        | Known::AcceptEncoding
        | Known::AcceptLanguage
        | Known::AcceptRanges
        | Known::AccessControlAllowCredentials
        | Known::AccessControlAllowHeaders
        | Known::AccessControlAllowMethods
        | Known::AccessControlAllowOrigin
        | Known::AccessControlExposeHeaders
        | Known::AccessControlRequestHeaders
        | Known::AccessControlRequestMethod
        | Known::AltSvc
        | Known::Authority
        | Known::CacheControl
        | Known::ContentEncoding
        | Known::ContentLanguage
        | Known::ContentSecurityPolicy
        | Known::ContentType
        | Known::Date
        | Known::GrpcStatus
        | Known::Host
        | Known::Method
        | Known::Origin
        | Known::Priority
        | Known::Protocol
        | Known::Server
        | Known::StrictTransportSecurity
        | Known::Te
        | Known::TimingAllowOrigin
        | Known::UpgradeInsecureRequests
        | Known::UserAgent
        | Known::Vary
        | Known::Via
        | Known::XContentTypeOptions
        | Known::XForwardedHost
        | Known::XForwardedPort
        | Known::XForwardedProto
        | Known::XFrameOptions
        | Known::XXssProtection => Indexing::IfRepeated,
        _ => Indexing::Without,
    }
}

/// A value sent recently: its hash and, if it is in the table, the number of its entry.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    hash: u32,
    entry: Option<u32>,
}

/// A table size update to send before the next field line (RFC 7541 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct SizeUpdate {
    /// Smallest size since the last block.
    smallest: usize,
    size: usize,
}

/// The HPACK encoder of a connection.
#[derive(Debug)]
pub struct Encoder {
    table: Table,
    update: Option<SizeUpdate>,
    slots: Box<[Slot]>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// Creates an encoder for a peer that has announced no settings.
    pub fn new() -> Self {
        Self {
            table: Table::new(super::DEFAULT_TABLE_SIZE as usize),
            update: None,
            slots: vec![Slot::default(); SLOTS].into_boxed_slice(),
        }
    }

    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.table.held() + size_of_val(&*self.slots)
    }

    /// Applies a `SETTINGS_HEADER_TABLE_SIZE` of the peer. The next block contains the size update.
    pub fn set_limit(&mut self, limit: u32) {
        let size = (limit as usize).min(MAX_TABLE_SIZE);
        let smallest = self.update.map_or(self.table.max_size(), |update| update.smallest).min(size);
        self.update = Some(SizeUpdate { smallest, size });
    }

    /// Appends a block with these fields.
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
        let Some(SizeUpdate { smallest, size }) = self.update.take() else { return };
        if smallest < size {
            integer::encode(5, 0x20, smallest as u64, out);
        }
        integer::encode(5, 0x20, size as u64, out);
        self.table.resize(smallest);
        self.table.resize(size);
    }

    fn known(&mut self, name: Known, field: &Field<'_>, out: &mut Vec<u8>) {
        // A field received as never-indexed is forwarded as one (RFC 7541 6.2.3).
        if !field.sensitive
            && let Some(index) = static_table::full_index(name, field.value)
        {
            return integer::encode(7, 0x80, index as u64, out);
        }
        match indexing(name) {
            _ if field.sensitive => literal(4, 0x10, name, field.value, out),
            Indexing::Never => literal(4, 0x10, name, field.value, out),
            Indexing::IfRepeated if field.value.len() <= MAX_INDEXED_VALUE => self.repeatable(name, field.value, out),
            Indexing::IfRepeated | Indexing::Without => literal(4, 0, name, field.value, out),
        }
    }

    /// Encodes a field whose value may repeat: by index if it is in the table, with insertion if it was sent before,
    /// else as a literal whose hash is stored.
    fn repeatable(&mut self, name: Known, value: &[u8], out: &mut Vec<u8>) {
        let hash = hash(name, value);
        let Some(slot) = self.slots.get_mut(hash as usize % SLOTS) else { return };
        if slot.hash != hash {
            *slot = Slot { hash, entry: None };
            return literal(4, 0, name, value, out);
        }
        if let Some(entry) = slot.entry {
            let index = self.table.inserted().wrapping_sub(entry).wrapping_sub(1) as usize;
            if self.table.get(index) == Some((Name::Known(name), value)) {
                return integer::encode(7, 0x80, (static_table::LEN + 1 + index) as u64, out);
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

/// Appends a literal field line of the representation given by `prefix` bits and `flags`, with a static index for its
/// name if there is one.
fn literal(prefix: u32, flags: u8, name: Known, value: &[u8], out: &mut Vec<u8>) {
    if let Some(index) = static_table::name_index(name) {
        integer::encode(prefix, flags, index as u64, out);
    } else {
        out.push(flags);
        string(name.as_bytes(), out);
    }
    string(value, out);
}

/// Appends a string without Huffman coding (RFC 7541 5.2).
fn string(bytes: &[u8], out: &mut Vec<u8>) {
    integer::encode(7, 0, bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Hash for the cache of recent values; a collision costs bytes, never correctness.
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
