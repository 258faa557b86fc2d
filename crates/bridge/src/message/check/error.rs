//! Reasons to reject a request.

use std::fmt;

use crate::message::Fields;

/// Why a request, or its trailers, are rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckError {
    /// Malformed: the stream is reset with the protocol's message error (RFC 9114 4.1.2, RFC 9113 8.1.1).
    Malformed {
        /// What is wrong.
        reason: &'static str,
        /// The clause that it violates.
        clause: &'static str,
    },
    /// Too many field lines: 431.
    TooManyFields,
    /// Too many bytes of names and values: 431.
    TooLarge,
    /// Well-formed, but invalid: 400.
    Invalid(InvalidReason),
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { reason, clause } => write!(f, "{reason} ({clause})"),
            Self::TooManyFields => f.write_str("too many request headers"),
            Self::TooLarge => f.write_str("request headers exceed size limit"),
            Self::Invalid(details) => f.write_str(details.text()),
        }
    }
}

impl std::error::Error for CheckError {}

/// Why a request is answered with 400; the details of `proxy-status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidReason {
    /// `:authority` and `host` differ.
    AuthorityHostMismatch,
    /// The authority is not a host with an optional port.
    InvalidAuthority,
    /// `:scheme` is neither `https` nor `http`.
    InvalidScheme,
    /// `:path` is not a path.
    InvalidPath,
    /// `:path` has a form that servers interpret differently.
    AmbiguousPath,
    /// CONNECT without host and port.
    InvalidConnectTarget,
    /// The framing fields of an HTTP/1.1 message contradict each other.
    ConflictingFraming,
}

impl InvalidReason {
    /// Returns the text of the response body.
    pub const fn text(self) -> &'static str {
        match self {
            Self::AuthorityHostMismatch => "authority and host differ",
            Self::InvalidAuthority => "invalid authority",
            Self::InvalidScheme => "invalid scheme",
            Self::InvalidPath => "invalid path",
            Self::AmbiguousPath => "ambiguous path",
            Self::InvalidConnectTarget => "invalid CONNECT target",
            Self::ConflictingFraming => "conflicting framing",
        }
    }
}

/// A rejected request with its fields, for the response and the log.
#[derive(Clone, Debug)]
pub struct RejectedRequest {
    /// The reason.
    pub error: CheckError,
    /// The fields as received.
    pub fields: Fields,
}

impl fmt::Display for RejectedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for RejectedRequest {}

pub(super) const fn malformed(reason: &'static str, clause: &'static str) -> CheckError {
    CheckError::Malformed { reason, clause }
}
