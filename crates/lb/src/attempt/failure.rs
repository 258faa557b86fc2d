//! How an attempt failed, what had been sent by then, and how the failure counts against the backend.
//!
//! Data only: `transport` reports failures, `attempts` decides by them.

use crate::outcome::{Reason, Retry};

/// Class of the error code with which a peer resets a stream or closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// `INTERNAL_ERROR`: the backend failed.
    Internal,
    /// `PROTOCOL_ERROR`, `ENHANCE_YOUR_CALM`, `HTTP_1_1_REQUIRED` or `CANCEL`: the backend rejects the request. Clients can
    /// provoke this, so it never counts against a backend, and the request would fail on other backends too.
    Rejected,
    /// Any other code, `NO_ERROR` included.
    Other,
}

/// How a failure counts against its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    /// Reason in the log line of the transition.
    pub word: &'static str,
    /// Whether it counts for the circuit, as it always does for passive health.
    pub opens_circuit: bool,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// GOAWAY excludes the stream, or a pooled connection was closed before a byte was sent.
    Unprocessed,
    /// The name did not resolve.
    Dns,
    /// Connection refused.
    ConnectRefused,
    /// No connection within the connect timeout.
    ConnectTimeout,
    /// Any other failure to connect.
    Unreachable,
    /// The TLS handshake failed.
    Tls,
    /// The certificate does not verify.
    Certificate,
    /// `REFUSED_STREAM`.
    RefusedStream,
    /// Any other reset of the stream.
    Reset(ErrorCode),
    /// The connection was lost. The number identifies it: its loss counts once for all requests on it.
    ConnectionLost(u64),
    /// The backend closed the connection with a GOAWAY of class [`ErrorCode::Rejected`]. It may be about this request or
    /// about another one.
    ConnectionRejected,
    /// No response head in time; `Attempts::on_timer` also detects this.
    ResponseTimeout,
    /// A malformed response.
    Malformed,
    /// Response headers above the limit.
    HeadersTooLarge,
    /// A failure or refusal inside Spooky with this answer; never retried, never counted against a backend.
    Local(Reason),
}

impl FailureKind {
    /// The answer if no attempt follows.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Unprocessed | Self::RefusedStream => Reason::UpstreamRefusedStream,
            Self::Dns => Reason::UpstreamDns,
            Self::ConnectRefused => Reason::UpstreamRefused,
            Self::ConnectTimeout => Reason::UpstreamConnectTimeout,
            Self::Unreachable => Reason::UpstreamUnreachable,
            Self::Tls => Reason::UpstreamTls,
            Self::Certificate => Reason::UpstreamCertificate,
            Self::Reset(ErrorCode::Rejected) => Reason::UpstreamRejected,
            Self::Reset(ErrorCode::Internal | ErrorCode::Other)
            | Self::ConnectionLost(_)
            | Self::ConnectionRejected => Reason::UpstreamReset,
            Self::ResponseTimeout => Reason::ResponseTimeout,
            Self::Malformed => Reason::UpstreamProtocol,
            Self::HeadersTooLarge => Reason::ResponseHeadersTooLarge,
            Self::Local(reason) => reason,
        }
    }

    /// Methods for which the request is retried.
    pub const fn retry(self) -> Retry {
        match self {
            Self::Local(_) => Retry::Never,
            _ => self.reason().row().retry,
        }
    }

    /// Returns whether no connection was established; the backend is then in back-off.
    pub const fn is_connect(self) -> bool {
        matches!(
            self,
            Self::Dns | Self::ConnectRefused | Self::ConnectTimeout | Self::Unreachable | Self::Tls | Self::Certificate
        )
    }

    /// How it counts against the backend. `None` for resets and losses that a client can provoke, and for a head above
    /// Spooky's own limit.
    pub const fn blame(self) -> Option<Blame> {
        let (word, opens_circuit) = match self {
            Self::Unprocessed
            | Self::RefusedStream
            | Self::Reset(ErrorCode::Rejected | ErrorCode::Other)
            | Self::ConnectionRejected
            | Self::HeadersTooLarge
            | Self::Local(_) => return None,
            Self::Dns => ("dns", false),
            Self::ConnectRefused | Self::ConnectTimeout | Self::Unreachable => ("connect", false),
            Self::Tls | Self::Certificate => ("tls", true),
            Self::Reset(ErrorCode::Internal) | Self::ConnectionLost(_) => ("reset", true),
            Self::ResponseTimeout => ("timeout", true),
            Self::Malformed => ("protocol", false),
        };
        Some(Blame { word, opens_circuit })
    }
}

/// Whether the request of a failed attempt can be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The head and all body bytes sent are still buffered.
    Replayable,
    /// Body bytes that were sent are no longer buffered: no attempt can follow.
    Gone,
}
