//! The request target (RFC 9112 3.2) as pseudo-header fields.

use crate::message::{Fields, Known, Method};

/// Writes the pseudo-header fields of a request. `scheme` is that of the connection, `host` the value of the `host` field.
/// The parts are copied as they are; `message::check` validates them.
pub(super) fn put(fields: &mut Fields, method: &[u8], target: &[u8], scheme: &[u8], host: Option<&[u8]>) {
    fields.push(Known::Method, method);
    if method == b"CONNECT" {
        fields.push(Known::Authority, target);
        return;
    }
    let is_local = target.starts_with(b"/") || target == b"*";
    if let Some((scheme, rest)) = split_absolute(target).filter(|_| !is_local) {
        return put_absolute(fields, Method::from_bytes(method), scheme, rest);
    }
    fields.push(Known::Scheme, scheme);
    if let Some(host) = host {
        fields.push(Known::Authority, host);
    }
    fields.push(Known::Path, target);
}

/// Splits an absolute URI after its scheme.
fn split_absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = target.windows(3).position(|window| window == b"://")?;
    Some((target.get(..end)?, target.get(end + 3..)?))
}

/// Writes the parts of a URI. They take precedence over the connection and `host` (RFC 9112 3.2.2).
fn put_absolute(fields: &mut Fields, method: Method, scheme: &[u8], rest: &[u8]) {
    let known: [&[u8]; 2] = [b"https", b"http"];
    let scheme = known.into_iter().find(|known| known.eq_ignore_ascii_case(scheme)).unwrap_or(scheme);
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, b""));
    fields.push(Known::Scheme, scheme);
    fields.push(Known::Authority, authority);
    match path.first() {
        None if method == Method::Options => fields.push(Known::Path, b"*"), // RFC 9112 3.2.4
        Some(b'/') => fields.push(Known::Path, path),
        _ => fields.push_parts(Known::Path, &[b"/", path]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(method: &str, target: &str) -> String {
        let mut fields = Fields::new();
        put(&mut fields, method.as_bytes(), target.as_bytes(), b"https", Some(b"h"));
        let text = |known| fields.first(known).map_or("-".into(), |value| String::from_utf8_lossy(value).into_owned());
        format!("{} {} {}", text(Known::Scheme), text(Known::Authority), text(Known::Path))
    }

    #[test]
    fn the_forms_of_a_target() {
        for (method, target, expected) in [
            ("GET", "/a?b=http://c/", "https h /a?b=http://c/"),
            ("GET", "//a/b", "https h //a/b"),
            ("OPTIONS", "*", "https h *"),
            ("GET", "HTTP://o.test:8/a?b", "http o.test:8 /a?b"),
            ("GET", "http://o.test", "http o.test /"),
            ("GET", "http://o.test?q=/", "http o.test /?q=/"),
            ("OPTIONS", "http://o.test", "http o.test *"),
            ("OPTIONS", "http://o.test/", "http o.test /"),
            ("GET", "http://u@o.test/", "http u@o.test /"),
            ("GET", "http:///a", "http  /a"),
            ("GET", "ftp://o.test/a", "ftp o.test /a"),
            ("GET", "http://o.test#f", "http o.test /#f"),
            ("GET", "o.test:80", "https h o.test:80"),
            ("CONNECT", "o.test:443", "- o.test:443 -"),
            ("CONNECT", "/", "- / -"),
        ] {
            assert_eq!(shown(method, target), expected, "{method} {target}");
        }
    }
}
