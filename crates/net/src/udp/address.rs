//! Socket addresses in the kernel's layout, read and written by position in safe code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use libc::{AF_INET, AF_INET6};

/// Size of a `sockaddr_in6`; a `sockaddr_in` has 16 bytes.
pub(super) const SOCKADDR_SPACE: usize = 28;

/// The address family of a socket, which decides how IPv4 peers are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// `AF_INET`.
    V4,
    /// `AF_INET6`, dual-stack if the bound address permits: IPv4 is encoded as `::ffff:a.b.c.d`.
    V6,
}

/// A socket address in the kernel's layout.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct SockAddr([u8; SOCKADDR_SPACE]);

impl SockAddr {
    pub(super) const EMPTY: Self = Self([0; SOCKADDR_SPACE]);

    /// Copies an address, truncated to the space.
    pub(super) fn copy(bytes: &[u8]) -> Self {
        let mut name = [0; SOCKADDR_SPACE];
        name.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Self(name)
    }

    /// Encodes `address` for a socket of `family`. Returns the address and its length, or `None` if such a socket
    /// cannot reach it.
    pub(super) fn encode(address: SocketAddr, family: Family) -> Option<(Self, usize)> {
        match (address, family) {
            (SocketAddr::V4(v4), Family::V4) => Some((Self::v4(v4), 16)),
            (SocketAddr::V4(v4), Family::V6) => {
                let mapped = SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0);
                Some((Self::v6(mapped), SOCKADDR_SPACE))
            }
            (SocketAddr::V6(v6), Family::V6) => Some((Self::v6(v6), SOCKADDR_SPACE)),
            (SocketAddr::V6(_), Family::V4) => None,
        }
    }

    fn v4(address: SocketAddrV4) -> Self {
        let [f0, f1] = (AF_INET as u16).to_ne_bytes();
        let [p0, p1] = address.port().to_be_bytes();
        let [a, b, c, d] = address.ip().octets();
        let mut name = [0; SOCKADDR_SPACE];
        if let Some(head) = name.first_chunk_mut() {
            *head = [f0, f1, p0, p1, a, b, c, d];
        }
        Self(name)
    }

    fn v6(address: SocketAddrV6) -> Self {
        let mut name = [0; SOCKADDR_SPACE];
        let (head, rest) = name.split_at_mut(8);
        let (ip, scope) = rest.split_at_mut(16);
        let [f0, f1] = (AF_INET6 as u16).to_ne_bytes();
        let [p0, p1] = address.port().to_be_bytes();
        let [l0, l1, l2, l3] = address.flowinfo().to_be_bytes();
        head.copy_from_slice(&[f0, f1, p0, p1, l0, l1, l2, l3]);
        ip.copy_from_slice(&address.ip().octets());
        scope.copy_from_slice(&address.scope_id().to_ne_bytes());
        Self(name)
    }

    /// Decodes the first `length` bytes. Returns `None` if they are not an internet address.
    pub(super) fn decode(&self, length: usize) -> Option<SocketAddr> {
        let bytes = self.0.get(..length)?;
        let (family, bytes) = bytes.split_first_chunk::<2>()?;
        let (port, bytes) = bytes.split_first_chunk::<2>()?;
        let port = u16::from_be_bytes(*port);
        match i32::from(u16::from_ne_bytes(*family)) {
            AF_INET => {
                let ip: [u8; 4] = *bytes.first_chunk()?;
                Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::from(ip)), port))
            }
            AF_INET6 => {
                let (_flow, bytes) = bytes.split_first_chunk::<4>()?;
                let (ip, bytes) = bytes.split_first_chunk::<16>()?;
                let scope = u32::from_ne_bytes(*bytes.first_chunk()?);
                let ip = Ipv6Addr::from(*ip);
                Some(match ip.to_ipv4_mapped() {
                    Some(v4) => SocketAddr::new(IpAddr::V4(v4), port),
                    None => SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)),
                })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str, family: Family) -> Option<SocketAddr> {
        let (name, length) = SockAddr::encode(text.parse().unwrap(), family)?;
        name.decode(length)
    }

    #[test]
    fn addresses_survive_the_kernel_layout() {
        for text in ["192.0.2.7:443", "0.0.0.0:0", "255.255.255.255:65535"] {
            assert_eq!(round_trip(text, Family::V4), Some(text.parse().unwrap()));
            assert_eq!(round_trip(text, Family::V6), Some(text.parse().unwrap()), "mapped and back");
        }
        assert_eq!(round_trip("[2001:db8::7]:443", Family::V6), Some("[2001:db8::7]:443".parse().unwrap()));
        assert_eq!(round_trip("[fe80::1%3]:443", Family::V6), Some("[fe80::1%3]:443".parse().unwrap()));
        assert_eq!(round_trip("[2001:db8::7]:443", Family::V4), None);
    }

    #[test]
    fn short_or_foreign_names_are_refused() {
        let (name, length) = SockAddr::encode("[2001:db8::7]:443".parse().unwrap(), Family::V6).unwrap();
        for short in 0..length {
            assert_eq!(name.decode(short), None);
        }
        assert_eq!(name.decode(SOCKADDR_SPACE + 1), None);
        assert_eq!(SockAddr::EMPTY.decode(SOCKADDR_SPACE), None);
    }
}
