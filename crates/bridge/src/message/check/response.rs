//! Checks of responses from backends.

use super::{
    error::{CheckError, malformed},
    field::{CONNECTION_SPECIFIC, Scanner, is_connection_specific, merge_content_length, size_of},
    trailer_fields,
};
use crate::message::{Fields, Known, Name, Protocol, ResponseHead, fields::FIELD_OVERHEAD};
use std::fmt;

/// Why a backend's response is answered with 502 `upstream protocol error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseError {
    /// Malformed, with the reason.
    Malformed(&'static str),
    /// Larger than the limit.
    TooLarge,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(reason) => reason,
            Self::TooLarge => "response headers exceed size limit",
        })
    }
}

impl std::error::Error for ResponseError {}

impl From<CheckError> for ResponseError {
    fn from(error: CheckError) -> Self {
        match error {
            CheckError::Malformed { reason, .. } => Self::Malformed(reason),
            CheckError::TooManyFields | CheckError::TooLarge => Self::TooLarge,
            CheckError::Invalid(details) => Self::Malformed(details.text()),
        }
    }
}

/// Checks a response head that begins with `:status`, as in HTTP/2 and HTTP/3, and removes `:status` from the fields.
/// `max_section` limits names, values and [`FIELD_OVERHEAD`] for each field, `:status` included.
///
/// # Errors
/// [`ResponseError`]
pub fn response(mut fields: Fields, max_section: usize, protocol: Protocol) -> Result<ResponseHead, ResponseError> {
    let first = fields.iter().next().filter(|field| field.name == Name::Known(Known::Status));
    let status = first.and_then(|field| parse_status(field.value));
    let status = status.ok_or(ResponseError::Malformed("no valid :status"))?;
    if status == 101 {
        return Err(ResponseError::Malformed("status 101 outside HTTP/1.1")); // RFC 9113 8.6, RFC 9114 4.5
    }
    let content_length = validate(&fields, 1, max_section, protocol)?;
    fields.remove(Known::Status);
    Ok(ResponseHead { status, fields, content_length })
}

/// Checks a response head of HTTP/1.1, whose fields do not contain the status. `max_section` as for [`response`], without
/// `:status`. Returns the head and whether its body is chunked.
///
/// # Errors
/// [`ResponseError`]; `transfer-encoding` other than `chunked`, or together with `content-length`, is malformed (RFC 9112
/// 6.1, 6.3).
pub fn http1_response(status: u16, fields: Fields, max_section: usize) -> Result<(ResponseHead, bool), ResponseError> {
    if !matches!(status, 100..=999) {
        return Err(ResponseError::Malformed("status below 100"));
    }
    let content_length = validate(&fields, 0, max_section, Protocol::Http1)?;
    let is_chunked = is_chunked(&fields)?;
    if is_chunked && content_length.is_some() {
        return Err(ResponseError::Malformed("transfer-encoding and content-length"));
    }
    Ok((ResponseHead { status, fields, content_length }, is_chunked))
}

fn is_chunked(fields: &Fields) -> Result<bool, ResponseError> {
    let mut codings = fields.all(Known::TransferEncoding);
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => Ok(true),
        _ => Err(ResponseError::Malformed("transfer coding other than chunked")),
    }
}

/// Checks the trailers of a response. `max_section` as for [`response`].
///
/// # Errors
/// [`ResponseError`]
pub fn response_trailers(fields: &Fields, max_section: usize) -> Result<(), ResponseError> {
    let size = trailer_fields(fields)?;
    check_section(fields, size, max_section)
}

/// Checks all fields from index `from` on and returns the announced length.
fn validate(
    fields: &Fields,
    from: usize,
    max_section: usize,
    protocol: Protocol,
) -> Result<Option<u64>, ResponseError> {
    let scanner = Scanner::new(fields);
    let mut content_length = None;
    let mut size = fields.iter().take(from).map(|field| size_of(&field)).sum();
    for field in fields.iter().skip(from) {
        size += size_of(&field);
        scanner.check(&field)?;
        match field.name {
            Name::Known(Known::ContentLength) => merge_content_length(&mut content_length, field.value)?,
            Name::Known(known) if protocol != Protocol::Http1 && is_connection_specific(known) => {
                return Err(malformed(CONNECTION_SPECIFIC, "RFC 9113 8.2.2").into());
            }
            name if name.is_pseudo() => return Err(malformed("pseudo-header in a response", "RFC 9113 8.3.2").into()),
            _ => {}
        }
    }
    check_section(fields, size, max_section)?;
    Ok(content_length)
}

/// Checks the size of a section with `size` bytes of names and values.
fn check_section(fields: &Fields, size: usize, max_section: usize) -> Result<(), ResponseError> {
    let section = size.saturating_add(fields.len().saturating_mul(FIELD_OVERHEAD));
    if section > max_section { Err(ResponseError::TooLarge) } else { Ok(()) }
}

/// Parses three digits, the first not 0 (RFC 9110 15).
fn parse_status(value: &[u8]) -> Option<u16> {
    let [hundreds @ b'1'..=b'9', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] = value else { return None };
    let digit = |byte: &u8| u16::from(byte - b'0');
    Some(digit(hundreds) * 100 + digit(tens) * 10 + digit(ones))
}
