//! Authority and path of a request (RFC 9110 4.2, RFC 9114 4.3.1).

use super::field::{HOST, is_class};
use std::net::Ipv6Addr;

/// The parts of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    /// The host as sent, an IPv6 address with its brackets.
    pub host: &'a [u8],
    /// The port, if there is one.
    pub port: Option<u16>,
}

/// Parses `host` or `host:port`, without user information (RFC 9110 4.2.4). An empty port (RFC 3986 3.2.3) counts as
/// none. Returns `None` for anything else.
pub fn authority(bytes: &[u8]) -> Option<Authority<'_>> {
    let end = if bytes.first() == Some(&b'[') { end_of_literal(bytes)? } else { end_of_name(bytes)? };
    let (host, port) = bytes.split_at_checked(end)?;
    if host.is_empty() {
        return None;
    }
    match port.split_first() {
        None | Some((b':', [])) => Some(Authority { host, port: None }),
        Some((b':', digits)) => Some(Authority { host, port: Some(parse_port(digits)?) }),
        Some(_) => None,
    }
}

/// Returns the end of an IPv6 address in brackets.
fn end_of_literal(bytes: &[u8]) -> Option<usize> {
    let end = bytes.iter().position(|byte| *byte == b']')?;
    let inner = std::str::from_utf8(bytes.get(1..end)?).ok()?;
    inner.parse::<Ipv6Addr>().ok().map(|_| end + 1)
}

/// Returns the end of a registered name or an IPv4 address.
fn end_of_name(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'%' if bytes.get(at + 1..at + 3)?.iter().all(u8::is_ascii_hexdigit) => at += 3,
            byte if is_class(byte, HOST) => at += 1,
            _ => break,
        }
    }
    Some(at)
}

fn parse_port(digits: &[u8]) -> Option<u16> {
    if digits.len() > 5 {
        return None;
    }
    let port = digits.iter().try_fold(0u32, |port, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then(|| port * 10 + u32::from(digit))
    })?;
    u16::try_from(port).ok()
}

/// Returns whether two authorities are equal, ignoring case and the default port of `scheme`.
pub(super) fn is_same_authority(left: &[u8], right: &[u8], scheme: &[u8]) -> bool {
    if left == right {
        return true;
    }
    let default = match scheme {
        b"https" => Some(443),
        b"http" => Some(80),
        _ => None,
    };
    match (authority(left), authority(right)) {
        (Some(left), Some(right)) => {
            left.host.eq_ignore_ascii_case(right.host) && left.port.or(default) == right.port.or(default)
        }
        _ => left.eq_ignore_ascii_case(right),
    }
}

/// Returns whether `path` may be forwarded unchanged: it begins with a slash and has only bytes of a path or query (RFC
/// 3986 3.3, 3.4). `"`, `[`, `]`, `\`, `^`, `{`, `|` and `}` are accepted too, because browsers send them and HTTP
/// servers accept them. `<`, `>`, `` ` `` and the rest make some servers reset the stream.
#[inline]
pub(super) fn is_path(path: &[u8]) -> bool {
    let is_bad = |byte: u8| {
        u8::from(byte.wrapping_sub(b'!') >= 94)
            | u8::from(byte == b'#')
            | u8::from(byte == b'<')
            | u8::from(byte == b'>')
            | u8::from(byte == b'`')
    };
    // Without early exit, so that it compiles to vector instructions.
    path.iter().fold(0, |bad, byte| bad | is_bad(*byte)) == 0 && path.first() == Some(&b'/')
}

/// Returns whether the path, without its query, contains an encoded slash, backslash or NUL, or a plain backslash.
pub(super) fn is_ambiguous(path: &[u8]) -> bool {
    let path = path.split(|byte| *byte == b'?').next().unwrap_or_default();
    path.contains(&b'\\')
        || path.windows(3).any(|window| match window {
            [b'%', high, low] => matches!((high, low.to_ascii_lowercase()), (b'2', b'f') | (b'5', b'c') | (b'0', b'0')),
            _ => false,
        })
}
