//! Control messages: local address, ECN bits, GSO segment size and GRO stride of a datagram.
//!
//! Safe code, which reads and writes the layout of `cmsghdr` on Linux by position: length as `size_t`, level and type
//! as `int`, each message padded to `sizeof(size_t)`.

use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libc::c_int;

use super::address::Family;

/// `SOL_UDP`, which libc defines only on some targets.
pub(super) const SOL_UDP: c_int = 17;
/// Segment size of a GSO send (linux/udp.h).
pub(super) const UDP_SEGMENT: c_int = 103;
/// Option to receive coalesced datagrams (linux/udp.h).
pub(super) const UDP_GRO: c_int = 104;

const WORD: usize = size_of::<usize>();
const HEADER: usize = WORD + 2 * size_of::<c_int>();
const ECN_MASK: u8 = 0b11;

/// Space for all messages of [`Outgoing`]: addresses 40, traffic class 24, segment size 24.
pub(super) const SEND_SPACE: usize = 96;
/// Space for all messages that the options of `UdpSocket` enable, in both families.
pub(super) const RECV_SPACE: usize = 160;

/// A buffer for control messages, with the alignment of `cmsghdr`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control<const N: usize>(pub(super) [u8; N]);

impl<const N: usize> Control<N> {
    pub(super) const EMPTY: Self = Self([0; N]);
}

/// Control data of a burst to send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outgoing {
    pub(super) destination: IpAddr,
    pub(super) source: Option<IpAddr>,
    pub(super) ecn: Option<u8>,
    pub(super) segment_size: Option<u16>,
}

impl Outgoing {
    /// Writes the messages to `control` and returns their length. Omits a source of a different family than the
    /// destination, so the kernel chooses one.
    pub(super) fn encode(&self, control: &mut Control<SEND_SPACE>, family: Family) -> usize {
        let mut writer = Writer { free: &mut control.0, used: 0 };
        match (self.destination, self.source) {
            (IpAddr::V4(_), Some(IpAddr::V4(source))) => {
                // struct in_pktinfo: interface, source for sending, unused for sending.
                let mut info = [0; 12];
                if let Some(spec_dst) = info.get_mut(4..8) {
                    spec_dst.copy_from_slice(&source.octets());
                }
                writer.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            (IpAddr::V6(_), Some(IpAddr::V6(source))) => {
                // struct in6_pktinfo: source, interface (0: by route and scope).
                let mut info = [0; 20];
                info.first_chunk_mut::<16>().iter_mut().for_each(|ip| **ip = source.octets());
                writer.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            _ => {}
        }
        if let Some(ecn) = self.ecn {
            let class = c_int::from(ecn & ECN_MASK).to_ne_bytes();
            match (self.destination, family) {
                (IpAddr::V4(_), _) | (_, Family::V4) => writer.push(libc::IPPROTO_IP, libc::IP_TOS, &class),
                (IpAddr::V6(_), Family::V6) => writer.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &class),
            }
        }
        if let Some(size) = self.segment_size {
            writer.push(SOL_UDP, UDP_SEGMENT, &size.to_ne_bytes());
        }
        writer.used
    }
}

struct Writer<'a> {
    free: &'a mut [u8],
    used: usize,
}

impl Writer<'_> {
    /// Appends a message. [`SEND_SPACE`] has space for all messages.
    fn push(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        let length = HEADER + data.len();
        let space = length.next_multiple_of(WORD);
        let free = std::mem::take(&mut self.free);
        let Some((message, rest)) = free.split_at_mut_checked(space) else {
            debug_assert!(false, "SEND_SPACE is too small");
            return;
        };
        let fields = length.to_ne_bytes().into_iter().chain(level.to_ne_bytes()).chain(kind.to_ne_bytes());
        let content = fields.chain(data.iter().copied()).chain(std::iter::repeat(0));
        message.iter_mut().zip(content).for_each(|(to, from)| *to = from);
        self.free = rest;
        self.used += space;
    }
}

/// Control data of a received message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Incoming {
    pub(super) local_ip: Option<IpAddr>,
    pub(super) ecn: Option<u8>,
    /// Size of the coalesced datagrams; `None` if the message is one datagram.
    pub(super) stride: Option<usize>,
}

impl Incoming {
    /// Reads the messages in the part of `control` that the kernel filled. Skips unknown ones.
    pub(super) fn decode(control: &[u8]) -> Self {
        let mut incoming = Self::default();
        let mut rest = control;
        while let Some((level, kind, data, next)) = split_message(rest) {
            incoming.take(level, kind, data);
            rest = next;
        }
        incoming
    }

    fn take(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // ipi_addr, the destination in the IP header.
                let ip = data.get(8..12).and_then(|ip| ip.first_chunk::<4>());
                self.local_ip = ip.map(|ip| IpAddr::V4(Ipv4Addr::from(*ip))).or(self.local_ip);
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let ip = data.first_chunk::<16>();
                self.local_ip = ip.map(|ip| Ipv6Addr::from(*ip).to_canonical()).or(self.local_ip);
            }
            (libc::IPPROTO_IP, libc::IP_TOS) => self.ecn = data.first().map(|tos| tos & ECN_MASK),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                let class = data.first_chunk::<4>();
                self.ecn = class.map(|class| c_int::from_ne_bytes(*class).to_le_bytes()[0] & ECN_MASK);
            }
            (SOL_UDP, UDP_GRO) => {
                let stride = data.first_chunk::<4>().map(|size| c_int::from_ne_bytes(*size));
                self.stride = stride.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
            }
            _ => {}
        }
    }
}

/// Splits off the first message: level, type, data, rest.
fn split_message(control: &[u8]) -> Option<(c_int, c_int, &[u8], &[u8])> {
    let (length, fields) = control.split_first_chunk::<WORD>()?;
    let (level, fields) = fields.split_first_chunk::<4>()?;
    let (kind, _) = fields.split_first_chunk::<4>()?;
    let length = usize::from_ne_bytes(*length);
    let data = control.get(HEADER..length)?;
    let next = control.get(length.next_multiple_of(WORD)..).unwrap_or_default();
    Some((c_int::from_ne_bytes(*level), c_int::from_ne_bytes(*kind), data, next))
}

#[cfg(test)]
mod tests;
