//! `x-request-id`: validation of client ids, and generation of new ones (UUID version 7, RFC 9562 5.7).

use super::{Fields, Known};

/// Longest client id accepted, in bytes.
pub const MAX_LEN: usize = 128;

/// Returns the client's id if it sent exactly one that is acceptable.
pub fn accepted(fields: &Fields) -> Option<&[u8]> {
    let mut ids = fields.all(Known::XRequestId);
    let id = ids.next().filter(|id| is_acceptable(id))?;
    ids.next().is_none().then_some(id)
}

/// Returns whether an id is 1 to [`MAX_LEN`] characters of `A-Z a-z 0-9 . _ ~ + / = : @ -`.
pub fn is_acceptable(id: &[u8]) -> bool {
    (1..=MAX_LEN).contains(&id.len())
        && id.iter().all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'+' | b'/' | b'=' | b':' | b'@' | b'-')
        })
}

/// Returns a new id from the Unix time in milliseconds and ten random bytes (74 of their 80 bits are used).
pub fn uuid_v7(millis: u64, random: [u8; 10]) -> [u8; 36] {
    let random = random.iter().fold(0, |number: u128, byte| (number << 8) | u128::from(*byte));
    let number = (u128::from(millis & 0xffff_ffff_ffff) << 80) | random;
    let number = number & !(0xf << 76) | (0x7 << 76); // version
    let number = number & !(0x3 << 62) | (0x2 << 62); // variant
    let [a, b, c, d] = [96, 64, 32, 0].map(|shift| hex((number >> shift) as u32));
    let mut text = [b'-'; 36];
    text[..8].copy_from_slice(&a);
    text[9..13].copy_from_slice(&b[..4]);
    text[14..18].copy_from_slice(&b[4..]);
    text[19..23].copy_from_slice(&c[..4]);
    text[24..28].copy_from_slice(&c[4..]);
    text[28..].copy_from_slice(&d);
    text
}

/// Returns the eight hexadecimal digits of a number, all computed at once, one in each byte of a word.
fn hex(number: u32) -> [u8; 8] {
    const ONES: u64 = u64::MAX / 255;
    let word = u64::from(number);
    let word = (word & 0xffff_0000) << 16 | word & 0xffff;
    let word = (word & 0xff00_0000_ff00) << 8 | word & 0xff_0000_00ff;
    let word = (word & 0x00f0_00f0_00f0_00f0) << 4 | word & 0x000f_000f_000f_000f;
    let letters = (word + 6 * ONES) >> 4 & ONES;
    (word + u64::from(b'0') * ONES + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acceptable_client_ids() {
        let longest = "a".repeat(MAX_LEN);
        for id in ["a", "A-z0.9_~+/=:@", longest.as_str()] {
            assert!(is_acceptable(id.as_bytes()), "{id}");
        }
        let too_long = "a".repeat(MAX_LEN + 1);
        for id in ["", "a b", "a\"", "a,b", "ä", "%41", too_long.as_str()] {
            assert!(!is_acceptable(id.as_bytes()), "{id}");
        }
        let mut fields = Fields::new();
        assert_eq!(accepted(&fields), None);
        fields.push(Known::XRequestId, b"one");
        assert_eq!(accepted(&fields), Some(&b"one"[..]));
        fields.push(Known::XRequestId, b"two");
        assert_eq!(accepted(&fields), None, "which one is meant?");
    }

    #[test]
    fn new_ids_are_uuids_of_version_7() {
        // The example of RFC 9562 A.6.
        let random = [0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f];
        let text = uuid_v7(0x017F_22E2_79B0, random);
        assert_eq!(std::str::from_utf8(&text), Ok("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"));
        assert!(is_acceptable(&text));
        assert_eq!(hex(0x0123_4567), *b"01234567");
        assert_eq!(hex(0x89ab_cdef), *b"89abcdef");
    }
}
