//! Fields that describe the client to a backend: `forwarded` (RFC 7239) and `x-forwarded-*`.

use super::{Fields, Known};
use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
};

/// How the client's own fields are treated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedMode {
    /// Replaced by Spooky's.
    #[default]
    Overwrite,
    /// Lists get one more element, single values are kept.
    Append,
    /// Kept; missing fields are added.
    Preserve,
}

/// Client address and listener port as text. Cheap enough to create for each request.
#[derive(Clone, Debug)]
pub struct ForwardedClient {
    address: InlineText<45>,
    port: InlineText<5>,
    is_v6: bool,
}

impl ForwardedClient {
    /// Formats the address of the client and the port of the listener.
    pub fn new(address: IpAddr, listener_port: u16) -> Self {
        let (address, is_v6) = match address.to_canonical() {
            IpAddr::V4(address) => (InlineText::of_numbers(&address.octets(), b'.'), false),
            IpAddr::V6(address) => (InlineText::of(&address), true),
        };
        Self { address, port: InlineText::of_numbers(&[listener_port], b'.'), is_v6 }
    }

    /// Returns the address as text, an IPv6 address without brackets.
    pub fn address(&self) -> &[u8] {
        self.address.as_bytes()
    }

    fn port(&self) -> &[u8] {
        self.port.as_bytes()
    }

    /// Returns the parts of `for=...;proto=https;host="`.
    fn for_and_proto(&self) -> [&[u8]; 3] {
        if self.is_v6 {
            [b"for=\"[", self.address(), b"]\";proto=https;host=\""]
        } else {
            [b"for=", self.address(), b";proto=https;host=\""]
        }
    }
}

impl Default for ForwardedClient {
    /// Returns an unknown client: 0.0.0.0, port 0.
    fn default() -> Self {
        Self::new(Ipv4Addr::UNSPECIFIED.into(), 0)
    }
}

/// A short text without a heap allocation.
#[derive(Clone, Debug)]
struct InlineText<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> InlineText<N> {
    fn of(value: &impl std::fmt::Display) -> Self {
        let mut bytes = [0; N];
        let mut rest = &mut bytes[..];
        // Text beyond N is truncated; N is the longest text of its type.
        let _ = write!(rest, "{value}");
        let len = (N - rest.len()) as u8;
        Self { bytes, len }
    }

    /// Formats numbers in decimal with `between` as separator. Truncates what does not fit.
    fn of_numbers<T: Copy + Into<u16>>(numbers: &[T], between: u8) -> Self {
        let mut text = Self { bytes: [0; N], len: 0 };
        for (at, number) in numbers.iter().enumerate() {
            if at > 0 {
                text.push(between);
            }
            let number: u16 = (*number).into();
            for unit in [10_000, 1000, 100, 10] {
                if number >= unit {
                    text.push(digit(number / unit));
                }
            }
            text.push(digit(number));
        }
        text
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(usize::from(self.len)) {
            *slot = byte;
            self.len += 1;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

fn digit(number: u16) -> u8 {
    b'0' + (number % 10) as u8
}

/// Which forwarding fields a request has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Present {
    pub(super) forwarded: bool,
    pub(super) list: bool,
    pub(super) proto: bool,
    pub(super) host: bool,
    pub(super) port: bool,
}

impl Present {
    /// Marks the field of this name as present. Returns false if it is not a forwarding field.
    pub(super) fn mark(&mut self, name: Known) -> bool {
        let flag = match name {
            Known::Forwarded => &mut self.forwarded,
            Known::XForwardedFor => &mut self.list,
            Known::XForwardedProto => &mut self.proto,
            Known::XForwardedHost => &mut self.host,
            Known::XForwardedPort => &mut self.port,
            _ => return false,
        };
        *flag = true;
        true
    }
}

/// Adds the fields. The caller has removed those that `mode` drops; `present` lists the rest. The host is taken from
/// `:authority`.
pub(super) fn add(fields: &mut Fields, client: &ForwardedClient, mode: ForwardedMode, present: Present) {
    let is_appended = mode == ForwardedMode::Append;
    if !present.forwarded || is_appended {
        add_element(fields, client);
        if present.forwarded {
            fields.join(Known::Forwarded, b", ", &[]);
        }
    }
    if !present.list {
        fields.push(Known::XForwardedFor, client.address());
    } else if is_appended {
        fields.join(Known::XForwardedFor, b", ", &[client.address()]);
    }
    if !present.proto {
        fields.push(Known::XForwardedProto, b"https");
    }
    if !present.host {
        fields.push_around(Known::XForwardedHost, &[], Known::Authority, b"");
    }
    if !present.port {
        fields.push(Known::XForwardedPort, client.port());
    }
}

/// Adds a `forwarded` field with Spooky's element.
fn add_element(fields: &mut Fields, client: &ForwardedClient) {
    let prefix = client.for_and_proto();
    match fields.first(Known::Authority).and_then(escape) {
        // The checks reject such a host.
        Some(escaped) => fields.push_parts(Known::Forwarded, &[prefix[0], prefix[1], prefix[2], &escaped, b"\""]),
        None => fields.push_around(Known::Forwarded, &prefix, Known::Authority, b"\""),
    }
}

/// Returns `text` escaped for a quoted string (RFC 9110 5.6.4), or `None` if it needs no escape.
pub(super) fn escape(text: &[u8]) -> Option<Vec<u8>> {
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\');
    text.iter().any(is_special).then(|| {
        let escaped = text.iter().flat_map(|byte| is_special(byte).then_some(b'\\').into_iter().chain([*byte]));
        escaped.collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ports_are_written_as_the_standard_library_does() {
        let addresses = ["0.0.0.0", "1.20.100.255", "203.0.113.9", "255.255.255.255", "::", "2001:db8::5"];
        for (address, port) in addresses.iter().zip([0, 9, 10, 443, 10_000, u16::MAX]) {
            let client = ForwardedClient::new(address.parse().unwrap(), port);
            assert_eq!(client.address(), address.as_bytes());
            assert_eq!(client.port(), port.to_string().as_bytes());
        }
        assert_eq!(ForwardedClient::new("::ffff:192.0.2.1".parse().unwrap(), 1).address(), b"192.0.2.1");
    }
}
