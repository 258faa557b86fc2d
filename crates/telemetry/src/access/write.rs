//! Appends numbers, times and bytes from peers to a line, without allocating.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

/// Longest value of a peer that is written; the rest is cut off. Bounds the length of a line.
pub(super) const MAX_VALUE: usize = 4096;

/// The decimal digits of 00 to 99.
const DIGIT_PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut at = 0;
    while at < 100 {
        #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        {
            pairs[at] = [b'0' + (at / 10) as u8, b'0' + (at % 10) as u8];
        }
        at += 1;
    }
    pairs
};
const HEX_DIGITS: [u8; 16] = *b"0123456789abcdef";

fn pair(value: u64) -> [u8; 2] {
    DIGIT_PAIRS.get(value as usize).copied().unwrap_or_default()
}

/// Appends a number in decimal.
pub(super) fn number(out: &mut Vec<u8>, mut value: u64) {
    if value < 10 {
        return out.push(b'0' + value as u8);
    }
    let mut digits = [0; 20];
    let mut start = digits.len();
    for chunk in digits.rchunks_exact_mut(2) {
        chunk.copy_from_slice(&pair(value % 100));
        start -= 2;
        value /= 100;
        if value == 0 {
            break;
        }
    }
    if digits.get(start) == Some(&b'0') {
        start += 1;
    }
    out.extend_from_slice(digits.get(start..).unwrap_or_default());
}

/// Returns the three digits of a number below 1000.
fn three_digits(value: u64) -> [u8; 3] {
    let [tens, ones] = pair(value % 100);
    [b'0' + (value / 100) as u8, tens, ones]
}

/// Appends milliseconds with three decimals.
pub(super) fn millis(out: &mut Vec<u8>, time: Duration) {
    let micros = micros(time);
    number(out, micros / 1000);
    let [a, b, c] = three_digits(micros % 1000);
    out.extend_from_slice(&[b'.', a, b, c]);
}

/// Returns a time in whole microseconds.
pub(super) fn micros(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(time.subsec_micros()))
}

/// Appends a number below a million with six digits.
pub(super) fn six_digits(out: &mut Vec<u8>, value: u32) {
    let value = u64::from(value);
    out.extend_from_slice(&three_digits(value / 1000));
    out.extend_from_slice(&three_digits(value % 1000));
}

/// Appends `bytes` bytes of a number in hexadecimal.
pub(super) fn hex<const DIGITS: usize>(out: &mut Vec<u8>, value: u128) {
    let digit = |at: usize| HEX_DIGITS.get((value >> (4 * (DIGITS - 1 - at)) & 15) as usize).copied().unwrap_or(b'0');
    out.extend_from_slice(&std::array::from_fn::<u8, DIGITS, _>(digit));
}

/// Appends an address with its port.
pub(super) fn address(out: &mut Vec<u8>, address: SocketAddr) {
    if let IpAddr::V4(ip) = address.ip() {
        let [a, b, c, d] = ip.octets();
        number(out, a.into());
        for octet in [b, c, d] {
            out.push(b'.');
            number(out, octet.into());
        }
        out.push(b':');
        number(out, address.port().into());
    } else {
        let _in_memory = write!(out, "{address}");
    }
}

/// Returns whether none of the bytes is one of these. Looks at all of them, so that the compiler can compare many at once.
#[inline]
fn has_none(bytes: &[u8], is_special: impl Fn(u8) -> bool) -> bool {
    bytes.iter().filter(|byte| is_special(**byte)).count() == 0
}

/// Appends bytes of a peer as [`crate::Escaped`] does.
pub(super) fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = bytes.get(..MAX_VALUE).unwrap_or(bytes);
    if has_none(bytes, |byte| !byte.is_ascii_graphic() || matches!(byte, b'"' | b'\'' | b'\\')) {
        out.extend_from_slice(bytes);
    } else {
        let _in_memory = write!(out, "{}", crate::Escaped(bytes));
    }
}

/// Appends bytes of a peer as the content of a JSON string. Bytes outside ASCII appear as the characters of these numbers.
pub(super) fn json_string(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = bytes.get(..MAX_VALUE).unwrap_or(bytes);
    if has_none(bytes, |byte| !(b' '..=b'~').contains(&byte) || matches!(byte, b'"' | b'\\')) {
        return out.extend_from_slice(bytes);
    }
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => {
                out.extend_from_slice(b"\\u00");
                hex::<2>(out, byte.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_are_as_the_standard_library_writes_them() {
        let powers = (0..20).flat_map(|power| [10_u64.pow(power) - 1, 10_u64.pow(power), 3 * (10_u64.pow(power) / 2)]);
        for value in powers.chain([u64::MAX, u64::MAX - 1, 42, 4096]) {
            assert_eq!(text(|out| number(out, value)), value.to_string());
        }
        for micros in [0, 1, 999, 1000, 1_234_567, 60_000_000] {
            let written = text(|out| millis(out, Duration::from_micros(micros)));
            assert_eq!(written, format!("{:.3}", micros as f64 / 1000.0), "{micros}");
        }
        assert_eq!(text(|out| millis(out, Duration::from_nanos(1_999_999))), "1.999", "rounded down");
        assert_eq!(text(|out| six_digits(out, 1_002)), "001002");
        assert_eq!(text(|out| hex::<32>(out, 0x0af7_6519 << 96)), "0af76519000000000000000000000000");
        assert_eq!(text(|out| hex::<16>(out, 0xb7ad)), "000000000000b7ad");
        assert_eq!(micros(Duration::MAX), u64::MAX);
    }

    #[test]
    fn addresses_are_as_the_standard_library_writes_them() {
        for address in ["127.0.0.1:9", "255.1.10.100:65535", "[2001:db8::1]:443", "[::ffff:1.2.3.4]:80"] {
            let address: SocketAddr = address.parse().unwrap();
            assert_eq!(text(|out| super::address(out, address)), address.to_string());
        }
    }

    #[test]
    fn what_a_peer_sends_stays_within_its_value() {
        for byte in 0..=255_u8 {
            let bytes = [b"plain".as_slice(), &[byte], b"text"].concat();
            assert_eq!(text(|out| escaped(out, &bytes)), crate::Escaped(&bytes).to_string());
            let json = format!("\"{}\"", text(|out| json_string(out, &bytes)));
            let parsed: String = serde_json::from_str(&json).unwrap();
            assert_eq!(parsed, format!("plain{}text", char::from(byte)));
            assert!(json.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        }
        assert_eq!(text(|out| escaped(out, &[b'a'; MAX_VALUE + 1])).len(), MAX_VALUE);
        assert_eq!(text(|out| json_string(out, &[b'a'; MAX_VALUE + 1])).len(), MAX_VALUE);
    }
}
