//! MTUs of the local interfaces, the upper limit of path MTU discovery.

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char};
use std::io;
use std::mem::zeroed;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;

use super::address::{SOCKADDR_SPACE, SockAddr};

/// Minimum MTU reported, in bytes: every IPv6 link supports it (RFC 8200 section 5), and QUIC requires it.
pub const MIN_MTU: usize = 1280;

/// Addresses of this host with the MTUs of their interfaces, as read at one moment.
///
/// Reading asks the kernel for all interfaces (about 10 us each), so callers should keep the table and refresh it
/// periodically, not per connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InterfaceMtus {
    by_address: HashMap<IpAddr, usize>,
    loopback: Option<usize>,
    largest: Option<usize>,
}

impl InterfaceMtus {
    /// Reads the interfaces that are up.
    pub fn read() -> io::Result<Self> {
        // Any socket can query the MTU of an interface.
        let socket = UdpSocket::bind(("127.0.0.1", 0)).or_else(|_| UdpSocket::bind(("::1", 0)))?;
        let mut table = Self::default();
        for entry in interfaces()? {
            let Some(mtu) = mtu_of(&socket, &entry.name) else { continue };
            let mtu = mtu.max(MIN_MTU);
            if entry.is_loopback {
                table.loopback = table.loopback.max(Some(mtu));
            }
            table.largest = table.largest.max(Some(mtu));
            if let Some(address) = entry.address {
                table.by_address.insert(address, mtu);
            }
        }
        Ok(table)
    }

    /// Returns the MTU in bytes of the interface with the address `local`; `None` if no interface that is up has it.
    ///
    /// All of 127.0.0.0/8 is on the loopback interface. An unspecified address does not identify an interface, so it
    /// has the largest MTU of all; for a connection, pass the local address of its datagrams.
    pub fn of(&self, local: IpAddr) -> Option<usize> {
        let local = local.to_canonical();
        match self.by_address.get(&local) {
            Some(mtu) => Some(*mtu),
            None if local.is_unspecified() => self.largest,
            None if local.is_loopback() => self.loopback,
            None => None,
        }
    }
}

/// Returns the MTU in bytes of the interface with the address `local`, at least [`MIN_MTU`]; see [`InterfaceMtus::of`].
pub fn interface_mtu(local: IpAddr) -> Option<usize> {
    InterfaceMtus::read().ok()?.of(local)
}

struct Interface {
    name: CString,
    address: Option<IpAddr>,
    is_loopback: bool,
}

/// Lists the interfaces that are up, once per address.
fn interfaces() -> io::Result<Vec<Interface>> {
    let mut head = ptr::null_mut();
    // SAFETY: `head` is a live out-pointer. (Miri does not support `getifaddrs`.)
    if unsafe { libc::getifaddrs(&raw mut head) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = head;
    while !next.is_null() {
        // SAFETY: `next` is a node of the list, valid until `freeifaddrs`.
        let node = unsafe { &*next };
        next = node.ifa_next;
        if node.ifa_flags & libc::IFF_UP as u32 == 0 {
            continue;
        }
        // SAFETY: `ifa_name` is a C string that lives as long as the list.
        let name = unsafe { CStr::from_ptr(node.ifa_name) };
        found.push(Interface {
            name: name.to_owned(),
            address: address(node.ifa_addr),
            is_loopback: node.ifa_flags & libc::IFF_LOOPBACK as u32 != 0,
        });
    }
    // SAFETY: `head` came from `getifaddrs`, is freed once, and nothing found points into the list.
    unsafe { libc::freeifaddrs(head) };
    Ok(found)
}

fn address(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: a non-null `ifa_addr` begins with its family.
    let length = match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => 16,
        libc::AF_INET6 => SOCKADDR_SPACE,
        _ => return None,
    };
    // SAFETY: an address of that family has at least `length` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), length) };
    SockAddr::copy(bytes).decode(length).map(|address| address.ip())
}

fn mtu_of(socket: &UdpSocket, name: &CStr) -> Option<usize> {
    // SAFETY: all-zero is a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if name.count_bytes() >= request.ifr_name.len() {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = c_char::from_ne_bytes([*from]);
    }
    // SAFETY: SIOCGIFMTU reads the name in `request` and writes `ifru_mtu` there; `request` outlives the call.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU, &raw mut request) } != 0 {
        return None;
    }
    // SAFETY: the call above succeeded, so the union holds the MTU.
    usize::try_from(unsafe { request.ifr_ifru.ifru_mtu }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mtu_file(interface: &str) -> usize {
        let text = std::fs::read_to_string(format!("/sys/class/net/{interface}/mtu")).unwrap();
        text.trim().parse::<usize>().unwrap().max(MIN_MTU)
    }

    #[test]
    fn loopback_addresses_have_the_mtu_of_loopback() {
        let expected = Some(mtu_file("lo"));
        for address in ["127.0.0.1", "127.0.0.2", "127.255.0.9", "::ffff:127.0.0.1"] {
            assert_eq!(interface_mtu(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn unspecified_is_the_largest_and_foreign_is_unknown() {
        let largest = interface_mtu("0.0.0.0".parse().unwrap()).unwrap();
        assert!(largest >= mtu_file("lo"));
        assert_eq!(interface_mtu("::".parse().unwrap()), Some(largest));
        assert_eq!(interface_mtu("203.0.113.77".parse().unwrap()), None);
    }
}
