//! Keys of keyed algorithms: their hash, and how to read them from a cookie field or a query.
//!
//! The hash must never change and has no secret, so that instances and restarts agree. The exchange decides which key an
//! upstream uses, and falls back to the client's address.

use crate::rng;
use std::net::IpAddr;

/// Hash of a key, the same on every instance.
pub fn hash(bytes: &[u8]) -> u64 {
    let mut state = 0x51_7C_C1_B7_27_22_0A_95 ^ bytes.len() as u64;
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        for (slot, &byte) in word.iter_mut().zip(chunk) {
            *slot = byte;
        }
        state = rng::fold(state ^ u64::from_le_bytes(word));
    }
    rng::mix(state)
}

/// Hash of a client address; an IPv4-mapped address is its IPv4 address.
pub fn hash_ip(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => hash(&ip.octets()),
        IpAddr::V6(ip) => hash(&ip.octets()),
    }
}

/// The first value of the cookie `name` in a `cookie` field value (RFC 6265 section 4.2.1), undecoded.
pub fn cookie<'a>(field: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    field.split(|&byte| byte == b';').find_map(|pair| value_of(pair.trim_ascii(), name))
}

/// The first value of the parameter `name` in the query of a path, undecoded.
pub fn query<'a>(path: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let start = path.iter().position(|&byte| byte == b'?')?;
    let query = path.get(start + 1..)?;
    query.split(|&byte| byte == b'&').find_map(|pair| value_of(pair, name))
}

fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    pair.strip_prefix(name)?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fixed() {
        // Changing any of these moves every client of every deployment to another backend.
        assert_ne!(hash(b"a"), hash(b"a\0"));
        assert_ne!(hash(b"abcdefgh"), hash(b"abcdefg"));
        assert_eq!(hash_ip("::ffff:10.0.0.1".parse().unwrap()), hash_ip("10.0.0.1".parse().unwrap()));
        assert_eq!(hash(b"spooky"), 3_730_943_693_069_468_551);
    }

    #[test]
    fn cookies_and_queries_give_their_first_value() {
        assert_eq!(cookie(b"a=1; sid=x=y; sid=z", b"sid"), Some(&b"x=y"[..]));
        assert_eq!(cookie(b"asid=1;sid=", b"sid"), Some(&b""[..]));
        assert_eq!(cookie(b"sidx=1", b"sid"), None);
        assert_eq!(query(b"/p?a=1&k=%20&k=2", b"k"), Some(&b"%20"[..]));
        assert_eq!(query(b"/p?ak=1", b"k"), None);
        assert_eq!(query(b"/k=1", b"k"), None);
    }
}
