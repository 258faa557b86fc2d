//! The checks that every message passes before anything is done with it: which requests are malformed, too large or
//! invalid (in this order), and what a backend may answer.
//!
//! One pass over the fields, nothing is changed. Called by the client side for requests and trailers, by the backend side
//! for responses and trailers.

mod body;
mod field;
mod request;
mod response;
mod target;

pub use body::{BodyLength, LengthError};
pub use request::request;
pub use response::{ResponseError, response, response_trailers, response_with_status};
pub use target::{Authority, authority};

use super::{Fields, Name, Protocol};
use field::{Scanner, size_of};
use std::fmt;

/// Bounds on the header section of a request, and on its trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Fields, pseudo-headers counted, all `cookie` fields as one (`max_headers_count`).
    pub max_fields: usize,
    /// Bytes of names plus values (`max_headers_bytes`).
    pub max_bytes: usize,
}

/// What each field counts beyond its name and value in the size of a section (RFC 9113 6.5.2, RFC 9114 4.2.2).
pub const FIELD_OVERHEAD: usize = 32;

impl HeadLimits {
    /// The bound as HTTP/2 and HTTP/3 announce it: [`FIELD_OVERHEAD`] more for each field.
    pub fn section_size(&self) -> u64 {
        (self.max_bytes as u64).saturating_add((self.max_fields as u64).saturating_mul(FIELD_OVERHEAD as u64))
    }
}

impl Default for HeadLimits {
    /// 128 fields, 16 KiB.
    fn default() -> Self {
        Self { max_fields: 128, max_bytes: 16_384 }
    }
}

/// What of the checks is configured or depends on the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRules {
    /// What the client speaks.
    pub protocol: Protocol,
    /// Extended CONNECT was announced, so `:protocol` is known.
    pub extended_connect: bool,
    /// `:authority` and `host` must agree.
    pub enforce_authority_host_match: bool,
    /// Paths with an encoded slash, backslash or NUL are invalid.
    pub reject_ambiguous_paths: bool,
}

impl RequestRules {
    /// The defaults of the configuration for this protocol.
    pub const fn new(protocol: Protocol) -> Self {
        Self { protocol, extended_connect: true, enforce_authority_host_match: true, reject_ambiguous_paths: false }
    }
}

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

/// Checks the trailers of a request.
///
/// # Errors
/// Pseudo-headers, invalid names or values, fields of a connection: [`CheckError::Malformed`]. Then the limits.
pub fn request_trailers(fields: &Fields, limits: &HeadLimits) -> Result<(), CheckError> {
    let size = trailer_fields(fields)?;
    check_limits(fields.len(), size, limits)
}

/// Checks the fields of trailers, either direction, and returns their size: names plus values.
fn trailer_fields(fields: &Fields) -> Result<usize, CheckError> {
    let scanner = Scanner::new(fields);
    let mut size = 0;
    for field in fields.iter() {
        size += size_of(&field);
        if field.name.is_pseudo() {
            return Err(malformed("pseudo-header in trailers", "RFC 9114 4.3"));
        }
        if matches!(field.name, Name::Known(known) if field::is_connection_specific(known)) {
            return Err(malformed(field::CONNECTION_SPECIFIC, "RFC 9114 4.2"));
        }
        scanner.check(&field)?;
    }
    Ok(size)
}

fn check_limits(fields: usize, bytes: usize, limits: &HeadLimits) -> Result<(), CheckError> {
    if fields > limits.max_fields {
        return Err(CheckError::TooManyFields);
    }
    if bytes > limits.max_bytes {
        return Err(CheckError::TooLarge);
    }
    Ok(())
}

const fn malformed(reason: &'static str, clause: &'static str) -> CheckError {
    CheckError::Malformed { reason, clause }
}

#[cfg(test)]
mod tests;
