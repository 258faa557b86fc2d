//! Why a request or a connection failed, and whether the backend may have acted on it: facts for the exchange, which alone
//! decides about status, retry and blame.

use std::{error::Error, fmt, io};

use rustls::AlertDescription;
use spooky_bridge::{
    h2::{Code, ConnectionError},
    message::ResetReason,
};

use crate::reset;

/// Whether the backend may have processed the request (RFC 9110 9.2.2, RFC 9113 8.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processed {
    /// Surely not: no byte of it left, or the peer said so. Any method may be repeated.
    No,
    /// Nobody knows.
    Unknown,
}

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The name has no address.
    Dns,
    /// The peer refused the TCP connection.
    Refused,
    /// No connection was ready in time.
    ConnectTimeout,
    /// No way to the address.
    Unreachable,
    /// The peer's certificate was not accepted.
    TlsCertificate,
    /// The TLS handshake failed for another reason.
    TlsProtocol,
    /// TLS stands, but the peer did not agree to `h2` by ALPN.
    NoCommonProtocol,
    /// The connection ended while the request was on it.
    ConnectionLost(io::ErrorKind),
    /// The peer ended the connection with a GOAWAY of this code, which is an error (RFC 9113 section 6.8), while the request
    /// was on it. It may be about another request.
    Ended(Code),
    /// The peer did not answer a keepalive PING.
    KeepaliveTimeout,
    /// GOAWAY excluded the request (RFC 9113 6.8); not a fault of the backend.
    GoAway,
    /// The peer reset the stream.
    Reset(Code),
    /// The response broke the rules of HTTP.
    Malformed(&'static str),
    /// The head or the trailers of the response exceed `max_response_headers_bytes`.
    ResponseHeadersTooLarge,
    /// The head of the request exceeds the `SETTINGS_MAX_HEADER_LIST_SIZE` of the peer, so nothing was sent; not a fault of
    /// the backend.
    RequestHeadersTooLarge,
    /// The peer broke the rules of the connection.
    Protocol(ConnectionError),
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns => f.write_str("name does not resolve"),
            Self::Refused => f.write_str("connection refused"),
            Self::ConnectTimeout => f.write_str("connect timed out"),
            Self::Unreachable => f.write_str("destination unreachable"),
            Self::TlsCertificate => f.write_str("certificate not accepted"),
            Self::TlsProtocol => f.write_str("TLS handshake failed"),
            Self::NoCommonProtocol => f.write_str("peer did not agree to h2 by ALPN"),
            Self::ConnectionLost(io::ErrorKind::UnexpectedEof) => f.write_str("connection closed"),
            Self::ConnectionLost(kind) => write!(f, "connection lost: {kind}"),
            Self::Ended(code) => write!(f, "connection ended by peer: {code}"),
            Self::KeepaliveTimeout => f.write_str("keepalive timed out"),
            Self::GoAway => f.write_str("connection is going away"),
            Self::Reset(code) => write!(f, "stream error received: {}", Explained(*code)),
            Self::Malformed(reason) => write!(f, "malformed response: {reason}"),
            Self::ResponseHeadersTooLarge => f.write_str("response headers exceed size limit"),
            Self::RequestHeadersTooLarge => f.write_str("request headers exceed the limit announced by the peer"),
            Self::Protocol(error) => {
                let code = Explained(error.code);
                write!(f, "connection error detected: {code}: {} ({})", error.reason, error.clause)
            }
        }
    }
}

/// An error code in words, as operators find them in other programs too. A code without words stands for itself.
struct Explained(Code);

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Code::NO_ERROR => "not a result of an error",
            Code::PROTOCOL_ERROR => "unspecific protocol error detected",
            Code::INTERNAL_ERROR => "unexpected internal error encountered",
            Code::FLOW_CONTROL_ERROR => "flow-control protocol violated",
            Code::SETTINGS_TIMEOUT => "settings ACK not received in timely manner",
            Code::STREAM_CLOSED => "received frame when stream half-closed",
            Code::FRAME_SIZE_ERROR => "frame with invalid size",
            Code::REFUSED_STREAM => "refused stream before processing any application logic",
            Code::CANCEL => "stream no longer needed",
            Code::COMPRESSION_ERROR => "unable to maintain the header compression context",
            Code::ENHANCE_YOUR_CALM => "detected excessive load generating behavior",
            Code::HTTP_1_1_REQUIRED => "endpoint requires HTTP/1.1",
            code => return write!(f, "{code}"),
        })
    }
}

/// The end of one request without a complete response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub kind: FailureKind,
    /// Whether the backend may have acted on the request.
    pub processed: Processed,
    /// The head of the response had been delivered.
    pub head_received: bool,
    /// Names the connection that the request was on, 0 if it was on none: requests that were lost with one connection have
    /// the same number. Not used again within 2^32 connections of a worker.
    pub connection: u64,
}

impl Failure {
    /// What the peer said when it reset the stream or ended the connection, if that is what it did.
    pub fn reset_reason(&self) -> Option<ResetReason> {
        match self.kind {
            FailureKind::Reset(code) | FailureKind::Ended(code) => Some(reset::reason(code)),
            _ => None,
        }
    }
}

/// Why [`crate::Transport::request`] took nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// There is no such backend (any more).
    UnknownBackend,
    /// Too many requests wait for this backend.
    QueueFull,
    /// The head exceeds the `SETTINGS_MAX_HEADER_LIST_SIZE` of the backend.
    HeadersTooLarge,
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownBackend => "unknown backend",
            Self::QueueFull => "too many requests wait for the backend",
            Self::HeadersTooLarge => "request headers exceed the limit announced by the backend",
        })
    }
}

impl Error for Unsent {}

/// A connection attempt that failed: the kind for the requests, the text for the log.
#[derive(Clone, Debug)]
pub(crate) struct ConnectFailure {
    pub(crate) kind: FailureKind,
    pub(crate) text: String,
}

impl ConnectFailure {
    /// A failure that its kind describes completely.
    pub(crate) fn new(kind: FailureKind) -> Self {
        Self { kind, text: kind.to_string() }
    }

    /// What an error of `connect` means.
    pub(crate) fn from_tcp(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => FailureKind::Refused,
            io::ErrorKind::TimedOut => FailureKind::ConnectTimeout,
            io::ErrorKind::ConnectionReset => FailureKind::ConnectionLost(io::ErrorKind::ConnectionReset),
            _ => FailureKind::Unreachable,
        };
        Self { kind, text: error.to_string() }
    }

    /// What an error of the TLS handshake means.
    pub(crate) fn from_tls(error: &io::Error) -> Self {
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let kind = match cause {
            Some(rustls::Error::InvalidCertificate(_)) => FailureKind::TlsCertificate,
            Some(
                rustls::Error::NoApplicationProtocol
                | rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol),
            ) => FailureKind::NoCommonProtocol,
            Some(_) => FailureKind::TlsProtocol,
            None if error.kind() == io::ErrorKind::UnexpectedEof => FailureKind::TlsProtocol,
            None => FailureKind::ConnectionLost(error.kind()),
        };
        Self { kind, text: cause.map_or_else(|| error.to_string(), spooky_net::tls::explain) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_in_words() {
        let protocol = ConnectionError { code: Code::FRAME_SIZE_ERROR, reason: "PING of 7 bytes", clause: "6.7" };
        for (kind, text) in [
            (FailureKind::ConnectionLost(io::ErrorKind::UnexpectedEof), "connection closed"),
            (FailureKind::Reset(Code::CANCEL), "stream error received: stream no longer needed"),
            (FailureKind::Reset(Code(0x77)), "stream error received: UNKNOWN (0x77)"),
            (
                FailureKind::Protocol(protocol),
                "connection error detected: frame with invalid size: PING of 7 bytes (6.7)",
            ),
        ] {
            assert_eq!(kind.to_string(), text);
        }
    }
}
