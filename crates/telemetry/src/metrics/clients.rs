//! What one worker counts of its clients' connections: in total, and for each listener.

use super::{counter::Counter, histogram::Histogram};
use crate::record::ClientProtocol;
use std::{sync::Arc, time::Duration};

/// Counts of one worker for all its listeners. They stay when a listener is removed.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct IngressSeries {
    /// Datagrams received, and their bytes.
    pub received: [Counter; 2],
    /// Datagrams sent, and their bytes.
    pub sent: [Counter; 2],
    /// What was dropped, by [`Dropped`].
    drops: [Counter; Dropped::COUNT],
    /// Bytes of the datagrams that were dropped because a queue was full.
    pub queue_drop_bytes: Counter,
    /// Datagrams dropped because the inbox of the worker that owns their connection was full.
    pub inbox_drops: Counter,
    /// Connections whose first packet was invalid.
    pub create_failures: Counter,
    /// Connections refused because a limit on connections was reached, QUIC and TCP.
    pub cap_rejects: Counter,
    /// Connection ids issued beyond the first of a connection.
    pub id_rotations: Counter,
    /// QUIC packets that were sent and declared lost.
    pub lost_packets: Counter,
    /// Retry packets sent.
    pub retries: Counter,
    /// Stateless resets sent.
    pub stateless_resets: Counter,
    /// Version Negotiation packets sent, and those that were not sent because too many answers waited.
    pub version_negotiations: [Counter; 2],
    /// Connections that continued from another address.
    pub migrations: Counter,
    /// Datagrams forwarded to the worker that owns their connection.
    pub forwarded: Counter,
    /// Bursts that were sent as single datagrams because the kernel refused GSO.
    pub gso_fallbacks: Counter,
}

/// Why a packet, a connection or an answer was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A datagram that is empty, too short or too long, or whose header cannot be read.
    NotQuic,
    /// A datagram for an unknown connection.
    UnknownConnection,
    /// A first packet above the rate of new connections.
    ConnectionRate,
    /// A first packet that was answered by Retry, because its address is not validated.
    Unvalidated,
    /// A first packet that was refused because there are too many connections.
    Refused,
    /// A first packet that was refused because the listener drains.
    Draining,
    /// A connection whose handshake took too long.
    SlowHandshake,
    /// A datagram of a connection that has used up its time share and its queue.
    Excess,
    /// A packet of a known connection that cannot be decrypted.
    Undecryptable,
    /// A stateless answer above the rate limit, or with a full queue.
    Answer,
}

impl Dropped {
    /// The number of reasons.
    pub const COUNT: usize = 10;
}

impl IngressSeries {
    /// Returns the count of a reason.
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.drops.get(reason as usize).map_or(0, Counter::get)
    }

    /// Counts a drop, and returns how many there have been.
    pub fn count_drop(&self, reason: Dropped) -> u64 {
        let Some(count) = self.drops.get(reason as usize) else { return 0 };
        count.increment();
        count.get()
    }

    /// Counts a datagram that was dropped because the inbox of its worker was full.
    pub fn count_inbox_drop(&self, bytes: usize) {
        self.inbox_drops.increment();
        self.queue_drop_bytes.add(bytes as u64);
    }

    /// Returns the number of datagrams that were dropped because a queue was full.
    pub fn queue_drops(&self) -> u64 {
        self.inbox_drops.get() + self.dropped(Dropped::Excess)
    }
}

/// Why a TLS handshake with a client failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// The client has sent no certificate, but must.
    MissingCertificate,
    /// The client's certificate is not accepted for another reason than the following ones.
    InvalidCertificate,
    /// The client's certificate has expired or is not valid yet.
    ExpiredCertificate,
    /// The client's certificate is not signed by a trusted authority.
    UnknownIssuer,
    /// There is no protocol that both sides speak.
    Alpn,
    /// Any other reason, the client's own refusal and timeouts included.
    Handshake,
}

/// Labels of [`TlsFailure`].
pub const TLS_FAILURES: [&str; 6] =
    ["missing_client_cert", "invalid_client_cert", "expired_client_cert", "unknown_issuer", "alpn", "handshake"];
/// Labels of the protocols that ALPN selects; `none` without ALPN.
pub const ALPN_PROTOCOLS: [&str; 4] = ["h3", "h2", "http/1.1", "none"];

/// Counts of one listener of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ListenerSeries {
    /// TLS handshakes that succeeded.
    pub tls_success: Counter,
    /// TLS handshakes that failed, by [`TLS_FAILURES`].
    pub tls_failures: [Counter; 6],
    /// Protocols that ALPN selected, by [`ALPN_PROTOCOLS`].
    pub alpn: [Counter; 4],
    /// Connections opened, by protocol.
    pub opened: [Counter; 3],
    /// Those of them that are closed.
    closed: [Counter; 3],
    /// Time of QUIC handshakes.
    pub handshake: Histogram,
    /// Round-trip time at the end of QUIC handshakes.
    pub rtt: Histogram,
    /// Bytes of datagrams that wait for a later turn, now.
    pub queued_bytes: Counter,
}

impl ListenerSeries {
    /// Counts a failed TLS handshake.
    pub fn count_tls_failure(&self, failure: TlsFailure) {
        if let Some(count) = self.tls_failures.get(failure as usize) {
            count.increment();
        }
    }

    /// Counts a complete TLS handshake and the protocol that ALPN selected.
    pub fn count_tls_success(&self, alpn: Option<&[u8]>) {
        self.tls_success.increment();
        let known = ALPN_PROTOCOLS.iter().position(|name| alpn == Some(name.as_bytes()));
        if let Some(count) = self.alpn.get(known.unwrap_or(ALPN_PROTOCOLS.len() - 1)) {
            count.increment();
        }
    }

    /// Counts a complete QUIC handshake.
    pub fn count_quic_handshake(&self, took: Duration, rtt: Duration) {
        self.count_tls_success(Some(b"h3"));
        self.handshake.observe(took);
        self.rtt.observe(rtt);
    }

    /// Returns the number of open connections of a protocol.
    pub fn open(&self, protocol: ClientProtocol) -> u64 {
        let at = protocol.index();
        let [opened, closed] = [&self.opened, &self.closed].map(|counts| counts.get(at).map_or(0, Counter::get));
        opened.saturating_sub(closed)
    }
}

/// An open connection; counts as closed when it is dropped.
#[derive(Debug)]
pub struct OpenConnection {
    series: Arc<ListenerSeries>,
    protocol: ClientProtocol,
}

impl OpenConnection {
    /// Counts an open connection. Must be dropped on the thread of the worker.
    pub fn new(series: &Arc<ListenerSeries>, protocol: ClientProtocol) -> Self {
        if let Some(count) = series.opened.get(protocol.index()) {
            count.increment();
        }
        Self { series: series.clone(), protocol }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(count) = self.series.closed.get(self.protocol.index()) {
            count.increment();
        }
    }
}

/// The counts that the client side of one listener of one worker writes.
#[derive(Clone, Debug, Default)]
pub struct ClientCounts {
    /// Those of the worker.
    pub worker: Arc<IngressSeries>,
    /// Those of the listener.
    pub listener: Arc<ListenerSeries>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_open_until_they_are_dropped() {
        let series = Arc::new(ListenerSeries::default());
        let open = |series: &Arc<ListenerSeries>| ClientProtocol::ALL.map(|protocol| series.open(protocol));
        let connections = ClientProtocol::ALL.map(|protocol| OpenConnection::new(&series, protocol));
        assert_eq!(open(&series), [1; 3]);
        drop(connections);
        assert_eq!((open(&series), series.opened.each_ref().map(Counter::get)), ([0; 3], [1; 3]));
    }

    #[test]
    fn drops_count_by_reason_and_queues_together() {
        let series = IngressSeries::default();
        assert_eq!([Dropped::Excess, Dropped::Excess, Dropped::Answer].map(|kind| series.count_drop(kind)), [1, 2, 1]);
        series.count_inbox_drop(1200);
        assert_eq!((series.queue_drops(), series.queue_drop_bytes.get()), (3, 1200));
        assert_eq!(Dropped::Answer as usize + 1, Dropped::COUNT);
    }

    #[test]
    fn protocols_of_alpn_are_bounded() {
        let series = ListenerSeries::default();
        for alpn in [Some(&b"h2"[..]), Some(b"http/1.1"), Some(b"spdy/3"), None] {
            series.count_tls_success(alpn);
        }
        series.count_quic_handshake(Duration::from_millis(3), Duration::from_millis(1));
        assert_eq!(series.alpn.each_ref().map(Counter::get), [1, 1, 1, 2]);
        assert_eq!(series.tls_success.get(), 5);
    }
}
