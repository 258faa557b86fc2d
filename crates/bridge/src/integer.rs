//! Prefix integers of HPACK and QPACK (RFC 7541 5.1, RFC 9204 4.1.1).

use std::fmt;

/// Largest value: 62 bits, as RFC 9204 4.1.1 requires.
pub const MAX: u64 = (1 << 62) - 1;

/// Why no integer could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegerError {
    /// The bytes end before the integer does.
    Incomplete,
    /// The integer is larger than [`MAX`], or its encoding longer than [`MAX`] needs.
    Overflow,
}

impl fmt::Display for IntegerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incomplete => "integer ends early",
            Self::Overflow => "integer too large",
        })
    }
}

impl std::error::Error for IntegerError {}

/// Reads an integer with a prefix of `prefix_bits` (1 to 8) and advances `src`. Ignores the bits above the prefix.
///
/// # Errors
/// [`IntegerError`]; `src` is then unchanged.
#[inline]
pub fn decode(prefix_bits: u32, src: &mut &[u8]) -> Result<u64, IntegerError> {
    let (&first, rest) = src.split_first().ok_or(IntegerError::Incomplete)?;
    let mask = 0xff_u8 >> (8 - prefix_bits.clamp(1, 8));
    if first & mask != mask {
        *src = rest;
        return Ok(u64::from(first & mask));
    }
    continuation(u64::from(mask), src, rest)
}

fn continuation<'a>(prefix: u64, src: &mut &'a [u8], mut rest: &'a [u8]) -> Result<u64, IntegerError> {
    let mut value = prefix;
    let mut shift = 0;
    loop {
        let (&byte, next) = rest.split_first().ok_or(IntegerError::Incomplete)?;
        rest = next;
        // Nine groups of seven bits hold 62 bits; a tenth could only be zeros.
        if shift > 56 {
            return Err(IntegerError::Overflow);
        }
        value += u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            if value > MAX {
                return Err(IntegerError::Overflow);
            }
            *src = rest;
            return Ok(value);
        }
    }
}

/// Appends `value` with `flags` in the bits of the first byte above its `prefix_bits` (1 to 8).
#[inline]
pub fn encode(prefix_bits: u32, flags: u8, value: u64, out: &mut Vec<u8>) {
    let mask = 0xff_u8 >> (8 - prefix_bits.clamp(1, 8));
    if value < u64::from(mask) {
        out.push(flags | value as u8);
        return;
    }
    out.push(flags | mask);
    let mut rest = value - u64::from(mask);
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_the_rfc() {
        // RFC 7541 C.1: 10 and 1337 with a 5-bit prefix, 42 on a byte boundary.
        for (prefix, value, bytes) in [(5, 10, &[0x0a][..]), (5, 1337, &[0x1f, 0x9a, 0x0a]), (8, 42, &[0x2a])] {
            let mut out = Vec::new();
            encode(prefix, 0, value, &mut out);
            assert_eq!(out, bytes);
            let mut src = bytes;
            assert_eq!(decode(prefix, &mut src), Ok(value));
            assert!(src.is_empty());
        }
    }

    #[test]
    fn every_prefix_and_boundary_comes_back() {
        for prefix in 1..=8 {
            for power in 0..62 {
                for value in [(1u64 << power) - 1, 1 << power, (1 << power) + 1, MAX] {
                    let flags = !(0xff_u8 >> (8 - prefix));
                    let mut out = vec![];
                    encode(prefix, flags, value, &mut out);
                    assert_eq!(out[0] & flags, flags);
                    for cut in 0..out.len() {
                        assert_eq!(decode(prefix, &mut &out[..cut]), Err(IntegerError::Incomplete));
                    }
                    out.push(0xaa);
                    let mut src = &out[..];
                    assert_eq!(decode(prefix, &mut src), Ok(value));
                    assert_eq!(src, [0xaa]);
                }
            }
        }
    }

    #[test]
    fn too_large_or_too_long() {
        let mut over = vec![];
        encode(5, 0, MAX + 1, &mut over);
        assert_eq!(decode(5, &mut &over[..]), Err(IntegerError::Overflow));
        let zeros = [&[0x1f][..], &[0x80; 20], &[0]].concat();
        assert_eq!(decode(5, &mut &zeros[..]), Err(IntegerError::Overflow));
        assert_eq!(decode(5, &mut &[0xff; 40][..]), Err(IntegerError::Overflow));
    }
}
