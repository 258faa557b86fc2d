//! Strings, file paths and URL paths.

use std::path::PathBuf;

use crate::spec::{ConfigValue, Key, Kind, ListItem, Reader};
use crate::yaml::Node;
use crate::yaml::emit::Value;

impl ListItem for String {}

impl ConfigValue for String {
    fn kind() -> Kind {
        Kind::Text("string")
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        reader.string(node, key)
    }

    fn to_value(&self, _key: &Key) -> Value {
        Value::Text(self.clone())
    }
}

impl ConfigValue for PathBuf {
    fn kind() -> Kind {
        Kind::Text("path")
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        reader.string(node, key).map(Self::from)
    }

    fn to_value(&self, _key: &Key) -> Value {
        Value::Text(self.display().to_string())
    }
}

/// Returns the host of `host`, `host:port`, `[v6]`, `[v6]:port` or an IPv6 literal. Returns `None` if the port is invalid.
pub(crate) fn strip_port(text: &str) -> Option<&str> {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    if let Some(inner) = text.strip_prefix('[') {
        let (host, port) = inner.split_once(']')?;
        let fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return (fits && host.contains(':')).then_some(host);
    }
    match text.split_once(':') {
        None => Some(text),
        Some((_, rest)) if rest.contains(':') => Some(text),
        Some((host, port)) => is_port(port).then_some(host),
    }
}

/// Returns the prefix that a path with `*` probably means: up to the last `/` before the `*`, or up to the `*` if nothing
/// else is left. Returns `None` without `*`.
pub(crate) fn literal_prefix(path: &str) -> Option<&str> {
    let (before, _) = path.split_once('*')?;
    let end = before.rfind('/').filter(|slash| *slash > 0).map_or(before.len(), |slash| slash.saturating_add(1));
    before.get(..end)
}

/// Normalizes a URL path: decodes unreserved escapes once, reads `%2F`, `%5C` and `\` as `/`, truncates at `%00`, merges
/// repeated `/`, removes dot segments. Keeps a trailing `/`.
pub fn matching_form(path: &str) -> String {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let escape = match (first, after) {
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => Some(((high << 4) | low, [upper(high), upper(low)], tail)),
                _ => None,
            },
            _ => None,
        };
        match escape {
            Some((0, _, _)) => break,
            Some((b'/' | b'\\', _, tail)) => {
                decoded.push(b'/');
                rest = tail;
            }
            Some((byte, _, tail)) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                decoded.push(byte);
                rest = tail;
            }
            Some((_, digits, tail)) => {
                decoded.push(b'%');
                decoded.extend(digits);
                rest = tail;
            }
            None => decoded.push(if *first == b'\\' { b'/' } else { *first }),
        }
    }
    remove_dots(&String::from_utf8_lossy(&decoded))
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Returns the upper-case hexadecimal digit.
fn upper(value: u8) -> u8 {
    b"0123456789ABCDEF".get(usize::from(value)).copied().unwrap_or(b'0')
}

fn remove_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut open = false;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        open = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    let tail = if (open || path.ends_with('/')) && !segments.is_empty() { "/" } else { "" };
    format!("/{}{tail}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_compare_in_their_matching_form() {
        for (path, form) in [
            ("/", "/"),
            ("", "/"),
            ("/api", "/api"),
            ("/api/", "/api/"),
            ("//api///v1", "/api/v1"),
            ("/%61pi", "/api"),
            ("/a%2fb", "/a/b"),
            ("/a\\b%5cc", "/a/b/c"),
            ("/a/../b", "/b"),
            ("/a/./b/..", "/a/"),
            ("/..", "/"),
            ("/%252e", "/%252e"),
            ("/a%00b", "/a"),
            ("/%e4", "/%E4"),
            ("/%zz", "/%zz"),
        ] {
            assert_eq!(matching_form(path), form, "{path}");
        }
    }

    #[test]
    fn a_port_is_cut_off_hosts_of_every_kind() {
        for (text, host) in [
            ("a.example", Some("a.example")),
            ("a.example:443", Some("a.example")),
            ("[::1]", Some("::1")),
            ("[::1]:443", Some("::1")),
            ("::1", Some("::1")),
            ("a:x", None),
            ("a:+1", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[a]", None),
        ] {
            assert_eq!(strip_port(text), host, "{text}");
        }
    }
}
