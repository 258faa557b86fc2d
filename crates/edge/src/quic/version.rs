//! Version Negotiation (RFC 9000 section 6), for connection ids of any length that the invariants allow (RFC 8999).
//!
//! quinn-proto answers only ids of at most 20 bytes, the limit of version 1; later versions may have longer ones.

/// QUIC version 1 (RFC 9000); drafts are not offered.
pub(crate) const QUIC_V1: u32 = 1;
/// Version field of a Version Negotiation packet.
const NEGOTIATION: u32 = 0;
/// Smaller datagrams are not answered, so that the answer is never larger (RFC 9000 section 5.2.2).
const MIN_ANSWERED: usize = 1200;
/// Reserved versions, which clients must ignore (RFC 9000 section 6.3).
const GREASE: [u32; 2] = [0x0a1a_2a3a, 0x0a1a_2a4a];

const LONG_HEADER: u8 = 0x80;
const FIXED_BIT: u8 = 0x40;

/// Returns the answer to a datagram that begins with a packet of an unknown version, else `None`.
pub(crate) fn negotiate(datagram: &[u8]) -> Option<Vec<u8>> {
    let (first, rest) = datagram.split_first()?;
    let (version, rest) = rest.split_first_chunk::<4>()?;
    let version = u32::from_be_bytes(*version);
    if first & LONG_HEADER == 0 || matches!(version, QUIC_V1 | NEGOTIATION) || datagram.len() < MIN_ANSWERED {
        return None;
    }
    let (destination, rest) = take_id(rest)?;
    let (source, _) = take_id(rest)?;
    let mut answer = vec![LONG_HEADER | FIXED_BIT | first];
    answer.extend(NEGOTIATION.to_be_bytes());
    for id in [source, destination] {
        answer.push(id.len() as u8); // a length that was read from one byte
        answer.extend(id);
    }
    let grease = GREASE.into_iter().find(|grease| *grease != version);
    for version in grease.into_iter().chain([QUIC_V1]) {
        answer.extend(version.to_be_bytes());
    }
    Some(answer)
}

fn take_id(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(version: u32, destination: &[u8], source: &[u8], size: usize) -> Vec<u8> {
        let mut bytes = vec![0xc3];
        bytes.extend(version.to_be_bytes());
        for id in [destination, source] {
            bytes.push(id.len() as u8);
            bytes.extend(id);
        }
        bytes.resize(size, 7);
        bytes
    }

    #[test]
    fn ids_of_every_length_are_answered_with_both_swapped() {
        for (destination, source) in [(0, 0), (8, 8), (20, 20), (21, 0), (0, 21), (255, 255)] {
            let (destination, source) = (vec![1; destination], vec![2; source]);
            let answer = negotiate(&datagram(0x1a2a_3a4a, &destination, &source, 1200)).unwrap();
            assert!(answer.len() < 1200);
            assert_eq!(answer[0] & 0xc0, 0xc0);
            assert_eq!(answer[1..5], [0; 4]);
            let (first, rest) = take_id(&answer[5..]).unwrap();
            let (second, versions) = take_id(rest).unwrap();
            assert_eq!((first, second), (&*source, &*destination));
            assert_eq!(versions, [0x0a, 0x1a, 0x2a, 0x3a, 0, 0, 0, 1]);
        }
    }

    #[test]
    fn a_client_that_greases_is_offered_another_version_than_its_own() {
        let answer = negotiate(&datagram(GREASE[0], b"12345678", b"", 1200)).unwrap();
        assert_eq!(answer[answer.len() - 8..], [0x0a, 0x1a, 0x2a, 0x4a, 0, 0, 0, 1]);
    }

    #[test]
    fn nothing_else_is_answered() {
        let mut cut = datagram(9, &[1; 255], &[2; 255], 520);
        for (bytes, what) in [
            (datagram(1, b"12345678", b"", 1200), "version 1"),
            (datagram(0, b"12345678", b"", 1200), "Version Negotiation"),
            (datagram(9, b"12345678", b"", 1199), "a small datagram"),
            (vec![0x43; 1200], "a short header"),
            (vec![], "an empty datagram"),
            (vec![0xc3, 0, 0], "a cut header"),
        ] {
            assert_eq!(negotiate(&bytes), None, "{what}");
        }
        for length in 0..cut.len() {
            cut.truncate(cut.len() - 1);
            assert_eq!(negotiate(&cut), None, "{length} bytes less");
        }
    }
}
