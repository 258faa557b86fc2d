//! Facts of a certificate that rustls does not tell: until when it is valid, its subject and its names. Reads just enough
//! DER (X.690) to find them (RFC 5280 section 4.1); anything unexpected is `None`, never a panic.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const BOOLEAN: u8 = 0x01;
const OCTET_STRING: u8 = 0x04;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
/// `dNSName` among the general names (RFC 5280 section 4.2.1.6).
const DNS_NAME: u8 = 0x82;
/// Object identifier of the alternative names of the subject, 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];

/// The attributes with a short name (RFC 4514 section 3), by their encoded object identifier.
const SHORT_NAMES: [(&[u8], &str); 9] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID"),
    (&[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC"),
];

/// Until when the DER `certificate` is valid (notAfter). Moments before 1970 are 1970.
pub fn expiry(certificate: &[u8]) -> Option<SystemTime> {
    let fields = Fields::read(certificate)?;
    let not_before = element(fields.validity)?;
    time(&element(not_before.rest)?)
}

/// The subject of the DER `certificate` as text (RFC 4514): the most specific part first, as in `CN=a,O=b,C=c`. ASCII
/// without control characters, and without white space at its ends: all else is escaped, so it is fit for a header
/// field. Empty for an empty subject.
pub fn subject(certificate: &[u8]) -> Option<String> {
    let mut names = Vec::new();
    let mut rest = Fields::read(certificate)?.subject;
    while !rest.is_empty() {
        let name = element(rest)?;
        names.push(relative_name(name.content_of(SET)?)?);
        rest = name.rest;
    }
    names.reverse();
    Some(names.join(","))
}

/// The DNS names among the alternative names of the DER `certificate`, in lower case. Empty if there are none, or if the
/// certificate cannot be read.
pub(super) fn dns_names(certificate: &[u8]) -> Vec<String> {
    let names = alternative_names(certificate).unwrap_or_default();
    let (mut rest, mut found) = (names, Vec::new());
    while let Some(name) = element(rest) {
        if let Some(Ok(text)) = name.content_of(DNS_NAME).map(std::str::from_utf8) {
            found.push(text.to_ascii_lowercase());
        }
        rest = name.rest;
    }
    found
}

/// The content of the extension of alternative names.
fn alternative_names(certificate: &[u8]) -> Option<&[u8]> {
    let mut field = element(Fields::read(certificate)?.after_subject)?;
    while field.tag != EXTENSIONS {
        field = element(field.rest)?;
    }
    let mut rest = element(field.content)?.content_of(SEQUENCE)?;
    loop {
        let extension = element(rest)?;
        let identifier = element(extension.content_of(SEQUENCE)?)?;
        if identifier.content_of(OID)? == ALTERNATIVE_NAMES {
            let value = element(identifier.rest)?;
            // Whether it is critical is said only where it is.
            let value = if value.tag == BOOLEAN { element(value.rest)? } else { value };
            return element(value.content_of(OCTET_STRING)?)?.content_of(SEQUENCE);
        }
        rest = extension.rest;
    }
}

struct Fields<'a> {
    validity: &'a [u8],
    subject: &'a [u8],
    after_subject: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Walks to the wanted fields: version (optional), serial number, algorithm, issuer, validity, subject.
    fn read(certificate: &'a [u8]) -> Option<Self> {
        let to_be_signed = element(element(certificate)?.content_of(SEQUENCE)?)?.content_of(SEQUENCE)?;
        let first = element(to_be_signed)?;
        let serial = if first.tag == VERSION { element(first.rest)? } else { first };
        let algorithm = element(serial.rest)?;
        let issuer = element(algorithm.rest)?;
        let validity = element(issuer.rest)?;
        let subject = element(validity.rest)?;
        Some(Self {
            validity: validity.content_of(SEQUENCE)?,
            subject: subject.content_of(SEQUENCE)?,
            after_subject: subject.rest,
        })
    }
}

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    /// All of it: tag, length and content.
    encoded: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Element<'a> {
    fn content_of(&self, tag: u8) -> Option<&'a [u8]> {
        (self.tag == tag).then_some(self.content)
    }
}

/// Reads the element at the start of `input`.
fn element(input: &[u8]) -> Option<Element<'_>> {
    let ([tag, first], rest) = input.split_first_chunk::<2>()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    let (encoded, _) = input.split_at_checked(input.len() - rest.len())?;
    Some(Element { tag: *tag, content, encoded, rest })
}

/// One relative name, a set of at least one attribute: `CN=a` or `CN=a+UID=b`.
fn relative_name(mut set: &[u8]) -> Option<String> {
    let mut text = String::new();
    while !set.is_empty() {
        let attribute = element(set)?;
        let kind = element(attribute.content_of(SEQUENCE)?)?;
        let value = element(kind.rest)?;
        if !text.is_empty() {
            text.push('+');
        }
        push_attribute(&mut text, kind.content_of(OID)?, &value)?;
        set = attribute.rest;
    }
    (!text.is_empty()).then_some(text)
}

fn push_attribute(text: &mut String, kind: &[u8], value: &Element<'_>) -> Option<()> {
    let short = SHORT_NAMES.iter().find(|(known, _)| *known == kind).map(|(_, short)| *short);
    match short {
        Some(short) => text.push_str(short),
        None => push_oid(text, kind)?,
    }
    text.push('=');
    let is_text = matches!(value.tag, UTF8_STRING | PRINTABLE_STRING | IA5_STRING);
    if is_text && short.is_some() && std::str::from_utf8(value.content).is_ok() {
        push_escaped(text, value.content);
    } else {
        text.push('#');
        push_hex(text, value.encoded);
    }
    Some(())
}

/// The value of an attribute, escaped (RFC 4514 section 2.4). White space at its ends is escaped by number: after a mere
/// backslash it would still be white space at the end of a field value, which is no part of it.
fn push_escaped(text: &mut String, value: &[u8]) {
    for (place, byte) in value.iter().enumerate() {
        let is_edge = place == 0 || place + 1 == value.len();
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => text.extend(['\\', char::from(*byte)]),
            b'#' if place == 0 => text.push_str("\\#"),
            b' ' if is_edge => text.push_str("\\20"),
            b' '..=b'~' => text.push(char::from(*byte)),
            _ => {
                text.push('\\');
                push_hex(text, &[*byte]);
            }
        }
    }
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
}

/// An object identifier in dotted form (X.690 section 8.19). `None` if it does not end, or a number is beyond 64 bits:
/// cut short it could be taken for another.
fn push_oid(text: &mut String, encoded: &[u8]) -> Option<()> {
    let mut value = 0_u64;
    let mut is_first = true;
    if encoded.last().is_none_or(|last| last & 0x80 != 0) {
        return None;
    }
    for byte in encoded {
        value = value.checked_mul(1 << 7)? | u64::from(byte & 0x7f);
        if byte & 0x80 != 0 {
            continue;
        }
        let _ = match (is_first, value) {
            (true, 0..80) => write!(text, "{}.{}", value / 40, value % 40),
            (true, _) => write!(text, "2.{}", value - 80),
            (false, _) => write!(text, ".{value}"),
        };
        (is_first, value) = (false, 0);
    }
    Some(())
}

/// A moment (RFC 5280 section 4.1.2.5): always with seconds, always in UTC.
fn time(element: &Element<'_>) -> Option<SystemTime> {
    let (year, rest) = match element.tag {
        UTC_TIME => {
            let (year, rest) = decimal(element.content, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => decimal(element.content, 4)?,
        _ => return None,
    };
    let (month, rest) = decimal(rest, 2)?;
    let (day, rest) = decimal(rest, 2)?;
    let (hour, rest) = decimal(rest, 2)?;
    let (minute, rest) = decimal(rest, 2)?;
    let (second, rest) = decimal(rest, 2)?;
    if rest != b"Z" || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let seconds = days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(seconds).unwrap_or_default()))
}

fn decimal(input: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (number, rest) = input.split_at_checked(digits)?;
    let text = std::str::from_utf8(number).ok()?;
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?.map(|value| (value, rest))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March here, so that the leap day is last.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// Year, month and day of a moment in seconds since 1970.
pub(super) fn civil_date(seconds: u64) -> (i64, i64, i64) {
    let days = i64::try_from(seconds / 86_400).unwrap_or_default();
    // 400 years have 146 097 days; the estimate is never late and at most a year early.
    let mut year = 1970 + days * 400 / 146_097 - 1;
    while days_since_epoch(year + 1, 1, 1) <= days {
        year += 1;
    }
    let month = (1..=12).rev().find(|month| days_since_epoch(year, *month, 1) <= days).unwrap_or(1);
    (year, month, days - days_since_epoch(year, month, 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_both_forms() {
        let read = |tag, content: &[u8]| {
            let moment = time(&Element { tag, content, encoded: &[], rest: &[] })?;
            Some(moment.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs())
        };
        assert_eq!(read(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(read(UTC_TIME, b"000229123456Z"), Some(951_827_696));
        assert_eq!(read(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(read(GENERALIZED_TIME, b"20500101000000Z"), Some(2_524_608_000));
        assert_eq!(read(GENERALIZED_TIME, b"99991231235959Z"), Some(253_402_300_799));
        assert_eq!(read(GENERALIZED_TIME, b"19500101000000Z"), Some(0));
        for bad in [&b"2050010100000Z"[..], b"20501301000000Z", b"20500101000000", b"2050+101000000Z", b""] {
            assert_eq!(read(GENERALIZED_TIME, bad), None);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, (1970, 1, 1)),
            (86_399, (1970, 1, 1)),
            (951_827_696, (2000, 2, 29)),
            (951_868_800, (2000, 3, 1)),
            (1_704_067_199, (2023, 12, 31)),
            (1_704_067_200, (2024, 1, 1)),
            (4_107_542_400, (2100, 3, 1)),
            (253_402_300_799, (9999, 12, 31)),
        ] {
            assert_eq!(civil_date(seconds), date, "{seconds}");
        }
    }

    #[test]
    fn values_are_escaped_and_unknown_ones_in_hex() {
        let mut text = String::new();
        push_escaped(&mut text, " a,b+\"\\ü\r\n#= ".as_bytes());
        assert_eq!(text, r#"\20a\,b\+\"\\\c3\bc\0d\0a#\=\20"#);
        text.clear();
        push_escaped(&mut text, b"#x");
        assert_eq!(text, r"\#x");
        text.clear();
        push_attribute(&mut text, &[0x2a, 0x86, 0x48], &element(b"\x0c\x02hi").unwrap()).unwrap();
        assert_eq!(text, "1.2.840=#0c026869");
        let common_name = |value| {
            let mut text = String::new();
            push_attribute(&mut text, &[0x55, 4, 3], &element(value).unwrap()).unwrap();
            text
        };
        assert_eq!(common_name(b"\x0c\x02hi"), "CN=hi");
        assert_eq!(common_name(b"\x13\x02h\xe9"), "CN=#130268e9", "no UTF-8");
        assert_eq!(common_name(b"\x1e\x02\0h"), "CN=#1e020068", "two bytes a character");
    }

    #[test]
    fn identifiers_are_whole_or_refused() {
        let dotted = |encoded: &[u8]| {
            let mut text = String::new();
            push_oid(&mut text, encoded).map(|()| text)
        };
        assert_eq!(dotted(&[0x88, 0x37, 3]).as_deref(), Some("2.999.3"));
        assert_eq!(dotted(&[0x2a, 0x86]), None);
        assert_eq!(dotted(&[]), None);
        assert_eq!(dotted(&[0x55, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x04]), None);
        assert_eq!(relative_name(&[]), None, "a set without attributes");
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 0x80],
            &[0x30, 0x85, 1, 1, 1, 1, 1],
            &[0x30, 5, 1],
            &[0x30, 0x84, 255, 255, 255, 255],
        ] {
            assert!(element(bad).is_none());
            assert!(expiry(bad).is_none() && subject(bad).is_none());
        }
    }
}
