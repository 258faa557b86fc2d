//! Trace context (W3C Trace Context 3.2): parsing and formatting of `traceparent`.

use super::{Fields, Known};

/// The trace is sampled.
pub const SAMPLED: u8 = 1;
/// The trace id is random. Level 2 of the specification added this flag.
const RANDOM: u8 = 2;
/// Length of `traceparent` in version 00.
const LENGTH: usize = 55;

/// The content of `traceparent`. The ids are not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Id of the trace.
    pub trace_id: u128,
    /// Id of the sender's span.
    pub span_id: u64,
    /// [`SAMPLED`] and other flags; unknown ones are not forwarded.
    pub flags: u8,
}

impl TraceContext {
    /// Returns the trace context of a request. A request with several `traceparent` fields has none.
    pub fn of(fields: &Fields) -> Option<Self> {
        let mut values = fields.all(Known::Traceparent);
        let value = values.next()?;
        if values.next().is_some() { None } else { Self::parse(value) }
    }

    /// Parses a value that version 00 allows, or that begins like one if its version is later.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let (fixed, more) = value.split_first_chunk::<LENGTH>()?;
        let [v0, v1, b'-', ids @ .., b'-', f0, f1] = fixed else { return None };
        let (trace, rest) = ids.split_first_chunk::<32>()?;
        let Some((b'-', span)) = rest.split_first() else { return None };
        let version = hex(&[*v0, *v1])?;
        let is_version = match version {
            0xff => false,
            0 => more.is_empty(),
            // Later versions may append more after a dash.
            _ => matches!(more.first(), None | Some(b'-')),
        };
        let (trace_id, span_id) = (hex(trace)?, hex(span)?);
        let flags = hex(&[*f0, *f1])? as u8 & (SAMPLED | RANDOM);
        (is_version && trace_id != 0 && span_id != 0).then_some(Self { trace_id, span_id: span_id as u64, flags })
    }

    /// Returns the value of `traceparent` in version 00.
    pub fn to_bytes(self) -> [u8; LENGTH] {
        let mut value = *b"00-????????????????????????????????-????????????????-??";
        let digits = [(3, 32, self.trace_id), (36, 16, self.span_id.into()), (53, 2, self.flags.into())];
        for (at, length, number) in digits {
            for (index, byte) in value.iter_mut().skip(at).take(length).enumerate() {
                let nibble = (number >> (4 * (length - 1 - index))) as u8 & 15;
                *byte = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
            }
        }
        value
    }
}

/// Parses lower-case hexadecimal digits, at most 32.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const PARSED: TraceContext = TraceContext {
        trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
        span_id: 0x00f0_67aa_0ba9_02b7,
        flags: SAMPLED,
    };

    #[test]
    fn valid_and_invalid_traceparents() {
        let cases = [
            (VALID.to_owned(), true),
            (VALID.replacen("00", "cc", 1), true),
            (VALID.replacen("00", "cc", 1) + "-what-else", true),
            (VALID.replacen("00", "cc", 1) + ".", false),
            (VALID.to_owned() + "-more", false),
            (VALID.replacen("00", "ff", 1), false),
            (VALID.replacen("00", "0G", 1), false),
            (VALID.to_uppercase(), false),
            (VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), false),
            (VALID.replace("00f067aa0ba902b7", &"0".repeat(16)), false),
            (VALID.replace("-01", "-0x"), false),
            (VALID.replace("-01", ""), false),
            (VALID.replace('-', "_"), false),
            (String::new(), false),
        ];
        for (value, is_valid) in cases {
            let expected = is_valid.then_some(PARSED);
            assert_eq!(TraceContext::parse(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn a_context_is_written_in_version_00() {
        assert_eq!(PARSED.to_bytes(), VALID.as_bytes());
        let smallest = TraceContext { trace_id: 1, span_id: 2, flags: 0 };
        assert_eq!(&smallest.to_bytes(), b"00-00000000000000000000000000000001-0000000000000002-00");
    }

    #[test]
    fn only_flags_with_a_meaning_are_kept() {
        for (received, kept) in [("00", 0), ("01", 1), ("02", 2), ("03", 3), ("fc", 0), ("ff", 3)] {
            let value = VALID.replace("-01", &format!("-{received}"));
            assert_eq!(TraceContext::parse(value.as_bytes()).map(|context| context.flags), Some(kept), "{received}");
        }
    }

    #[test]
    fn a_request_with_several_contexts_has_none() {
        let mut fields = Fields::new();
        assert_eq!(TraceContext::of(&fields), None);
        fields.push(Known::Traceparent, VALID.as_bytes());
        assert_eq!(TraceContext::of(&fields), Some(PARSED));
        fields.push(Known::Traceparent, VALID.as_bytes());
        assert_eq!(TraceContext::of(&fields), None);
    }
}
