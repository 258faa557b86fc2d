//! Checks of requests: malformed, too large, invalid, in this order.

use super::{
    HeadLimits, RequestRules, check_limits,
    error::{CheckError, InvalidReason, RejectedRequest, malformed},
    field::{CONNECTION_SPECIFIC, Scanner, is_connection_specific, is_token, merge_content_length, size_of},
    target::{authority, is_ambiguous, is_path, is_same_authority},
};
use crate::message::{Fields, Known, Method, Name, Protocol, RequestHead};

/// Checks a received request head.
///
/// # Errors
/// [`RejectedRequest`] with the first reason in the order of [`CheckError`].
pub fn request(fields: Fields, limits: &HeadLimits, rules: &RequestRules) -> Result<RequestHead, RejectedRequest> {
    match validate(&fields, limits, *rules) {
        // CONNECT opens a tunnel, which has no length (RFC 9110 9.3.6).
        Ok((Method::Connect, _)) => Ok(RequestHead { fields, method: Method::Connect, content_length: None }),
        Ok((method, content_length)) => Ok(RequestHead { fields, method, content_length }),
        Err(error) => Err(RejectedRequest { error, fields }),
    }
}

fn validate(fields: &Fields, limits: &HeadLimits, rules: RequestRules) -> Result<(Method, Option<u64>), CheckError> {
    let request = Request::scan(fields, rules)?;
    let method = request.check_complete()?;
    check_limits(request.count(fields), request.size, limits)?;
    request.check_target(method, rules).map_err(CheckError::Invalid)?;
    request.check_framing().map_err(CheckError::Invalid)?;
    Ok((method, request.content_length))
}

#[derive(Default)]
struct Request<'a> {
    method: Option<&'a [u8]>,
    scheme: Option<&'a [u8]>,
    authority: Option<&'a [u8]>,
    path: Option<&'a [u8]>,
    protocol: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    more_hosts: Vec<&'a [u8]>,
    content_length: Option<u64>,
    transfer_coding: Option<&'a [u8]>,
    cookies: usize,
    size: usize,
}

impl<'a> Request<'a> {
    /// Checks each field alone, in one pass.
    fn scan(fields: &'a Fields, rules: RequestRules) -> Result<Self, CheckError> {
        let scanner = Scanner::new(fields);
        let mut request = Self::default();
        let mut is_late = false;
        for field in fields.iter() {
            request.size += size_of(&field);
            let Name::Known(known) = field.name else {
                scanner.check(&field)?;
                is_late = true;
                continue;
            };
            scanner.check_value(field.value)?;
            let slot = match known {
                Known::Method => &mut request.method,
                Known::Scheme => &mut request.scheme,
                Known::Authority => &mut request.authority,
                Known::Path => &mut request.path,
                Known::Protocol if rules.extended_connect => &mut request.protocol,
                Known::Protocol | Known::Status => return Err(malformed("unknown pseudo-header", "RFC 9114 4.3")),
                _ => {
                    is_late = true;
                    request.check_known(known, field.value, rules.protocol)?;
                    continue;
                }
            };
            if is_late {
                return Err(malformed("pseudo-header after other fields", "RFC 9114 4.3"));
            }
            if field.value.is_empty() {
                return Err(malformed("empty pseudo-header", "RFC 9114 4.3.1"));
            }
            if slot.replace(field.value).is_some() {
                return Err(malformed("repeated pseudo-header", "RFC 9114 4.3"));
            }
        }
        Ok(request)
    }

    /// Returns the number of fields for `max_headers_count`. All `cookie` fields count as one, because clients split
    /// the field to compress it better (RFC 9114 4.2.1).
    fn count(&self, fields: &Fields) -> usize {
        fields.len() - self.cookies.saturating_sub(1)
    }

    fn check_known(&mut self, known: Known, value: &'a [u8], protocol: Protocol) -> Result<(), CheckError> {
        match known {
            Known::Host => {
                if value.is_empty() {
                    return Err(malformed("empty host", "RFC 9114 4.3.1"));
                }
                if self.host.is_none() {
                    self.host = Some(value);
                } else {
                    self.more_hosts.push(value);
                }
            }
            Known::ContentLength => merge_content_length(&mut self.content_length, value)?,
            Known::Cookie => self.cookies += 1,
            Known::TransferEncoding if protocol == Protocol::Http1 => {
                // A second field makes a list of codings, which is not just `chunked`.
                let is_first = self.transfer_coding.is_none();
                self.transfer_coding = Some(if is_first { value } else { b"" });
            }
            Known::Te if protocol != Protocol::Http1 && !value.eq_ignore_ascii_case(b"trailers") => {
                return Err(malformed("te is not trailers", "RFC 9114 4.2"));
            }
            _ if is_connection_specific(known) && protocol != Protocol::Http1 => {
                return Err(malformed(CONNECTION_SPECIFIC, "RFC 9114 4.2"));
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks that the required pseudo-header fields are present (RFC 9114 4.3.1, 4.4, RFC 8441 4).
    fn check_complete(&self) -> Result<Method, CheckError> {
        let name = self.method.ok_or(malformed("no :method", "RFC 9114 4.3.1"))?;
        if !is_token(name) {
            return Err(malformed("method is no token", "RFC 9110 9.1"));
        }
        let method = Method::from_bytes(name);
        if self.protocol.is_some() && method != Method::Connect {
            return Err(malformed(":protocol without CONNECT", "RFC 8441 4"));
        }
        if method == Method::Connect && self.protocol.is_none() {
            if self.scheme.is_some() || self.path.is_some() {
                return Err(malformed("CONNECT with :scheme or :path", "RFC 9114 4.4"));
            }
            if self.authority.is_none() {
                return Err(malformed("CONNECT without :authority", "RFC 9114 4.4"));
            }
            return Ok(method);
        }
        if self.scheme.is_none() || self.path.is_none() {
            return Err(malformed("no :scheme or no :path", "RFC 9114 4.3.1"));
        }
        if self.authority.or(self.host).is_none() {
            return Err(malformed("neither :authority nor host", "RFC 9114 4.3.1"));
        }
        Ok(method)
    }

    /// Checks authority, host, scheme and path.
    fn check_target(&self, method: Method, rules: RequestRules) -> Result<(), InvalidReason> {
        let scheme = self.scheme.unwrap_or_default();
        let target = self.authority.or(self.host).unwrap_or_default();
        let mut hosts = self.host.iter().chain(&self.more_hosts);
        if rules.enforce_authority_host_match && !hosts.all(|host| is_same_authority(target, host, scheme)) {
            return Err(InvalidReason::AuthorityHostMismatch);
        }
        if !self.more_hosts.is_empty() {
            return Err(InvalidReason::InvalidAuthority);
        }
        let parts = authority(target);
        let Some(path) = self.path else {
            // CONNECT needs host and port (RFC 9110 9.3.6).
            let is_user_info = parts.is_none() && target.contains(&b'@');
            return match parts.and_then(|parts| parts.port) {
                Some(1..) => Ok(()),
                _ if is_user_info => Err(InvalidReason::InvalidAuthority),
                _ => Err(InvalidReason::InvalidConnectTarget),
            };
        };
        if parts.is_none() {
            return Err(InvalidReason::InvalidAuthority);
        }
        if !matches!(scheme, b"https" | b"http") {
            return Err(InvalidReason::InvalidScheme);
        }
        let is_asterisk = path == b"*" && method == Method::Options;
        if !is_asterisk && !is_path(path) {
            return Err(InvalidReason::InvalidPath);
        }
        if rules.reject_ambiguous_paths && is_ambiguous(path) {
            return Err(InvalidReason::AmbiguousPath);
        }
        Ok(())
    }

    /// Checks the framing of an HTTP/1.1 request (RFC 9112 6.1, 6.3): chunked or a length, never both.
    fn check_framing(&self) -> Result<(), InvalidReason> {
        match self.transfer_coding {
            None => Ok(()),
            Some(coding) if coding.eq_ignore_ascii_case(b"chunked") && self.content_length.is_none() => Ok(()),
            Some(_) => Err(InvalidReason::ConflictingFraming),
        }
    }
}
