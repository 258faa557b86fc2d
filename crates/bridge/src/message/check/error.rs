//! Why a request is refused.

use std::fmt;

use crate::message::Fields;

/// Why a request, or its trailers, goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckError {
    /// Malformed: the stream ends with the protocol's message error (RFC 9114 4.1.2, RFC 9113 8.1.1).
    Malformed {
        /// What is wrong.
        reason: &'static str,
        /// The clause that says so.
        clause: &'static str,
    },
    /// More field lines than allowed: 431.
    TooManyFields,
    /// More bytes of names and values than allowed: 431.
    TooLarge,
    /// Well-formed, but not a request that is served: 400.
    Invalid(Details),
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

/// Why a request is answered 400, as `proxy-status` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Details {
    /// `:authority` and `host` name different places.
    AuthorityHostMismatch,
    /// The authority is no host with an optional port.
    InvalidAuthority,
    /// `:scheme` is neither `https` nor `http`.
    InvalidScheme,
    /// `:path` is not one.
    InvalidPath,
    /// `:path` has a form that servers read differently.
    AmbiguousPath,
    /// CONNECT without host and port.
    InvalidConnectTarget,
    /// The framing of an HTTP/1.1 message contradicts itself.
    ConflictingFraming,
}

impl Details {
    /// The text.
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

/// A request that was refused, with its fields, for the answer and the log.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Why.
    pub error: CheckError,
    /// All that was received.
    pub fields: Fields,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for Refused {}

pub(super) const fn malformed(reason: &'static str, clause: &'static str) -> CheckError {
    CheckError::Malformed { reason, clause }
}
