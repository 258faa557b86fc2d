//! Tests of both versions of the header, byte by byte and with the bytes of a connection behind it.

use super::*;

/// A header of version 2.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = (block.len() as u16).to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, block].concat()
}

const IPV4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 0x01, 0xbb];

fn ipv6() -> Vec<u8> {
    let [source, destination] = ["2001:db8::7", "2001:db8::1"].map(|text| text.parse::<Ipv6Addr>().unwrap().octets());
    [&source[..], &destination, &[0xdc, 0x04, 0x01, 0xbb]].concat()
}

/// Parses `header` in every number of segments of one byte, and with bytes of TLS behind it.
fn parsed(header: &[u8]) -> Option<SocketAddr> {
    for length in 0..header.len() {
        assert_eq!(parse(&header[..length]), Ok(None), "{length} of {} bytes", header.len());
    }
    let with_hello = [header, b"\x16\x03\x01\x02\x00"].concat();
    let complete = parse(&with_hello).unwrap().unwrap();
    assert_eq!(parse(header), Ok(Some(complete)));
    assert_eq!(complete.length, header.len());
    complete.client
}

fn address_of(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn a_line_tells_the_client() {
    for (line, client) in [
        ("PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n", Some(address_of("192.0.2.7:56324"))),
        ("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", Some(address_of("255.255.255.255:65535"))),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 0 443\r\n", Some(address_of("[2001:db8::7]:0"))),
        ("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 56324 443\r\n", Some(address_of("192.0.2.7:56324"))),
        ("PROXY UNKNOWN\r\n", None),
        ("PROXY UNKNOWN ffff:f...f:ffff whatever 65535 65535\r\n", None),
    ] {
        assert_eq!(parsed(line.as_bytes()), client, "{line}");
    }
    let longest = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_LINE - 16));
    assert_eq!((longest.len(), parsed(longest.as_bytes())), (107, None));
}

#[test]
fn a_line_that_breaks_the_format_is_invalid() {
    for line in [
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 1\r\n",
        "PROXY TCP4  192.0.2.7 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 +56324 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.7 198.51.100.1 56324 -1\r\n",
        "PROXY TCP4 192.0.2.07 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n",
        "PROXY TCP6 192.0.2.7 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.7 client 56324 443\r\n",
        "PROXY UDP4 192.0.2.7 198.51.100.1 56324 443\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY \r\n",
        "PROXY TCP4\t192.0.2.7 198.51.100.1 56324 443\r\n",
        "proxy TCP4 192.0.2.7 198.51.100.1 56324 443\r\n",
        "PROXY\r\n",
        "GET / HTTP/1.1\r\n",
        "\x16\x03\x01",
    ] {
        assert!(parse(line.as_bytes()).is_err(), "{line}");
    }
    let long = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_LINE - 15));
    assert_eq!(parse(&long.as_bytes()[..MAX_LINE]), Err(InvalidHeader("line too long")));
}

#[test]
fn the_binary_header_tells_the_client() {
    assert_eq!(parsed(&binary(0x21, 0x11, &IPV4)), Some(address_of("192.0.2.7:56324")));
    assert_eq!(parsed(&binary(0x21, 0x21, &ipv6())), Some(address_of("[2001:db8::7]:56324")));
    let with_tlvs = [&IPV4[..], &[0x04, 0x00, 0x05, 1, 2, 3, 4, 5], &[7; 300]].concat();
    assert_eq!(parsed(&binary(0x21, 0x11, &with_tlvs)), Some(address_of("192.0.2.7:56324")));
}

#[test]
fn a_binary_header_without_a_tcp_client_is_skipped_by_its_length() {
    for (command, family, block) in [
        (0x20, 0x00, vec![]),
        (0x20, 0x11, IPV4.to_vec()),
        (0x20, 0x21, vec![1, 2, 3]),
        (0x20, 0xff, vec![0; 40]),
        (0x21, 0x00, vec![]),
        (0x21, 0x00, vec![9; 500]),
        (0x21, 0x12, IPV4.to_vec()),
        (0x21, 0x22, ipv6()),
        (0x21, 0x31, vec![0; UNIX_BLOCK]),
    ] {
        assert_eq!(parsed(&binary(command, family, &block)), None, "{command:#x} {family:#x}");
    }
}

#[test]
fn a_binary_header_that_breaks_the_format_is_invalid() {
    for (command, family, block) in [
        (0x11, 0x11, IPV4.to_vec()),
        (0x22, 0x11, IPV4.to_vec()),
        (0x21, 0x41, IPV4.to_vec()),
        (0x21, 0x13, IPV4.to_vec()),
        (0x21, 0x11, IPV4[..11].to_vec()),
        (0x21, 0x21, ipv6()[..35].to_vec()),
        (0x21, 0x31, vec![0; UNIX_BLOCK - 1]),
    ] {
        assert!(parse(&binary(command, family, &block)).is_err(), "{command:#x} {family:#x}");
    }
    assert!(parse(b"\r\n\r\nGET / HTTP/1.1\r\n").is_err());
    assert!(parse(&[&SIGNATURE[..], &[0x31]].concat()).is_err(), "at the first wrong byte");
}
