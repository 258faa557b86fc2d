//! How an attempt failed before response headers, and what had been sent by then (behaviour 10.6).
//!
//! Words only: `transport` reports them, `plan` decides by them.

use crate::outcome::{Reason, Retry};

/// How an attempt failed before its response headers.
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
    Reset,
    /// The connection broke.
    ConnectionLost,
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
            Self::Reset | Self::ConnectionLost => Reason::UpstreamReset,
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

    /// What it counts as against the backend; `None` if it does not.
    ///
    /// The words are those of `spooky_backend_failures_total` and of the transition line.
    pub const fn booked_as(self) -> Option<&'static str> {
        match self {
            // The limit on heads is Spooky's own, and what a client asks for can make a head exceed it.
            Self::Unprocessed | Self::Local(_) | Self::HeadersTooLarge => None,
            Self::Dns => Some("dns"),
            Self::ConnectRefused | Self::ConnectTimeout | Self::Unreachable => Some("connect"),
            Self::Tls | Self::Certificate => Some("tls"),
            Self::RefusedStream | Self::Reset | Self::ConnectionLost => Some("reset"),
            Self::ResponseTimeout => Some("timeout"),
            Self::Malformed => Some("protocol"),
        }
    }

    /// Reason label of `spooky_retry_attempts_total` for the attempt that follows it.
    pub const fn retry_label(self) -> &'static str {
        match self {
            Self::ResponseTimeout | Self::ConnectTimeout => "timeout",
            Self::Reset | Self::ConnectionLost => "transport",
            _ => "pool",
        }
    }
}

/// What of the request had left when its attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Not one byte.
    Nothing,
    /// Something, but head and all body bytes so far are still held and can be sent again.
    Replayable,
    /// Part of the body, which is gone: no attempt can follow.
    Gone,
}
