//! The opening handshake of WebSocket (RFC 6455 4), which has a key in HTTP/1.1 only (RFC 8441 5).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// The encoded key of a request: 16 bytes.
pub(super) type Key = [u8; 24];
/// The encoded value of `sec-websocket-accept`: 20 bytes.
pub(super) type Accept = [u8; 28];

/// Appended to the key before it is hashed (RFC 6455 1.3).
const SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Returns a key for the request with this tag. It is no secret; it shows that the response is to this request.
pub(super) fn new_key(seed: u64, tag: u64) -> Key {
    let mut nonce = [0; 16];
    for (number, part) in (0_u8..).zip(nonce.chunks_exact_mut(8)) {
        let mut hasher = DefaultHasher::new();
        (seed, tag, number).hash(&mut hasher);
        part.copy_from_slice(&hasher.finish().to_le_bytes());
    }
    encode(&nonce)
}

/// Returns the key if the value has the form of one.
pub(super) fn parse_key(value: &[u8]) -> Option<Key> {
    let key: &Key = value.try_into().ok()?;
    let digits = key.strip_suffix(b"==")?;
    digits.iter().all(|digit| BASE64.contains(digit)).then_some(*key)
}

/// Returns the value of `sec-websocket-accept` for a key (RFC 6455 4.2.2).
pub(super) fn accept(key: &Key) -> Accept {
    let mut message = [0; 60];
    for (byte, source) in message.iter_mut().zip(key.iter().chain(SUFFIX)) {
        *byte = *source;
    }
    encode(&sha1(&message))
}

/// Encodes bytes in base64 with padding. `N` must be the length of the result.
fn encode<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut encoded = [b'='; N];
    for (digits, part) in encoded.chunks_exact_mut(4).zip(bytes.chunks(3)) {
        let group = part.iter().zip([16, 8, 0]).fold(0, |group, (byte, shift)| group | u32::from(*byte) << shift);
        for (digit, shift) in digits.iter_mut().zip([18, 12, 6, 0]).take(part.len() + 1) {
            *digit = BASE64.get((group >> shift & 63) as usize).copied().unwrap_or(b'=');
        }
    }
    encoded
}

/// SHA-1 (RFC 3174) of a message of 60 bytes, which takes two blocks. The handshake prescribes it; it protects nothing.
fn sha1(message: &[u8; 60]) -> [u8; 20] {
    let mut padded = [0; 128];
    for (byte, source) in padded.iter_mut().zip(message.iter().chain(&[0x80])) {
        *byte = *source;
    }
    if let Some(length) = padded.last_chunk_mut::<8>() {
        *length = (8 * message.len() as u64).to_be_bytes();
    }
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        compress(&mut state, block);
    }
    let mut digest = [0; 20];
    for (part, word) in digest.chunks_exact_mut(4).zip(state) {
        part.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// Updates the state by a block of 64 bytes (RFC 3174 6.1).
#[allow(clippy::many_single_char_names, reason = "the names of the RFC")]
fn compress(state: &mut [u32; 5], block: &[u8]) {
    // The last 16 words of the schedule; the first of them is used next.
    let mut words = [0_u32; 16];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for round in 0..80 {
        let (mixed, constant) = match round {
            0..20 => (b & c | !b & d, 0x5a82_7999),
            20..40 => (b ^ c ^ d, 0x6ed9_eba1),
            40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6_u32),
        };
        let [word, _, third, _, _, _, _, _, ninth, _, _, _, _, fourteenth, _, _] = words;
        let next = a.rotate_left(5).wrapping_add(mixed).wrapping_add(e).wrapping_add(word).wrapping_add(constant);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        words.rotate_left(1);
        if let Some(last) = words.last_mut() {
            *last = (word ^ third ^ ninth ^ fourteenth).rotate_left(1);
        }
    }
    for (sum, word) in state.iter_mut().zip([a, b, c, d, e]) {
        *sum = sum.wrapping_add(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let key = parse_key(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(&accept(&key), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(encode::<24>(b"the sample nonce"), key);
    }

    #[test]
    fn a_new_key_has_the_form_of_a_key() {
        let key = new_key(1, 2);
        assert_eq!(parse_key(&key), Some(key));
        assert!(new_key(1, 3) != key && new_key(2, 2) != key);
        for wrong in
            [&b""[..], b"k", b"dGhlIHNhbXBsZSBub25jZQ=", b"dGhlIHNhbXBsZSBub25jZQ===", b"dGhlIHNhbXBsZSBub25j,Q=="]
        {
            assert_eq!(parse_key(wrong), None);
        }
    }
}
