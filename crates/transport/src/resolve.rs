//! Literals, and the order in which addresses are tried (RFC 8305 section 4: address families alternate).

use std::net::{IpAddr, SocketAddr};

/// Parses an IP literal, which needs no lookup.
pub(crate) fn literal(host: &str) -> Option<IpAddr> {
    host.parse().ok()
}

/// Orders addresses for one attempt: the family of the first address comes first, families alternate, and within a family
/// each attempt (`turn`) starts one address later, so that connections spread over all addresses. Addresses to `avoid` come
/// last.
pub(crate) fn order(addresses: &[IpAddr], port: u16, turn: usize, avoid: &[IpAddr]) -> Vec<SocketAddr> {
    let leads_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
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
    ordered.sort_by_key(|address| avoid.contains(address));
    ordered.into_iter().map(|address| SocketAddr::new(address, port)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn ordered(turn: usize, avoid: &[&str]) -> Vec<String> {
        let all = ips(&["::1", "::2", "10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        order(&all, 1, turn, &ips(avoid)).iter().map(|address| address.ip().to_string()).collect()
    }

    #[test]
    fn families_alternate_and_attempts_rotate() {
        assert_eq!(ordered(0, &[]), ["::1", "10.0.0.1", "::2", "10.0.0.2", "10.0.0.3"]);
        assert_eq!(ordered(1, &[]), ["::2", "10.0.0.2", "::1", "10.0.0.3", "10.0.0.1"]);
        assert_eq!(order(&[], 1, 3, &[]), []);
    }

    #[test]
    fn addresses_that_failed_come_last() {
        assert_eq!(ordered(0, &["::1", "10.0.0.1"]), ["::2", "10.0.0.2", "10.0.0.3", "::1", "10.0.0.1"]);
    }

    #[test]
    fn literals_need_no_lookup() {
        assert_eq!(literal("::1"), Some("::1".parse().unwrap()));
        assert_eq!(literal("10.0.0.1"), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(literal("localhost"), None);
    }
}
