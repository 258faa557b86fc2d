//! How a field is written: as plain text, as a member of a JSON object, or as a field of a journal entry.

use super::write;
use std::{net::SocketAddr, time::Duration};

/// The name of a field, with what surrounds it in each format.
pub(super) struct Key {
    plain: &'static [u8],
    json: &'static [u8],
    /// As `json`, with the quote that opens a string.
    json_text: &'static [u8],
    name: &'static str,
}

/// Makes a [`Key`] of a name.
macro_rules! key {
    ($name:literal) => {
        &$crate::access::format::Key::new(
            concat!(" ", $name, "=").as_bytes(),
            concat!(",\"", $name, "\":").as_bytes(),
            concat!(",\"", $name, "\":\"").as_bytes(),
            $name,
        )
    };
}
pub(super) use key;

impl Key {
    pub(super) const fn new(
        plain: &'static [u8],
        json: &'static [u8],
        json_text: &'static [u8],
        name: &'static str,
    ) -> Self {
        Self { plain, json, json_text, name }
    }
}

/// Writes the fields of a line. The methods are to be inlined, so that each key is copied with a constant length.
pub(super) trait Format {
    fn absent(out: &mut Vec<u8>, key: &Key);
    /// Begins a number or a truth value.
    fn begin_value(out: &mut Vec<u8>, key: &Key);
    fn begin_text(out: &mut Vec<u8>, key: &Key);
    fn peer_bytes(out: &mut Vec<u8>, bytes: &[u8]);
    fn end_value(out: &mut Vec<u8>);
    fn end_text(out: &mut Vec<u8>);

    /// Writes text of a peer or of the configuration; absent if empty.
    #[inline]
    fn text(out: &mut Vec<u8>, key: &Key, bytes: &[u8]) {
        if bytes.is_empty() {
            return Self::absent(out, key);
        }
        Self::begin_text(out, key);
        Self::peer_bytes(out, bytes);
        Self::end_text(out);
    }

    /// Writes a word of the program's own, which needs no escaping.
    #[inline]
    fn word(out: &mut Vec<u8>, key: &Key, word: Option<&str>) {
        let Some(word) = word else { return Self::absent(out, key) };
        Self::begin_text(out, key);
        out.extend_from_slice(word.as_bytes());
        Self::end_text(out);
    }

    /// Writes an id of `DIGITS` hexadecimal digits.
    #[inline]
    fn id<const DIGITS: usize>(out: &mut Vec<u8>, key: &Key, id: Option<u128>) {
        let Some(id) = id else { return Self::absent(out, key) };
        Self::begin_text(out, key);
        write::hex::<DIGITS>(out, id);
        Self::end_text(out);
    }

    #[inline]
    fn address(out: &mut Vec<u8>, key: &Key, address: SocketAddr) {
        Self::begin_text(out, key);
        write::address(out, address);
        Self::end_text(out);
    }

    #[inline]
    fn number(out: &mut Vec<u8>, key: &Key, number: impl Into<u64>) {
        Self::begin_value(out, key);
        write::number(out, number.into());
        Self::end_value(out);
    }

    #[inline]
    fn number_if(out: &mut Vec<u8>, key: &Key, number: Option<impl Into<u64>>) {
        match number {
            Some(number) => Self::number(out, key, number),
            None => Self::absent(out, key),
        }
    }

    /// Writes milliseconds with three decimals.
    #[inline]
    fn millis(out: &mut Vec<u8>, key: &Key, time: Option<Duration>) {
        let Some(time) = time else { return Self::absent(out, key) };
        Self::begin_value(out, key);
        write::millis(out, time);
        Self::end_value(out);
    }

    #[inline]
    fn boolean(out: &mut Vec<u8>, key: &Key, value: bool) {
        Self::begin_value(out, key);
        out.extend_from_slice(if value { b"true" } else { b"false" });
        Self::end_value(out);
    }
}

/// ` key=value`; `-` if absent.
pub(super) struct Plain;

impl Format for Plain {
    #[inline]
    fn absent(out: &mut Vec<u8>, key: &Key) {
        out.extend_from_slice(key.plain);
        out.push(b'-');
    }

    #[inline]
    fn begin_value(out: &mut Vec<u8>, key: &Key) {
        out.extend_from_slice(key.plain);
    }

    #[inline]
    fn begin_text(out: &mut Vec<u8>, key: &Key) {
        out.extend_from_slice(key.plain);
    }

    fn peer_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
        write::escaped(out, bytes);
    }

    #[inline]
    fn end_value(_: &mut Vec<u8>) {}

    #[inline]
    fn end_text(_: &mut Vec<u8>) {}
}

/// `,"key":value`; `null` if absent.
pub(super) struct Json;

impl Format for Json {
    #[inline]
    fn absent(out: &mut Vec<u8>, key: &Key) {
        out.extend_from_slice(key.json);
        out.extend_from_slice(b"null");
    }

    #[inline]
    fn begin_value(out: &mut Vec<u8>, key: &Key) {
        out.extend_from_slice(key.json);
    }

    #[inline]
    fn begin_text(out: &mut Vec<u8>, key: &Key) {
        out.extend_from_slice(key.json_text);
    }

    fn peer_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
        write::json_string(out, bytes);
    }

    #[inline]
    fn end_value(_: &mut Vec<u8>) {}

    #[inline]
    fn end_text(out: &mut Vec<u8>) {
        out.push(b'"');
    }
}

/// `KEY=value` and a newline; nothing if absent.
pub(super) struct Journal;

impl Format for Journal {
    fn absent(_: &mut Vec<u8>, _: &Key) {}

    fn begin_value(out: &mut Vec<u8>, key: &Key) {
        out.extend(key.name.bytes().map(|byte| byte.to_ascii_uppercase()));
        out.push(b'=');
    }

    fn begin_text(out: &mut Vec<u8>, key: &Key) {
        Self::begin_value(out, key);
    }

    fn peer_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
        write::escaped(out, bytes);
    }

    fn end_value(out: &mut Vec<u8>) {
        out.push(b'\n');
    }

    fn end_text(out: &mut Vec<u8>) {
        out.push(b'\n');
    }
}
