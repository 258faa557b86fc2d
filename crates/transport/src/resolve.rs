//! Resolves a backend's host and orders its addresses (RFC 8305 section 4: address families alternate).

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

/// Maximum number of addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// Parses an IP literal, which needs no lookup.
pub(crate) fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    host.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, port))
}

/// Returns the addresses of a name in the resolver's order (RFC 6724).
pub(crate) async fn lookup(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in tokio::net::lookup_host((host, port)).await? {
        if addresses.len() < MAX_ADDRESSES && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
    }
    Ok(addresses)
}

/// Orders addresses for one attempt: the family of the first address comes first, families alternate, and within a family
/// each attempt (`turn`) starts one address later, so that connections spread over all addresses.
pub(crate) fn order(addresses: &[SocketAddr], turn: usize) -> Vec<SocketAddr> {
    let leads_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut leading, mut following): (Vec<_>, Vec<_>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == leads_v6);
    for family in [&mut leading, &mut following] {
        if !family.is_empty() {
            let by = turn % family.len();
            family.rotate_left(by);
        }
    }
    let mut ordered = Vec::with_capacity(addresses.len());
    let (mut leading, mut following) = (leading.into_iter(), following.into_iter());
    while ordered.len() < addresses.len() {
        ordered.extend(leading.next());
        ordered.extend(following.next());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn families_alternate_and_attempts_rotate() {
        let all = addresses(&["[::1]:1", "[::2]:1", "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]);
        let first = addresses(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "10.0.0.3:1"]);
        let second = addresses(&["[::2]:1", "10.0.0.2:1", "[::1]:1", "10.0.0.3:1", "10.0.0.1:1"]);
        assert_eq!(order(&all, 0), first);
        assert_eq!(order(&all, 1), second);
        assert_eq!(order(&[], 3), []);
    }

    #[test]
    fn literals_need_no_lookup() {
        assert_eq!(literal("::1", 80), Some("[::1]:80".parse().unwrap()));
        assert_eq!(literal("10.0.0.1", 80), Some("10.0.0.1:80".parse().unwrap()));
        assert_eq!(literal("localhost", 80), None);
    }
}
