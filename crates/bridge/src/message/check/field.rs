//! Checks of single names and values (RFC 9110 5, RFC 9114 4.2).

use super::error::{CheckError, malformed};
use crate::message::{Field, Fields, Known, Name};

/// Checks the fields of one section. Control characters are rare, so they are searched once in all bytes of the
/// section.
pub(super) struct Scanner {
    /// The section contains a control character, so each value must be searched.
    has_control: bool,
}

impl Scanner {
    pub(super) fn new(fields: &Fields) -> Self {
        // Without early exit, so that it compiles to vector instructions.
        let found = fields.bytes().iter().fold(0, |found, byte| found | u8::from(byte.is_ascii_control()));
        Self { has_control: found != 0 }
    }

    /// Checks name and value of a field other than a pseudo-header field.
    #[inline]
    pub(super) fn check(&self, field: &Field<'_>) -> Result<(), CheckError> {
        if let Name::Other(name) = field.name {
            check_name(name)?;
        }
        self.check_value(field.value)
    }

    #[inline]
    pub(super) fn check_value(&self, value: &[u8]) -> Result<(), CheckError> {
        let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if is_space(value.first()) || is_space(value.last()) {
            return Err(malformed("white space around a field value", "RFC 9113 8.2.1, RFC 9114 4.2"));
        }
        if self.has_control && has_control(value) {
            return Err(malformed("control character in a field value", "RFC 9110 5.5, RFC 9114 10.3"));
        }
        Ok(())
    }
}

pub(super) const CONNECTION_SPECIFIC: &str = "field that belongs to a connection";

/// Returns whether HTTP/2 and HTTP/3 forbid the field (RFC 9113 8.2.2, RFC 9114 4.2).
pub(super) fn is_connection_specific(name: Known) -> bool {
    matches!(
        name,
        Known::Connection | Known::KeepAlive | Known::ProxyConnection | Known::TransferEncoding | Known::Upgrade
    )
}

pub(super) fn size_of(field: &Field<'_>) -> usize {
    field.name.as_bytes().len() + field.value.len()
}

#[inline]
fn check_name(name: &[u8]) -> Result<(), CheckError> {
    if name.is_empty() {
        return Err(malformed("empty field name", "RFC 9110 5.1"));
    }
    if name.iter().all(|byte| is_class(*byte, NAME)) {
        return Ok(());
    }
    Err(if name.first() == Some(&b':') {
        malformed("unknown pseudo-header", "RFC 9114 4.3")
    } else if name.iter().any(u8::is_ascii_uppercase) {
        malformed("upper-case letter in a field name", "RFC 9114 4.2")
    } else {
        malformed("invalid character in a field name", "RFC 9110 5.1")
    })
}

/// Returns whether `bytes` is a token (RFC 9110 5.6.2).
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_class(*byte, NAME) || byte.is_ascii_uppercase())
}

/// Returns whether every name is a token and no value contains a character that ends a line or a field in HTTP/1.1, so
/// that the section is read as it is written.
pub fn is_writable(fields: &Fields) -> bool {
    let scanner = Scanner::new(fields);
    fields.iter().all(|field| {
        let is_name = match field.name {
            Name::Known(_) => true,
            Name::Other(name) => is_token(name),
        };
        is_name && !(scanner.has_control && has_control(field.value))
    })
}

fn has_control(value: &[u8]) -> bool {
    value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t')
}

/// Parses a `content-length`; repeated fields must have the same value (RFC 9110 8.6).
pub(super) fn merge_content_length(known: &mut Option<u64>, value: &[u8]) -> Result<(), CheckError> {
    let length = parse_length(value).ok_or(malformed("content-length is no number", "RFC 9110 8.6"))?;
    if known.replace(length).is_some_and(|before| before != length) {
        return Err(malformed("different content-length fields", "RFC 9110 8.6"));
    }
    Ok(())
}

fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |length, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 { None } else { length.checked_mul(10)?.checked_add(u64::from(digit)) }
    })
}

/// Class of the characters of field names in HTTP/2 and HTTP/3.
pub(super) const NAME: u8 = 1;
/// Class of the characters of a registered name (RFC 3986 3.2.2), without the percent sign.
pub(super) const HOST: u8 = 2;

#[inline]
pub(super) fn is_class(byte: u8, class: u8) -> bool {
    CLASSES.get(usize::from(byte)).is_some_and(|classes| classes & class != 0)
}

static CLASSES: [u8; 256] = classes();

#[allow(clippy::indexing_slicing, reason = "runs at compile time, where a bad index stops the build")]
const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        let c = byte as u8;
        let is_name = c.is_ascii_lowercase()
            || c.is_ascii_digit()
            || matches!(c, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~');
        let is_host = c.is_ascii_alphanumeric()
            || matches!(c, b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b',' | b';' | b'=');
        classes[byte] = if is_name { NAME } else { 0 } | if is_host { HOST } else { 0 };
        byte += 1;
    }
    classes
}
