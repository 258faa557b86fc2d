//! Why a request or a connection failed, and whether the backend may have processed the request. The exchange decides what
//! follows.

use std::{error::Error, fmt, io};

use rustls::AlertDescription;
use spooky_bridge::{
    h2::{Code, ConnectionError},
    message::ResetReason,
};

/// Whether the backend may have processed the request (RFC 9110 section 9.2.2, RFC 9113 section 8.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processed {
    /// It has not: no byte was sent, or the peer said so. Any method may be retried.
    No,
    /// It may have.
    Unknown,
}

/// The cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The name has no address.
    Dns,
    /// The peer refused the TCP connection.
    Refused,
    /// No connection was ready within the connect timeout.
    ConnectTimeout,
    /// The address cannot be reached.
    Unreachable,
    /// The peer's certificate was not accepted.
    TlsCertificate,
    /// The TLS handshake failed for another reason.
    TlsProtocol,
    /// The peer did not agree by ALPN to an HTTP version that the backend may use.
    NoCommonProtocol,
    /// The connection ended while the request was on it.
    ConnectionLost(io::ErrorKind),
    /// The peer ended the connection with a GOAWAY with this error code (RFC 9113 section 6.8). The error may concern
    /// another request.
    Ended(Code),
    /// The peer did not answer a keepalive PING.
    KeepaliveTimeout,
    /// A GOAWAY excluded the request (RFC 9113 section 6.8). This is not a fault of the backend.
    GoAway,
    /// The peer reset the stream.
    Reset(Code),
    /// The response violates HTTP.
    Malformed(&'static str),
    /// The head or the trailers of the response exceed `max_response_headers_bytes`.
    ResponseHeadersTooLarge,
    /// The head of the request exceeds the peer's `SETTINGS_MAX_HEADER_LIST_SIZE`; nothing was sent. This is not a fault of
    /// the backend.
    RequestHeadersTooLarge,
    /// The request is a WebSocket, and the peer does not accept extended CONNECT (RFC 8441); nothing was sent.
    NoExtendedConnect,
    /// The head of the request cannot be written in the protocol of the connection. This is not a fault of the backend.
    InvalidHead,
    /// The peer violated HTTP/2 on the connection level.
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
            Self::NoCommonProtocol => f.write_str("peer did not agree to the HTTP version by ALPN"),
            Self::ConnectionLost(io::ErrorKind::UnexpectedEof) => f.write_str("connection closed"),
            Self::ConnectionLost(kind) => write!(f, "connection lost: {kind}"),
            Self::Ended(code) => write!(f, "connection ended by peer: {code}"),
            Self::KeepaliveTimeout => f.write_str("keepalive timed out"),
            Self::GoAway => f.write_str("connection is going away"),
            Self::Reset(code) => write!(f, "stream error received: {}", Explained(*code)),
            Self::Malformed(reason) => write!(f, "malformed response: {reason}"),
            Self::ResponseHeadersTooLarge => f.write_str("response headers exceed size limit"),
            Self::RequestHeadersTooLarge => f.write_str("request headers exceed the limit announced by the peer"),
            Self::NoExtendedConnect => f.write_str("backend does not accept extended CONNECT"),
            Self::InvalidHead => f.write_str("request cannot be written in the protocol of the backend"),
            Self::Protocol(error) => {
                let code = Explained(error.code);
                write!(f, "connection error detected: {code}: {} ({})", error.reason, error.clause)
            }
        }
    }
}

/// Formats an error code with the texts of the `h2` crate; without a text, as its name.
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

/// The failure of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The cause.
    pub kind: FailureKind,
    /// Whether the backend may have processed the request.
    pub processed: Processed,
    /// Whether the head of the response was delivered.
    pub head_received: bool,
    /// Identifies the connection of the request, 0 without one: requests that fail with one connection have the same
    /// number. Numbers repeat after 2^32 connections of a worker.
    pub connection: u64,
}

impl Failure {
    /// Returns the peer's reason if it reset the stream or ended the connection with an error.
    pub fn reset_reason(&self) -> Option<ResetReason> {
        match self.kind {
            FailureKind::Reset(code) | FailureKind::Ended(code) => Some(code.into()),
            _ => None,
        }
    }
}

/// Why [`crate::Transport::request`] refused a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The backend does not exist, or was removed.
    UnknownBackend,
    /// The queue for this backend is full.
    QueueFull,
    /// The head exceeds the `SETTINGS_MAX_HEADER_LIST_SIZE` of the backend.
    HeadersTooLarge,
    /// The request is a WebSocket, and the backend does not accept extended CONNECT (RFC 8441).
    NoExtendedConnect,
    /// The head cannot be written in the protocol of the backend.
    InvalidHead,
}

impl fmt::Display for Unsent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownBackend => "unknown backend",
            Self::QueueFull => "too many requests wait for the backend",
            Self::HeadersTooLarge => "request headers exceed the limit announced by the backend",
            Self::NoExtendedConnect => "backend does not accept extended CONNECT",
            Self::InvalidHead => "request cannot be written in the protocol of the backend",
        })
    }
}

impl Error for Unsent {}

/// A failed connection attempt. The requests get `kind`, the log gets `text`.
#[derive(Clone, Debug)]
pub(crate) struct ConnectFailure {
    pub(crate) kind: FailureKind,
    pub(crate) text: String,
}

impl ConnectFailure {
    pub(crate) fn new(kind: FailureKind) -> Self {
        Self { kind, text: kind.to_string() }
    }

    pub(crate) fn from_tcp(error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::ConnectionRefused => FailureKind::Refused,
            io::ErrorKind::TimedOut => FailureKind::ConnectTimeout,
            io::ErrorKind::ConnectionReset => FailureKind::ConnectionLost(io::ErrorKind::ConnectionReset),
            _ => FailureKind::Unreachable,
        };
        Self { kind, text: error.to_string() }
    }

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
