//! Storage of a field section: one byte arena per message and a table of ranges, without an allocation per field.
//!
//! Decoders append through [`Fields::begin_field`], the rules edit in place, encoders iterate. Well-known names are an
//! enum ([`Known`]); only other names take space in the arena. This module does not validate what it stores.

use super::name::Known;

/// Overhead of each field in the size of a section (RFC 9113 6.5.2, RFC 9114 4.2.2).
pub const FIELD_OVERHEAD: usize = 32;

/// A field name: well known, or its bytes (lower case as on the wire).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'a> {
    /// A well-known name.
    Known(Known),
    /// Any other name.
    Other(&'a [u8]),
}

impl<'a> Name<'a> {
    /// Returns the name with these bytes.
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Known::lookup(bytes).map_or(Self::Other(bytes), Self::Known)
    }

    /// Returns the bytes of the name on the wire.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Known(known) => known.as_bytes(),
            Self::Other(bytes) => bytes,
        }
    }

    /// Returns whether the name begins with `:`, so is that of a pseudo-header field.
    pub fn is_pseudo(&self) -> bool {
        self.as_bytes().first() == Some(&b':')
    }
}

impl From<Known> for Name<'_> {
    fn from(known: Known) -> Self {
        Self::Known(known)
    }
}

/// One field line, borrowed from its [`Fields`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name.
    pub name: Name<'a>,
    /// The value, as received.
    pub value: &'a [u8],
    /// Compressors must never index the field (RFC 7541 7.1.3, RFC 9204 7.1.3).
    pub sensitive: bool,
}

/// Position of a field in the arena: the bytes of the name (none for a known name), then of the value.
#[derive(Clone, Copy, Debug)]
struct Entry {
    known: Option<Known>,
    sensitive: bool,
    name_len: u16,
    start: u32,
    value_len: u32,
}

impl Entry {
    fn stored(&self) -> usize {
        usize::from(self.name_len) + self.value_len as usize
    }
}

/// Space that [`Fields::compact`] leaves for an edit without an allocation: another authority, an identifier.
const HEADROOM: usize = 512;

/// A field section in order, pseudo-header fields included.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    arena: Vec<u8>,
    entries: Vec<Entry>,
}

impl Fields {
    /// Creates an empty section with space for a browser's request and the fields added to it (32 fields, 1 KiB).
    pub fn new() -> Self {
        Self { arena: Vec::with_capacity(1024), entries: Vec::with_capacity(32) }
    }

    /// Returns the allocated bytes.
    pub fn memory(&self) -> usize {
        self.arena.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    /// Frees unused memory but for a little space to append to. A section of very many short fields, or one that was
    /// edited, may occupy a multiple of its bytes.
    pub fn compact(&mut self) {
        let needed: usize = self.entries.iter().map(Entry::stored).sum();
        let mut arena = Vec::with_capacity(needed + HEADROOM);
        for entry in &mut self.entries {
            let from = entry.start as usize;
            entry.start = arena.len() as u32;
            arena.extend_from_slice(self.arena.get(from..from + entry.stored()).unwrap_or_default());
        }
        self.arena = arena;
        self.entries.shrink_to_fit();
    }

    /// Removes all fields and keeps the memory.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.entries.clear();
    }

    /// Returns the number of field lines, pseudo-header fields included.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the bytes of all names plus all values, which `max_headers_bytes` limits.
    pub fn size(&self) -> usize {
        self.iter().map(|field| field.name.as_bytes().len() + field.value.len()).sum()
    }

    /// Returns the size of the section as HTTP/2 and HTTP/3 limit it: names, values and [`FIELD_OVERHEAD`] for each field.
    pub fn section_size(&self) -> usize {
        self.size().saturating_add(self.len().saturating_mul(FIELD_OVERHEAD))
    }

    /// Returns the bytes of all values and all other names, those of removed fields included.
    pub fn bytes(&self) -> &[u8] {
        &self.arena
    }

    /// Appends a field.
    #[inline]
    pub fn push<'n>(&mut self, name: impl Into<Name<'n>>, value: &[u8]) {
        self.push_parts(name, &[value]);
    }

    /// Appends a field whose value is the concatenation of `parts`.
    #[inline]
    pub fn push_parts<'n>(&mut self, name: impl Into<Name<'n>>, parts: &[&[u8]]) {
        let start = self.arena.len();
        let (known, name_len) = match name.into() {
            Name::Known(known) => (Some(known), 0),
            Name::Other(bytes) => {
                let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
                self.arena.extend_from_slice(bytes.get(..usize::from(len)).unwrap_or_default());
                (None, len)
            }
        };
        for part in parts {
            self.arena.extend_from_slice(part);
        }
        let value_len = (self.arena.len() - start - usize::from(name_len)) as u32;
        self.entries.push(Entry { known, sensitive: false, name_len, start: start as u32, value_len });
    }

    /// Appends a field with the value of the first field `of` between `before` and `after`; with nothing between them
    /// if there is none.
    pub fn push_around(&mut self, name: Known, before: &[&[u8]], of: Known, after: &[u8]) {
        let start = self.arena.len();
        for part in before {
            self.arena.extend_from_slice(part);
        }
        if let Some(entry) = self.entries.iter().find(|entry| entry.known == Some(of)) {
            let from = entry.start as usize + usize::from(entry.name_len);
            self.arena.extend_from_within(from..from + entry.value_len as usize);
        }
        self.arena.extend_from_slice(after);
        let value_len = (self.arena.len() - start) as u32;
        self.entries.push(Entry { known: Some(name), sensitive: false, name_len: 0, start: start as u32, value_len });
    }

    /// Appends a field of HTTP/1.1, whose name may be in any case, and returns the name if it is well known.
    #[inline]
    pub fn push_any_case(&mut self, name: &[u8], value: &[u8]) -> Option<Known> {
        let mut field = self.begin_field();
        field.arena().extend(name.iter().map(u8::to_ascii_lowercase));
        field.end_name();
        field.arena().extend_from_slice(value);
        let known = field.known;
        field.finish(false);
        known
    }

    /// Begins a field whose bytes the caller writes into the arena. It is added by [`FieldWriter::finish`].
    pub fn begin_field(&mut self) -> FieldWriter<'_> {
        let start = self.arena.len();
        FieldWriter { fields: self, start, known: None, name_len: 0 }
    }

    /// Returns the fields in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Field<'_>> + ExactSizeIterator {
        self.entries.iter().map(|entry| view(&self.arena, entry))
    }

    /// Returns the value of the first field of that name.
    pub fn first(&self, known: Known) -> Option<&[u8]> {
        self.all(known).next()
    }

    /// Returns the values of all fields of that name, in order.
    pub fn all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().filter(move |entry| entry.known == Some(known)).map(|entry| view(&self.arena, entry).value)
    }

    /// Returns whether there is a field of that name.
    pub fn contains(&self, known: Known) -> bool {
        self.entries.iter().any(|entry| entry.known == Some(known))
    }

    /// Keeps only the fields for which `keep` returns true, in order.
    pub fn retain(&mut self, mut keep: impl FnMut(Field<'_>) -> bool) {
        let arena = &self.arena;
        self.entries.retain(|entry| keep(view(arena, entry)));
    }

    /// Removes every field of that name.
    pub fn remove(&mut self, known: Known) {
        self.entries.retain(|entry| entry.known != Some(known));
    }

    /// Sets the value of the first field of that name and removes the others. Appends the field if there is none.
    pub fn set(&mut self, known: Known, parts: &[&[u8]]) {
        let Some(at) = self.entries.iter().position(|entry| entry.known == Some(known)) else {
            return self.push_parts(known, parts);
        };
        let start = self.arena.len();
        for part in parts {
            self.arena.extend_from_slice(part);
        }
        let value_len = (self.arena.len() - start) as u32;
        if let Some(entry) = self.entries.get_mut(at) {
            *entry = Entry { start: start as u32, value_len, name_len: 0, ..*entry };
        }
        self.remove_repeats(known);
    }

    /// Joins all fields of that name into the first: their values that are not empty, separated by `separator`, and then,
    /// unless `parts` is empty, the separator and the concatenation of `parts`. Appends a field of `parts` if there is none.
    pub fn join(&mut self, known: Known, separator: &[u8], parts: &[&[u8]]) {
        let Some(at) = self.entries.iter().position(|entry| entry.known == Some(known)) else {
            if !parts.is_empty() {
                self.push_parts(known, parts);
            }
            return;
        };
        let mut sensitive = false;
        let start = self.arena.len();
        for entry in self.entries.iter().filter(|entry| entry.known == Some(known)) {
            if self.arena.len() > start && entry.value_len > 0 {
                self.arena.extend_from_slice(separator);
            }
            let from = entry.start as usize + usize::from(entry.name_len);
            self.arena.extend_from_within(from..from + entry.value_len as usize);
            sensitive |= entry.sensitive;
        }
        if !parts.is_empty() && self.arena.len() > start {
            self.arena.extend_from_slice(separator);
        }
        for part in parts {
            self.arena.extend_from_slice(part);
        }
        let value_len = (self.arena.len() - start) as u32;
        if let Some(entry) = self.entries.get_mut(at) {
            *entry = Entry { known: Some(known), sensitive, name_len: 0, start: start as u32, value_len };
        }
        self.remove_repeats(known);
    }

    /// Inserts a field before all others; for a pseudo-header field that is derived late.
    pub fn prepend(&mut self, known: Known, value: &[u8]) {
        self.push(known, value);
        self.entries.rotate_right(1);
    }

    /// Removes all fields of that name but the first.
    fn remove_repeats(&mut self, known: Known) {
        if self.all(known).nth(1).is_none() {
            return;
        }
        let mut seen = false;
        self.entries.retain(|entry| entry.known != Some(known) || !std::mem::replace(&mut seen, true));
    }
}

/// A field being written, see [`Fields::begin_field`]. Dropping it without [`FieldWriter::finish`] removes its bytes.
#[derive(Debug)]
pub struct FieldWriter<'a> {
    fields: &'a mut Fields,
    start: usize,
    known: Option<Known>,
    name_len: u16,
}

impl FieldWriter<'_> {
    /// Returns the arena. Append the name, call [`FieldWriter::end_name`], then append the value.
    pub fn arena(&mut self) -> &mut Vec<u8> {
        &mut self.fields.arena
    }

    /// Sets a known name. The caller must not append the name.
    pub fn known(&mut self, known: Known) {
        self.known = Some(known);
    }

    /// Ends the name. If it is well known, its bytes are removed from the arena.
    pub fn end_name(&mut self) {
        let bytes = self.fields.arena.get(self.start..).unwrap_or_default();
        self.known = Known::lookup(bytes);
        if self.known.is_some() {
            self.fields.arena.truncate(self.start);
        } else {
            // A name beyond 64 KiB exceeds the header limits of every caller; truncate it rather than wrap.
            self.name_len = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        }
    }

    /// Adds the field. The bytes appended after the name are its value.
    pub fn finish(mut self, sensitive: bool) {
        let end = self.fields.arena.len();
        let value_len = (end - self.start - usize::from(self.name_len)) as u32;
        let entry =
            Entry { known: self.known, sensitive, name_len: self.name_len, start: self.start as u32, value_len };
        self.fields.entries.push(entry);
        self.start = end; // nothing left for `drop` to take back
    }
}

impl Drop for FieldWriter<'_> {
    fn drop(&mut self) {
        self.fields.arena.truncate(self.start);
    }
}

fn view<'a>(arena: &'a [u8], entry: &Entry) -> Field<'a> {
    let start = entry.start as usize;
    let middle = start + usize::from(entry.name_len);
    let name = match entry.known {
        Some(known) => Name::Known(known),
        None => Name::Other(arena.get(start..middle).unwrap_or_default()),
    };
    let value = arena.get(middle..middle + entry.value_len as usize).unwrap_or_default();
    Field { name, value, sensitive: entry.sensitive }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compact_section_has_the_same_fields_in_less_memory() {
        let mut fields = Fields::new();
        fields.push(Known::Path, b"/");
        fields.push(Name::from_bytes(b"x-other"), b"one");
        for _ in 0..2500 {
            fields.push(Known::Cookie, b"a");
        }
        fields.join(Known::Cookie, b"; ", &[]);
        fields.set(Known::Path, &[b"/two"]);
        let before: Vec<_> =
            fields.iter().map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec())).collect();
        assert!(fields.memory() > 40_000, "{}", fields.memory());
        fields.compact();
        let after: Vec<_> = fields.iter().map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec())).collect();
        assert_eq!(after, before);
        assert!(fields.memory() < fields.size() + 1000, "{} for {}", fields.memory(), fields.size());
        fields.push(Known::Via, b"2 proxy");
        assert_eq!(fields.first(Known::Via), Some(&b"2 proxy"[..]));
    }

    fn lines(fields: &Fields) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.iter().map(|field| (text(field.name.as_bytes()), text(field.value))).collect()
    }

    #[test]
    fn known_and_other_names_keep_their_order() {
        let mut fields = Fields::new();
        fields.push(Known::Method, b"GET");
        fields.push(Name::from_bytes(b"x-one"), b"1");
        fields.push(Name::from_bytes(b"accept"), b"*/*");
        let expected = [(":method", "GET"), ("x-one", "1"), ("accept", "*/*")];
        assert_eq!(lines(&fields), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(fields.first(Known::Accept), Some(&b"*/*"[..]));
        assert_eq!(fields.size(), 10 + 6 + 9);
        assert_eq!(fields.section_size(), 25 + 3 * 32);
    }

    #[test]
    fn set_replaces_in_place_and_drops_repeats() {
        let mut fields = Fields::new();
        for value in [&b"a"[..], b"b"] {
            fields.push(Known::Host, value);
        }
        fields.push(Known::Accept, b"x");
        fields.set(Known::Host, &[b"new", b":1"]);
        assert_eq!(fields.all(Known::Host).collect::<Vec<_>>(), [b"new:1"]);
        assert_eq!(lines(&fields).first().map(|line| line.0.clone()), Some("host".to_owned()));
    }

    #[test]
    fn join_makes_one_line_of_all() {
        let mut fields = Fields::new();
        fields.join(Known::Cookie, b"; ", &[]);
        assert!(fields.is_empty());
        fields.join(Known::Via, b", ", &[b"2.0 ", b"a"]);
        fields.push(Known::Cookie, b"x=1");
        fields.push(Known::Accept, b"*/*");
        fields.push(Known::Cookie, b"y=2");
        fields.join(Known::Cookie, b"; ", &[]);
        fields.join(Known::Via, b", ", &[b"1.1 b"]);
        let expected = [("via", "2.0 a, 1.1 b"), ("cookie", "x=1; y=2"), ("accept", "*/*")];
        assert_eq!(lines(&fields), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn join_leaves_out_empty_values() {
        let mut fields = Fields::new();
        for value in [&b""[..], b"a=b", b"", b"c=d", b""] {
            fields.push(Known::Cookie, value);
        }
        fields.join(Known::Cookie, b"; ", &[]);
        assert_eq!(fields.all(Known::Cookie).collect::<Vec<_>>(), [b"a=b; c=d"], "a value never ends with white space");
    }

    #[test]
    fn an_unfinished_field_is_removed() {
        let mut fields = Fields::new();
        fields.begin_field().arena().extend_from_slice(b"half");
        fields.push(Known::Accept, b"x");
        assert_eq!(fields.len(), 1);
        assert_eq!(fields.first(Known::Accept), Some(&b"x"[..]));
    }
}
