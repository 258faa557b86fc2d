//! Errors of a connection, and reasons why no stream was opened.

use super::Code;

/// A connection error (RFC 9113 5.4.1). GOAWAY is queued and all streams are closed; the caller must flush the output
/// and close the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionError {
    /// The code sent in GOAWAY.
    pub code: Code,
    /// What the peer did.
    pub reason: &'static str,
    /// The clause that it violated, or the name of the limit that it exceeded.
    pub clause: &'static str,
}

impl ConnectionError {
    pub(super) const fn protocol(reason: &'static str, clause: &'static str) -> Self {
        Self { code: Code::PROTOCOL_ERROR, reason, clause }
    }

    pub(super) const fn size(reason: &'static str, clause: &'static str) -> Self {
        Self { code: Code::FRAME_SIZE_ERROR, reason, clause }
    }

    pub(super) const fn flow(reason: &'static str, clause: &'static str) -> Self {
        Self { code: Code::FLOW_CONTROL_ERROR, reason, clause }
    }

    pub(super) const fn closed(reason: &'static str) -> Self {
        Self { code: Code::STREAM_CLOSED, reason, clause: "RFC 9113 5.1" }
    }

    /// The peer exceeded a limit, whose name stands in place of a clause (RFC 9113 10.5).
    pub(super) const fn limit(reason: &'static str, name: &'static str) -> Self {
        Self { code: Code::ENHANCE_YOUR_CALM, reason, clause: name }
    }
}

impl std::fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {})", self.reason, self.code, self.clause)
    }
}

impl std::error::Error for ConnectionError {}

/// Why [`super::Client::send_request`] opened no stream. Nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendRequestError {
    /// The peer's limit of concurrent streams is reached.
    StreamLimit,
    /// GOAWAY was received or sent, or the connection failed.
    Closing,
    /// The connection has used all stream identifiers.
    IdsUsedUp,
    /// Too many bytes are unsent because the peer does not read.
    Backlogged,
    /// The head exceeds the `SETTINGS_MAX_HEADER_LIST_SIZE` of the peer.
    HeadersTooLarge,
    /// The request is an extended CONNECT, which the peer has not announced (RFC 8441 3).
    NoExtendedConnect,
}
