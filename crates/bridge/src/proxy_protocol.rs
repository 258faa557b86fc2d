//! The PROXY protocol, versions 1 and 2: the header by which a load balancer in front of Spooky tells the address of the
//! client, before the first byte of TLS.
//!
//! `edge` calls [`parse`] with the first bytes of a connection from a trusted source, until the header is complete
//! (<https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// Longest line of version 1, with its line end (section 2.1).
const MAX_LINE: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
/// First bytes of version 2 (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, address family, length.
const FIXED: usize = 16;
/// Addresses and ports of a TCP connection over IPv4 and IPv6.
const IPV4_BLOCK: usize = 12;
const IPV6_BLOCK: usize = 36;
/// Addresses of a UNIX socket.
const UNIX_BLOCK: usize = 216;

/// A complete header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// Length in bytes. The bytes after it belong to the connection.
    pub length: usize,
    /// Address of the client. `None` if the header does not tell one, as in a health check of the load balancer; the
    /// address of the socket applies then.
    pub client: Option<SocketAddr>,
}

/// The bytes are no header; the connection must be closed (section 2). Contains the reason, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHeader(pub &'static str);

/// Parses the header at the start of `bytes`. Returns `None` if more bytes are needed.
pub fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, InvalidHeader> {
    let is_start_of = |start: &[u8]| bytes.iter().zip(start).all(|(byte, other)| byte == other);
    if is_start_of(SIGNATURE) {
        parse_binary(bytes)
    } else if is_start_of(LINE_START) {
        parse_line(bytes)
    } else {
        Err(InvalidHeader("no header"))
    }
}

/// Parses version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443` and a line end.
fn parse_line(bytes: &[u8]) -> Result<Option<ProxyHeader>, InvalidHeader> {
    let Some(end) = bytes.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
        return if bytes.len() < MAX_LINE { Ok(None) } else { Err(InvalidHeader("line too long")) };
    };
    let line = bytes.get(LINE_START.len()..end).unwrap_or_default();
    let line = line.strip_suffix(b"\r").ok_or(InvalidHeader("line feed without carriage return"))?;
    let line = std::str::from_utf8(line).map_err(|_| InvalidHeader("invalid line"))?;
    let length = end + 1;
    // What follows UNKNOWN must be ignored.
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Ok(Some(ProxyHeader { length, client: None }));
    }
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    let [Some(source), Some(destination), Some(source_port), Some(destination_port), None] =
        [words.next(), words.next(), words.next(), words.next(), words.next()]
    else {
        return Err(InvalidHeader("invalid line"));
    };
    let ip = match family {
        "TCP4" => address::<Ipv4Addr>(source, destination)?,
        "TCP6" => address::<Ipv6Addr>(source, destination)?,
        _ => return Err(InvalidHeader("unknown protocol")),
    };
    port(destination_port)?;
    let client = Some(SocketAddr::new(ip.to_canonical(), port(source_port)?));
    Ok(Some(ProxyHeader { length, client }))
}

/// Parses the source address; the destination must be one of the same family.
fn address<A: FromStr + Into<IpAddr>>(source: &str, destination: &str) -> Result<IpAddr, InvalidHeader> {
    match (source.parse::<A>(), destination.parse::<A>()) {
        (Ok(source), Ok(_)) => Ok(source.into()),
        _ => Err(InvalidHeader("invalid address")),
    }
}

/// Parses a decimal port. Leading zeros are invalid (section 2.1).
fn port(word: &str) -> Result<u16, InvalidHeader> {
    let is_canonical = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_canonical).ok_or(InvalidHeader("invalid port"))
}

/// Parses version 2. The addresses and what follows them are skipped by the length, whatever the command: some load
/// balancers send addresses with LOCAL too.
fn parse_binary(bytes: &[u8]) -> Result<Option<ProxyHeader>, InvalidHeader> {
    // Each byte is checked when it arrives, so that a wrong header is not waited for.
    if bytes.get(12).is_some_and(|byte| !matches!(byte, 0x20 | 0x21)) {
        return Err(InvalidHeader("unknown version or command"));
    }
    let Some([.., command, family, high, low]) = bytes.first_chunk::<FIXED>() else { return Ok(None) };
    let block = usize::from(u16::from_be_bytes([*high, *low]));
    let is_local = *command == 0x20;
    let least = match family {
        _ if is_local => 0,
        0x00 => 0,
        0x11 | 0x12 => IPV4_BLOCK,
        0x21 | 0x22 => IPV6_BLOCK,
        0x31 | 0x32 => UNIX_BLOCK,
        _ => return Err(InvalidHeader("unknown address family")),
    };
    if block < least {
        return Err(InvalidHeader("address block too short"));
    }
    let length = FIXED + block;
    let Some(header) = bytes.get(..length) else { return Ok(None) };
    let client = match family {
        _ if is_local => None,
        0x11 => client::<4, IPV4_BLOCK>(header),
        0x21 => client::<16, IPV6_BLOCK>(header),
        _ => None, // no TCP connection
    };
    Ok(Some(ProxyHeader { length, client }))
}

/// Reads the source address, of `N` bytes, and the source port from an address block of `BLOCK` bytes.
fn client<const N: usize, const BLOCK: usize>(header: &[u8]) -> Option<SocketAddr>
where
    IpAddr: From<[u8; N]>,
{
    let block = header.get(FIXED..)?.first_chunk::<BLOCK>()?;
    let ip = IpAddr::from(*block.first_chunk::<N>()?);
    let port = u16::from_be_bytes(*block.get(2 * N..)?.first_chunk()?);
    Some(SocketAddr::new(ip.to_canonical(), port))
}

#[cfg(test)]
mod tests;
