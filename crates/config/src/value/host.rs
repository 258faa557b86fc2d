//! Extracts and normalizes the host of an authority, to compare the hosts of routes, certificates, requests and SNI.

use std::net::Ipv6Addr;

/// Returns the host of `host`, `host:port`, `[v6]` or `[v6]:port` without port, brackets and trailing dot. Keeps the case.
/// Does not check that the authority is valid.
pub fn host_of(authority: &[u8]) -> &[u8] {
    if let Some(rest) = authority.strip_prefix(b"[") {
        let end = rest.iter().position(|&byte| byte == b']').unwrap_or(rest.len());
        return rest.get(..end).unwrap_or(rest);
    }
    let mut colons = authority.iter().enumerate().filter(|&(_, &byte)| byte == b':');
    let host = match (colons.next(), colons.next()) {
        // Two colons without brackets are an IPv6 address without port.
        (Some((at, _)), None) => authority.get(..at).unwrap_or(authority),
        _ => authority,
    };
    host.strip_suffix(b".").unwrap_or(host)
}

/// Returns the host of an authority as [`host_of`] does, in lower case and with an IPv6 address in its shortest form
/// (RFC 5952). Writes the result to `scratch`.
pub fn normalize_host<'s>(authority: &[u8], scratch: &'s mut Vec<u8>) -> &'s [u8] {
    use std::io::Write;
    let host = host_of(authority);
    scratch.clear();
    if let Some(address) = ipv6(host) {
        // Writing to a vector cannot fail.
        let _ = write!(scratch, "{address}");
    } else {
        scratch.extend_from_slice(host);
        scratch.make_ascii_lowercase();
    }
    scratch
}

fn ipv6(host: &[u8]) -> Option<Ipv6Addr> {
    if !host.contains(&b':') {
        return None;
    }
    std::str::from_utf8(host).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::http::{HostPattern, parse_host};

    #[test]
    fn one_host_is_written_in_many_ways() {
        let mut scratch = Vec::new();
        for (host, written) in [
            (
                "a.example",
                &["a.example", "A.Example", "a.example.", "a.example:443", "A.EXAMPLE.:8443", "a.example:"][..],
            ),
            ("2001:db8::1", &["[2001:db8::1]", "[2001:DB8:0:0::1]:443", "2001:db8::1", "[2001:0db8::0001]:"]),
            ("127.0.0.1", &["127.0.0.1", "127.0.0.1:80", "127.0.0.1."]),
            ("*.a.example", &["*.a.example", "*.A.Example."]),
            ("", &["", ":80", ".", "[]"]),
        ] {
            for written in written {
                assert_eq!(normalize_host(written.as_bytes(), &mut scratch), host.as_bytes(), "{written}");
                // What a route may name is read alike there.
                if let Some(normal) = parse_host(written) {
                    assert_eq!(normal, host, "{written}");
                }
            }
        }
        assert_eq!(host_of(b"A.Example.:443"), b"A.Example");
        assert_eq!(HostPattern::parse("*.A.Example.:443"), HostPattern::parse("*.a.example"));
    }
}
