//! Properties of a certificate that rustls does not expose: expiry, subject and DNS names. Invalid certificates give
//! `None`, never a panic.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use x509_parser::asn1_rs::{Any, FromDer, Oid, Tag, ToDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{
    OID_DOMAIN_COMPONENT, OID_USERID, OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME, OID_X509_LOCALITY_NAME,
    OID_X509_ORGANIZATION_NAME, OID_X509_ORGANIZATIONAL_UNIT, OID_X509_STATE_OR_PROVINCE_NAME, OID_X509_STREET_ADDRESS,
};

/// The attributes with a short name (RFC 4514 section 3).
const SHORT_NAMES: [(Oid<'static>, &str); 9] = [
    (OID_X509_COMMON_NAME, "CN"),
    (OID_X509_COUNTRY_NAME, "C"),
    (OID_X509_LOCALITY_NAME, "L"),
    (OID_X509_STATE_OR_PROVINCE_NAME, "ST"),
    (OID_X509_STREET_ADDRESS, "STREET"),
    (OID_X509_ORGANIZATION_NAME, "O"),
    (OID_X509_ORGANIZATIONAL_UNIT, "OU"),
    (OID_USERID, "UID"),
    (OID_DOMAIN_COMPONENT, "DC"),
];

fn read(certificate: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(certificate).ok().map(|(_, certificate)| certificate)
}

/// Returns when the DER `certificate` expires (notAfter). Times before 1970 become 1970.
pub fn expiry(certificate: &[u8]) -> Option<SystemTime> {
    let seconds = u64::try_from(read(certificate)?.validity().not_after.timestamp()).unwrap_or_default();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Returns the subject of the DER `certificate` as text (RFC 4514), the most specific part first, for example
/// `CN=a,O=b,C=c`. The text is valid as a field value: other characters than printable ASCII, and white space at its
/// ends, are escaped. Empty for an empty subject.
pub fn subject(certificate: &[u8]) -> Option<String> {
    name(read(certificate)?.subject().as_raw())
}

/// Returns the DNS names among the alternative names of the DER `certificate`, in lower case. Empty if there are none,
/// or if the certificate is invalid.
pub(super) fn dns_names(certificate: &[u8]) -> Vec<String> {
    let Some(certificate) = read(certificate) else { return Vec::new() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let dns = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

/// Formats a name. Parses the elements itself because `X509Name` skips invalid data at the end of a name or of its
/// parts, and the rest could be the name of someone else.
fn name(der: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    for part in elements(single_element(der)?.data)? {
        parts.push(relative_name(part.data)?);
    }
    parts.reverse();
    Some(parts.join(","))
}

/// Formats a relative name, a set of at least one attribute: `CN=a` or `CN=a+UID=b`.
fn relative_name(set: &[u8]) -> Option<String> {
    let mut text = String::new();
    for attribute in elements(set)? {
        let [kind, value] = elements(attribute.data)?.try_into().ok()?;
        if !text.is_empty() {
            text.push('+');
        }
        push_attribute(&mut text, kind.data, &value)?;
    }
    (!text.is_empty()).then_some(text)
}

/// Splits `der` into its elements.
fn elements(mut der: &[u8]) -> Option<Vec<Any<'_>>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (rest, element) = Any::from_der(der).ok()?;
        found.push(element);
        der = rest;
    }
    Some(found)
}

fn single_element(der: &[u8]) -> Option<Any<'_>> {
    let [element] = elements(der)?.try_into().ok()?;
    Some(element)
}

fn push_attribute(text: &mut String, kind: &[u8], value: &Any<'_>) -> Option<()> {
    let short = SHORT_NAMES.iter().find(|(known, _)| known.as_bytes() == kind).map(|(_, short)| *short);
    match short {
        Some(short) => text.push_str(short),
        None => push_oid(text, kind)?,
    }
    text.push('=');
    let is_text = matches!(value.tag(), Tag::Utf8String | Tag::PrintableString | Tag::Ia5String);
    if is_text && short.is_some() && std::str::from_utf8(value.data).is_ok() {
        push_escaped(text, value.data);
    } else {
        text.push('#');
        push_hex(text, &value.to_der_vec().ok()?);
    }
    Some(())
}

/// Appends the escaped value of an attribute (RFC 4514 section 2.4). White space at its ends is escaped in hex, because
/// after a backslash it would still be at the end of a field value and be removed.
fn push_escaped(text: &mut String, value: &[u8]) {
    for (index, byte) in value.iter().enumerate() {
        let is_edge = index == 0 || index + 1 == value.len();
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => text.extend(['\\', char::from(*byte)]),
            b'#' if index == 0 => text.push_str("\\#"),
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

/// Appends an object identifier in dotted form (X.690 section 8.19). Returns `None` if it is incomplete or a number
/// exceeds 64 bits, because a truncated one could be another identifier. (`Oid` takes the first byte for the first two
/// numbers, which is wrong for 2.999.)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(encoded: &str) -> Vec<u8> {
        let digits: Vec<_> = encoded.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    }

    #[test]
    fn values_are_escaped_and_unknown_ones_in_hex() {
        let mut text = String::new();
        push_escaped(&mut text, " a,b+\"\\ü\r\n#= ".as_bytes());
        assert_eq!(text, r#"\20a\,b\+\"\\\c3\bc\0d\0a#\=\20"#);
        text.clear();
        push_escaped(&mut text, b"#x");
        assert_eq!(text, r"\#x");
        let attribute = |kind: &[u8], value| {
            let mut text = String::new();
            push_attribute(&mut text, kind, &single_element(value).unwrap()).unwrap();
            text
        };
        assert_eq!(attribute(&[0x2a, 0x86, 0x48], b"\x0c\x02hi"), "1.2.840=#0c026869");
        let common_name = |value| attribute(&[0x55, 4, 3], value);
        assert_eq!(common_name(b"\x0c\x02hi"), "CN=hi");
        assert_eq!(common_name(b"\x13\x02h*"), "CN=h*", "PrintableString as it is in practice");
        assert_eq!(common_name(b"\x13\x02h\xe9"), "CN=#130268e9", "no UTF-8");
        assert_eq!(common_name(b"\x1e\x02\0h"), "CN=#1e020068", "two bytes a character");
    }

    #[test]
    fn an_incomplete_name_is_rejected() {
        let common_name = "310a 3008 0603550403 0c0161";
        let of = |encoded: &str| name(&hex(encoded));
        assert_eq!(of("3000").as_deref(), Some(""));
        assert_eq!(of(&format!("300c {common_name}")).as_deref(), Some("CN=a"));
        assert_eq!(of(&format!("3018 {common_name} 310a 3008 060355040a 0c0162")).as_deref(), Some("O=b,CN=a"));
        let both = "3016 3114 3008 0603550403 0c0161 3008 060355040a 0c0162";
        assert_eq!(of(both).as_deref(), Some("CN=a+O=b"));
        for (damage, encoded) in [
            ("nothing", String::new()),
            ("an empty set", "3002 3100".to_owned()),
            ("bytes after the name", format!("300c {common_name} 00")),
            ("bytes after the last part", format!("300d {common_name} 31")),
            ("a part that is cut", format!("3010 {common_name} 310a 3008")),
            ("bytes after the attribute", "300d 310b 3008 0603550403 0c0161 30".to_owned()),
            ("bytes after the value", "300d 310b 3009 0603550403 0c0161 0c".to_owned()),
            ("no value", "3009 3107 3005 0603550403".to_owned()),
        ] {
            assert_eq!(of(&encoded), None, "{damage}");
        }
    }

    #[test]
    fn incomplete_identifiers_are_rejected() {
        let dotted = |encoded: &[u8]| {
            let mut text = String::new();
            push_oid(&mut text, encoded).map(|()| text)
        };
        assert_eq!(dotted(&[0x88, 0x37, 3]).as_deref(), Some("2.999.3"));
        assert_eq!(dotted(&[0x2a, 0x86]), None);
        assert_eq!(dotted(&[]), None);
        assert_eq!(dotted(&[0x55, 0x82, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x04]), None);
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
            assert!(single_element(bad).is_none());
            assert!(expiry(bad).is_none() && subject(bad).is_none() && dns_names(bad).is_empty());
        }
    }
}
