//! How an attempt failed, what had been sent by then, and what the failure may be booked as.
//!
//! Data only: `transport` reports it, `plan` decides by it.

use crate::outcome::{Reason, Retry};

/// What the peer's error code says about who caused a reset or the end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// `INTERNAL_ERROR`: the backend says that it failed.
    Internal,
    /// `PROTOCOL_ERROR`, `ENHANCE_YOUR_CALM`, `HTTP_1_1_REQUIRED` or `CANCEL`: the backend objects to the request. A client can
    /// provoke it with what it sends, so it never marks a backend, and the same request would fail elsewhere too.
    Rejected,
    /// Any other code, `NO_ERROR` included.
    Other,
}

/// What a failure counts as against its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blame {
    /// The word in the line of the transition.
    pub word: &'static str,
    /// Whether it counts for the circuit too; for passive health it always does.
    pub opens_circuit: bool,
}

/// How an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// GOAWAY excludes the stream, or a pooled connection was found closed before a byte left.
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
    /// The connection broke. The number names the connection: its loss counts once, however many requests were on it.
    ConnectionLost(u64),
    /// The backend ended the connection with a GOAWAY that objects to something that was sent on it
    /// ([`ErrorCode::Rejected`]). The request may be the one it objects to or a bystander.
    ConnectionRejected,
    /// No response headers in time; the machine also finds this by itself in `on_timer`.
    ResponseTimeout,
    /// A malformed response.
    Malformed,
    /// Response headers above the limit.
    HeadersTooLarge,
    /// A fault or refusal inside Spooky, with the answer to give; never retried, never booked.
    Local(Reason),
}

impl FailureKind {
    /// The answer if this was the last attempt.
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

    /// For which methods it is retried.
    pub const fn retry(self) -> Retry {
        match self {
            Self::Local(_) => Retry::Never,
            _ => self.reason().row().retry,
        }
    }

    /// Whether no connection came about; such a backend is passed over for a while.
    pub const fn is_connect(self) -> bool {
        matches!(
            self,
            Self::Dns | Self::ConnectRefused | Self::ConnectTimeout | Self::Unreachable | Self::Tls | Self::Certificate
        )
    }

    /// What it counts as against the backend; `None` if it never does.
    ///
    /// The resets and losses that a client can provoke by what it sends are `None`, as is a head above Spooky's own limit.
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

/// What of the request had left when its attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Head and all body bytes so far are still held and can be sent again.
    Replayable,
    /// Part of the body, which is gone: no attempt can follow.
    Gone,
}
