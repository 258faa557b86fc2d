//! Arbitrary first bytes of a connection from a load balancer.

use spooky_bridge::proxy_protocol::{InvalidHeader, ProxyHeader, parse};

/// Properties for any input: the result does not depend on how the bytes are split, and nothing behind the header changes
/// it.
pub(crate) fn check(data: &[u8]) {
    let whole = parse(data);
    let first = (0..=data.len()).map(|length| parse(&data[..length])).find(|result| *result != Ok(None));
    match (whole, first) {
        (Ok(None), None) => {}
        (Ok(Some(ProxyHeader { length, client })), Some(Ok(Some(first)))) => {
            assert_eq!(first, ProxyHeader { length, client });
            assert!(length <= data.len() && length <= 16 + usize::from(u16::MAX));
            assert_eq!(parse(&[data, b"more"].concat()), whole);
            assert!(client.is_none_or(|client| client.ip() == client.ip().to_canonical()));
        }
        (Err(InvalidHeader(reason)), Some(Err(_))) => assert!(!reason.is_empty()),
        (whole, first) => assert_eq!(first, Some(whole), "byte by byte and as a whole"),
    }
}
