//! Durations and sizes: a number, or a number with a unit.

use std::time::Duration;

use crate::spec::text::{Text, text};
use crate::spec::{ConfigValue, Key, Kind, Reader};
use crate::yaml::emit::Value;
use crate::yaml::{Node, Scalar, Tree};

const BAD_DURATION: Text =
    text("invalid duration '<v>'").hint("use a whole number, or one with a unit such as 250ms, 5s, 1m30s or 2h");
const BAD_SIZE: Text =
    text("invalid size '<v>'").hint("use a whole number of bytes, or one with a unit such as 64KiB or 10MB");

/// Messages that can be about any duration or size.
pub(crate) const TEXTS: [Text; 2] = [BAD_DURATION, BAD_SIZE];

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Longest duration: 100 years, so that deadlines do not overflow.
const MAX_MILLIS: u64 = 100 * 365 * 24 * 3600 * 1000;
/// Largest size: the maximum of a QUIC variable-length integer (RFC 9000 section 16).
const MAX_BYTES: u64 = (1 << 62) - 1;

impl ConfigValue for Duration {
    fn kind() -> Kind {
        Kind::Duration
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        let unit = if key.seconds { 1000 } else { 1 };
        let millis = quantity(reader, node, key, "duration", BAD_DURATION, |written| match written {
            Ok(number) => number.checked_mul(unit),
            Err(text) => duration(text),
        })?;
        if millis > MAX_MILLIS {
            reader.report(node.span, BAD_DURATION, &millis.to_string(), &[]);
            return None;
        }
        Some(Self::from_millis(millis))
    }

    fn to_value(&self, key: &Key) -> Value {
        let millis = self.as_millis();
        let in_unit =
            if key.seconds { Some(millis / 1000).filter(|_| millis.is_multiple_of(1000)) } else { Some(millis) };
        match in_unit.and_then(|number| i128::try_from(number).ok()) {
            Some(number) => Value::Integer(number),
            None => Value::Text(format!("{millis}ms")),
        }
    }
}

/// A size in bytes. Counts are `usize` and have no unit.
impl ConfigValue for u64 {
    fn kind() -> Kind {
        Kind::Size
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        quantity(reader, node, key, "size", BAD_SIZE, |written| match written {
            Ok(number) => Some(number).filter(|number| *number <= MAX_BYTES),
            Err(text) => bytes(text).filter(|number| *number <= MAX_BYTES),
        })
    }

    fn to_value(&self, _key: &Key) -> Value {
        Value::Integer(i128::from(*self))
    }
}

/// Reads a number or a string, converts it to the base unit and checks the range rules of the key.
fn quantity(
    reader: &mut Reader<'_>,
    node: &Node,
    key: &Key,
    expected: &str,
    bad: Text,
    convert: impl Fn(Result<u64, &str>) -> Option<u64>,
) -> Option<u64> {
    if !matches!(node.tree, Tree::Scalar { .. }) {
        reader.report_type(node, key, expected);
        return None;
    }
    let word = reader.scalar(node)?;
    let value = match word.scalar {
        Scalar::Integer(number) => u64::try_from(number).ok().and_then(|number| convert(Ok(number))),
        Scalar::Text => convert(Err(&word.text)),
        Scalar::Float(_) => None,
        Scalar::Null | Scalar::Bool(_) => {
            reader.report_type(node, key, expected);
            return None;
        }
    };
    let Some(value) = value else {
        reader.report(node.span, bad, &word.text, &[]);
        return None;
    };
    reader.check_range(node, key, i128::from(value), &word.text).then_some(value)
}

/// Parses a duration such as `1h2m3s4ms`, with each unit at most once and in this order.
fn duration(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut units = UNITS.iter();
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|each: char| !each.is_ascii_digit())?);
        let (unit, after) = after.split_at(after.find(|each: char| each.is_ascii_digit()).unwrap_or(after.len()));
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

/// Parses a size such as `64MiB`.
fn bytes(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 6] =
        [("kb", 1000), ("mb", 1_000_000), ("gb", 1_000_000_000), ("kib", 1 << 10), ("mib", 1 << 20), ("gib", 1 << 30)];
    let (number, unit) = text.split_at(text.find(|each: char| !each.is_ascii_digit())?);
    let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_units_in_order() {
        for (text, expected) in [
            ("250ms", Some(250)),
            ("5s", Some(5000)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("1h1m1s1ms", Some(3_661_001)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("s", None),
            ("-5s", None),
            ("1.5s", None),
            ("5 s", None),
            ("30s1m", None),
            ("1m1m", None),
            ("5d", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn sizes_know_both_kinds_of_thousand() {
        for (text, expected) in [
            ("1KB", Some(1000)),
            ("64MiB", Some(64 << 20)),
            ("1GiB", Some(1 << 30)),
            ("2gb", Some(2_000_000_000)),
            ("", None),
            ("64", None),
            ("64M", None),
            ("64 MiB", None),
            ("1.5MiB", None),
            ("99999999999999999999GiB", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
