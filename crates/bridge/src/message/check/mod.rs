//! Checks of requests, responses and trailers before anything is done with them. Requests are malformed, too large or
//! invalid, in this order.
//!
//! One pass over the fields, which stay unchanged. The client side checks requests and their trailers, the backend side
//! responses and their trailers.

mod body;
mod error;
mod field;
mod request;
mod response;
mod target;

pub use body::{BodyLength, LengthError};
pub use error::{CheckError, InvalidReason, RejectedRequest};
pub(crate) use field::is_token;
pub use field::is_writable;
pub use request::request;
pub use response::{ResponseError, http1_response, response, response_trailers};
pub use target::{Authority, authority};

use super::{Fields, Name, Protocol, fields::FIELD_OVERHEAD};
use error::malformed;
use field::{Scanner, size_of};

/// Limits on the header section of a request, and on its trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Number of fields, pseudo-header fields included; all `cookie` fields count as one (`max_headers_count`).
    pub max_fields: usize,
    /// Bytes of names plus values (`max_headers_bytes`).
    pub max_bytes: usize,
}

impl HeadLimits {
    /// Returns the limit that HTTP/2 and HTTP/3 announce, with [`FIELD_OVERHEAD`] for each field.
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

/// Configurable and protocol-dependent checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRules {
    /// The client's protocol.
    pub protocol: Protocol,
    /// Extended CONNECT was announced, so `:protocol` is allowed.
    pub extended_connect: bool,
    /// `:authority` and `host` must agree.
    pub enforce_authority_host_match: bool,
    /// Paths with an encoded slash, backslash or NUL are invalid.
    pub reject_ambiguous_paths: bool,
}

impl RequestRules {
    /// Returns the defaults of the configuration for this protocol.
    pub const fn new(protocol: Protocol) -> Self {
        Self { protocol, extended_connect: true, enforce_authority_host_match: true, reject_ambiguous_paths: false }
    }
}

/// Checks the trailers of a request.
///
/// # Errors
/// [`CheckError::Malformed`] for pseudo-header fields, invalid names or values, and connection-specific fields; then
/// the limits.
pub fn request_trailers(fields: &Fields, limits: &HeadLimits) -> Result<(), CheckError> {
    let size = trailer_fields(fields)?;
    check_limits(fields.len(), size, limits)
}

/// Checks the fields of trailers of either direction and returns the size of names plus values.
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

#[cfg(test)]
mod tests;
