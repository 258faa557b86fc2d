//! Counters of one worker's transport.

/// Totals since the start, except where a field says *now*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connection attempts begun.
    pub connects: u64,
    /// Connection attempts that failed or timed out.
    pub connect_failures: u64,
    /// Connections on which the peer's SETTINGS arrived.
    pub connections_opened: u64,
    /// Connections open now, including those being established or closed.
    pub connections_now: u64,
    /// Connections with requests on them that ended with an error, or were closed by the peer.
    pub connections_lost: u64,
    /// GOAWAY frames received.
    pub goaways: u64,
    /// Requests sent on a connection.
    pub requests: u64,
    /// Requests that had to wait for a connection or a free stream.
    pub requests_waited: u64,
    /// Requests refused because the queue was full.
    pub requests_refused: u64,
    /// Requests that ended in a failure event.
    pub requests_failed: u64,
    /// Streams reset by the peer.
    pub resets_received: u64,
    /// Streams reset by this side, including those of malformed responses.
    pub resets_sent: u64,
    /// Keepalive PINGs sent.
    pub pings: u64,
    /// Writes that would have blocked.
    pub writes_blocked: u64,
    /// Bytes read from sockets, after TLS decryption.
    pub bytes_read: u64,
    /// Bytes written to sockets, before TLS encryption.
    pub bytes_written: u64,
}
