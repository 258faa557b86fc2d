//! What a backend is told about the client: `forwarded` (RFC 7239) and the `x-forwarded-*` family.

use super::{Fields, Known};
use std::{
    io::Write,
    net::{IpAddr, Ipv4Addr},
};

/// What becomes of the fields that the client sent itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedMode {
    /// They are dropped.
    #[default]
    Overwrite,
    /// Lists grow by one element, single values are kept.
    Append,
    /// They are kept; only what is missing is added.
    Preserve,
}

/// The texts that name a client and the listener it came to. Cheap enough to make for each request.
#[derive(Clone, Debug)]
pub struct Client {
    address: Text<45>,
    port: Text<5>,
    is_v6: bool,
}

impl Client {
    /// For this address of the client and port of the listener.
    pub fn new(address: IpAddr, listener_port: u16) -> Self {
        let (address, is_v6) = match address.to_canonical() {
            IpAddr::V4(address) => (Text::of_numbers(&address.octets(), b'.'), false),
            IpAddr::V6(address) => (Text::of(&address), true),
        };
        Self { address, port: Text::of_numbers(&[listener_port], b'.'), is_v6 }
    }

    /// The address as text, an IPv6 address without brackets.
    pub fn address(&self) -> &[u8] {
        self.address.as_bytes()
    }

    fn port(&self) -> &[u8] {
        self.port.as_bytes()
    }

    /// `for=` with its value, and what follows up to the host.
    fn for_and_proto(&self) -> [&[u8]; 3] {
        if self.is_v6 {
            [b"for=\"[", self.address(), b"]\";proto=https;host=\""]
        } else {
            [b"for=", self.address(), b";proto=https;host=\""]
        }
    }
}

impl Default for Client {
    /// An unknown client: 0.0.0.0, port 0.
    fn default() -> Self {
        Self::new(Ipv4Addr::UNSPECIFIED.into(), 0)
    }
}

/// A short text without an allocation of its own.
#[derive(Clone, Debug)]
struct Text<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Text<N> {
    fn of(value: &impl std::fmt::Display) -> Self {
        let mut bytes = [0; N];
        let mut rest = &mut bytes[..];
        // What does not fit is cut; N is the longest text of its type.
        let _ = write!(rest, "{value}");
        let len = (N - rest.len()) as u8;
        Self { bytes, len }
    }

    /// The numbers in decimal digits, with `between` between them. What does not fit is cut.
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
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = byte;
            self.len += 1;
        }
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

/// The last decimal digit of a number.
fn digit(number: u16) -> u8 {
    b'0' + (number % 10) as u8
}

/// Which fields of the family a request has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Present {
    pub(super) forwarded: bool,
    pub(super) list: bool,
    pub(super) proto: bool,
    pub(super) host: bool,
    pub(super) port: bool,
}

impl Present {
    /// Notes a field of this name; false if it is not of the family.
    pub(super) fn note(&mut self, name: Known) -> bool {
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

/// Adds the fields. Those that `mode` drops are gone already; `present` are those still there. `:authority` is the host
/// that the client asked for.
pub(super) fn add(fields: &mut Fields, client: &Client, mode: ForwardedMode, present: Present) {
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

/// Appends Spooky's own element to `forwarded`.
fn add_element(fields: &mut Fields, client: &Client) {
    let before = client.for_and_proto();
    match fields.first(Known::Authority).and_then(escape) {
        // The checks let no such host pass.
        Some(escaped) => fields.push_parts(Known::Forwarded, &[before[0], before[1], before[2], &escaped, b"\""]),
        None => fields.push_around(Known::Forwarded, &before, Known::Authority, b"\""),
    }
}

/// `text` as the inside of a quoted string, where that differs from `text` (RFC 9110 5.6.4).
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
            let client = Client::new(address.parse().unwrap(), port);
            assert_eq!(client.address(), address.as_bytes());
            assert_eq!(client.port(), port.to_string().as_bytes());
        }
        assert_eq!(Client::new("::ffff:192.0.2.1".parse().unwrap(), 1).address(), b"192.0.2.1");
    }
}
