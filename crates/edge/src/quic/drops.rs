//! Dropped packets and refused connections: always counted, logged at debug level with at most ten lines of each kind in a
//! second ([`LineLimit`]), so that a flood of packets does not flood the log.

use spooky_telemetry::{
    limit::LineLimit,
    metrics::{Dropped, IngressSeries},
};
use std::{
    fmt::{self, Display},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

/// Shared by all workers.
static LIMITS: [LineLimit; Dropped::COUNT] = [const { LineLimit::new() }; Dropped::COUNT];

/// Counts drops for the metrics, and logs them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drops(Arc<IngressSeries>);

impl Drops {
    pub(crate) fn new(counts: Arc<IngressSeries>) -> Self {
        Self(counts)
    }

    #[cfg(test)]
    pub(crate) fn count(&self, kind: Dropped) -> u64 {
        self.0.dropped(kind)
    }

    /// Counts a drop, and logs it within the limit of its kind.
    pub(crate) fn note(&self, kind: Dropped, peer: SocketAddr, header: &Header, now: Instant) {
        let count = self.0.count_drop(kind);
        if kind == Dropped::Excess {
            self.0.queue_drop_bytes.add(header.length as u64);
        }
        if tracing::enabled!(tracing::Level::DEBUG)
            && let Some(suppressed) = LIMITS.get(kind as usize).and_then(|limit| limit.admit(now))
        {
            let line = DropLine { kind, peer, header };
            tracing::debug!("{line} dropped={count}{suppressed}");
        }
    }
}

/// The first bytes of a datagram, up to the destination connection id.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Header {
    bytes: [u8; Self::KEPT],
    length: usize,
}

impl Header {
    /// Length of flags, version, id length and the longest id of version 1 (RFC 9000 section 17.2).
    const KEPT: usize = 26;
    const LONG: u8 = 0x80;
    /// The type bits of a long header, and their value in an Initial packet.
    const TYPE: u8 = 0x30;
    const MAX_ID: usize = 20;

    pub(crate) fn of(datagram: &[u8]) -> Self {
        let mut header = Self { bytes: [0; Self::KEPT], length: datagram.len() };
        for (to, from) in header.bytes.iter_mut().zip(datagram) {
            *to = *from;
        }
        header
    }

    /// Returns why quinn-proto dropped a datagram with this header, which it does not report.
    pub(crate) fn reason(&self) -> Dropped {
        let [flags, version @ .., length] = *self.bytes.first_chunk::<6>().unwrap_or(&[0; 6]);
        let is_long = flags & Self::LONG != 0;
        let is_readable = u32::from_be_bytes(version) == super::version::QUIC_V1
            && flags & Self::TYPE != 0
            && usize::from(length) <= Self::MAX_ID;
        if is_long && !is_readable { Dropped::NotQuic } else { Dropped::UnknownConnection }
    }

    /// The destination connection id. In a short header it has the length of issued ids.
    fn id(&self) -> &[u8] {
        let kept = self.bytes.get(..self.length).unwrap_or(&self.bytes);
        let id = match kept {
            [flags, _, _, _, _, length, id @ ..] if flags & Self::LONG != 0 => id.get(..usize::from(*length)),
            [_, id @ ..] => id.get(..super::cid::CID_LEN),
            [] => None,
        };
        id.unwrap_or_default()
    }
}

struct DropLine<'a> {
    kind: Dropped,
    peer: SocketAddr,
    header: &'a Header,
}

impl Display for DropLine<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peer = self.peer;
        match self.kind {
            Dropped::NotQuic => write!(out, "Wrong QUIC HEADER from {peer} ({} bytes)", self.header.length),
            Dropped::UnknownConnection => {
                let id = Hex(self.header.id());
                write!(out, "Dropping packet for unknown connection from {peer} (DCID: {id})")
            }
            Dropped::ConnectionRate => {
                write!(out, "Dropping connection attempt from {peer}: above performance.new_connections_per_sec")
            }
            Dropped::Unvalidated => write!(out, "Answering {peer} by Retry: its address is not validated"),
            Dropped::Refused => write!(out, "Refusing connection from {peer}: too many connections"),
            Dropped::Draining => write!(out, "Refusing connection from {peer}: draining"),
            Dropped::SlowHandshake => {
                write!(out, "Dropping handshake with {peer}: not complete after client_handshake_timeout_ms")
            }
            Dropped::Excess => {
                write!(out, "Dropping packet from {peer}: its connection needs more than its share of processor time")
            }
            Dropped::Undecryptable => write!(out, "QUIC recv failed: Done from {peer}"),
            Dropped::Answer => write!(out, "Dropping answer to {peer}: too many stateless answers"),
        }
    }
}

struct Hex<'a>(&'a [u8]);

impl Display for Hex<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_counted_by_kind() {
        let drops = Drops::default();
        let peer = "192.0.2.1:9".parse().unwrap();
        for kind in [Dropped::NotQuic, Dropped::Answer, Dropped::Answer] {
            drops.note(kind, peer, &Header::of(&[1]), Instant::now());
        }
        assert_eq!([Dropped::NotQuic, Dropped::Answer, Dropped::Excess].map(|kind| drops.count(kind)), [1, 2, 0]);
    }

    #[test]
    fn a_line_names_the_client_and_the_connection() {
        let line = |kind, datagram: &[u8]| {
            let (peer, header) = ("192.168.1.10:52341".parse().unwrap(), Header::of(datagram));
            DropLine { kind, peer, header: &header }.to_string()
        };
        let short = [0x41, 0xa3, 0xf2, 3, 4, 5, 6, 7, 8, 9];
        let long = [0xe1, 0, 0, 0, 1, 3, 0xab, 0xcd, 0xef, 0];
        let unknown = "Dropping packet for unknown connection from 192.168.1.10:52341 (DCID: ";
        assert_eq!(line(Dropped::UnknownConnection, &short), format!("{unknown}a3f2030405060708)"));
        assert_eq!(line(Dropped::UnknownConnection, &long), format!("{unknown}abcdef)"));
        assert_eq!(line(Dropped::UnknownConnection, &long[..7]), format!("{unknown})"), "cut");
        assert_eq!(line(Dropped::Undecryptable, &short), "QUIC recv failed: Done from 192.168.1.10:52341");
        assert_eq!(line(Dropped::NotQuic, &[]), "Wrong QUIC HEADER from 192.168.1.10:52341 (0 bytes)");
    }

    #[test]
    fn what_the_engine_drops_gets_its_reason() {
        for (datagram, reason) in [
            (vec![0x41; 30], Dropped::UnknownConnection),
            (vec![0xe1, 0, 0, 0, 1, 8, 1, 2], Dropped::UnknownConnection),
            (vec![0xe1, 0, 0, 0, 1, 21, 1, 2], Dropped::NotQuic),
            (vec![0xe1, 0, 0, 0, 9, 8, 1, 2], Dropped::NotQuic),
            (vec![0xc1, 0, 0, 0, 1, 8, 1, 2], Dropped::NotQuic),
            (vec![0xc1, 0], Dropped::NotQuic),
        ] {
            assert_eq!(Header::of(&datagram).reason(), reason, "{datagram:?}");
        }
    }
}
