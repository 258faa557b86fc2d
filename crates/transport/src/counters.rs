//! What happened so far, as plain numbers of one worker. Telemetry reads them; nothing here decides by them.

/// Totals since start, except where a field says *now*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connection attempts begun.
    pub connects: u64,
    /// Attempts that failed or timed out.
    pub connect_failures: u64,
    /// Connections on which the peer's SETTINGS arrived.
    pub connections_opened: u64,
    /// Connections open now, those being closed included.
    pub connections_now: u64,
    /// Connections that died with an error or were closed by the peer without a GOAWAY.
    pub connections_lost: u64,
    /// GOAWAY frames received.
    pub goaways: u64,
    /// Requests put on a connection.
    pub requests: u64,
    /// Requests that had to wait for a connection or a free stream.
    pub requests_waited: u64,
    /// Requests refused because too many waited.
    pub requests_refused: u64,
    /// Requests that ended in a failure event.
    pub requests_failed: u64,
    /// Streams reset by the peer.
    pub resets_received: u64,
    /// Streams reset by this side, malformed responses included.
    pub resets_sent: u64,
    /// Keepalive PINGs sent.
    pub pings: u64,
    /// Writes that a full socket stopped.
    pub writes_blocked: u64,
    /// Bytes read from sockets, TLS removed.
    pub bytes_read: u64,
    /// Bytes given to sockets, before TLS.
    pub bytes_written: u64,
}
