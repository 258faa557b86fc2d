//! The checks that every message passes before anything is done with it: which requests are malformed, too large or
//! invalid (in this order), and what a backend may answer.
//!
//! One pass over the fields, nothing is changed. Called by the client side for requests and trailers, by the backend side
//! for responses and trailers.

mod body;
mod error;
mod field;
mod request;
mod response;
mod target;

pub use body::{BodyLength, LengthError};
pub use error::{CheckError, Details, Refused};
pub use request::request;
pub use response::{ResponseError, response, response_trailers};
pub use target::{Authority, authority};

use super::{Fields, Name, Protocol, fields::FIELD_OVERHEAD};
use error::malformed;
use field::{Scanner, size_of};

/// Bounds on the header section of a request, and on its trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLimits {
    /// Fields, pseudo-headers counted, all `cookie` fields as one (`max_headers_count`).
    pub max_fields: usize,
    /// Bytes of names plus values (`max_headers_bytes`).
    pub max_bytes: usize,
}

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

#[cfg(test)]
mod tests;
