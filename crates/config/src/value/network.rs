//! CIDR networks and loopback addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::http::is_dns_name;
use crate::spec::text::{Text, text};
use crate::spec::{ConfigValue, Key, Kind, ListItem, Reader};
use crate::yaml::Node;
use crate::yaml::emit::Value;

/// A network such as `10.0.0.0/8`, or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Parses a network. Ignores host bits.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => longest,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
        };
        (prefix <= longest).then_some(Self { address, prefix })
    }

    /// Whether the address is in the network. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32_u32.saturating_sub(u32::from(self.prefix))).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(u32::from(self.prefix))).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

const BAD_NETWORK: Text = text("invalid value '<v>': expected a network such as 10.0.0.0/8");

impl ListItem for Network {}

impl ConfigValue for Network {
    fn kind() -> Kind {
        Kind::Text("CIDR")
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, _base: Option<&Self>) -> Option<Self> {
        let text = reader.string(node, key)?;
        let network = Self::parse(&text);
        if network.is_none() {
            reader.report_invalid(node, key, &text, BAD_NETWORK);
        }
        network
    }

    fn to_value(&self, _key: &Key) -> Value {
        Value::Text(self.to_string())
    }
}

/// Whether the text is an IP literal (IPv6 with or without brackets) or a name.
pub(crate) fn is_host(text: &str) -> bool {
    let literal = text.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    match literal {
        Some(literal) => literal.parse::<Ipv6Addr>().is_ok(),
        None => text.parse::<IpAddr>().is_ok() || is_dns_name(text),
    }
}

/// Whether the address is `localhost` or a loopback literal, with or without brackets.
pub fn is_loopback(address: &str) -> bool {
    let literal = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    address.eq_ignore_ascii_case("localhost")
        || literal.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_what_their_prefix_says() {
        let network = |text| Network::parse(text).unwrap();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(network("10.1.0.0/16").contains(address("10.1.255.1")));
        assert!(network("10.1.0.0/16").contains(address("::ffff:10.1.2.3")));
        assert!(!network("10.1.0.0/16").contains(address("10.2.0.1")));
        assert!(network("0.0.0.0/0").contains(address("255.1.1.1")));
        assert!(network("2001:db8::/32").contains(address("2001:db8:1::1")));
        assert!(!network("::1").contains(address("::2")));
        for text in ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "example.com", "::/129", ""] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn loopback_is_a_literal_or_localhost() {
        for text in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]", "::ffff:127.0.0.1"] {
            assert!(is_loopback(text), "{text}");
        }
        for text in ["0.0.0.0", "::", "example.com", "[127.0.0.1", "localhost."] {
            assert!(!is_loopback(text), "{text}");
        }
    }
}
