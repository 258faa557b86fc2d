//! Reads OCSP responses (RFC 6960) as far as stapling needs it: whether a response is about a certificate, and until when.
//! Signatures are not verified; clients do that. Used by the configuration check and by the TLS contexts.

use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::{Any, Class, Tag};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

/// `id-pkix-ocsp-basic`, 1.3.6.1.5.5.7.48.1.1.
const BASIC_RESPONSE: [u8; 9] = [0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1];
/// `successful` of `OCSPResponseStatus`.
const SUCCESSFUL: [u8; 1] = [0];

const NOT_A_RESPONSE: &str = "it is not an OCSP response in DER";
const UNSUCCESSFUL: &str = "it is an error message of the OCSP server";
const OTHER_CERTIFICATE: &str = "it is about another certificate";
const UNKNOWN: &str = "the OCSP server does not know the certificate";
const UNLIMITED: &str = "it does not say when the next response is due";

/// What a response says about a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OcspStatus {
    /// Unix time from which on the response must not be used.
    pub next_update: i64,
    /// The certificate is revoked.
    pub is_revoked: bool,
}

impl OcspStatus {
    /// Reads what `response` says about `certificate`.
    ///
    /// # Errors
    /// Why the response cannot be stapled, for operators. One whose time has passed is not an error.
    pub fn read(response: &[u8], certificate: &CertificateDer<'_>) -> Result<Self, &'static str> {
        let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| OTHER_CERTIFICATE)?;
        let entries = entries(basic_response(response)?).ok_or(NOT_A_RESPONSE)?;
        let wanted = entries.iter().find(|entry| serial(entry).as_deref() == Some(certificate.raw_serial()));
        let [_, status, _, rest @ ..] = wanted.ok_or(OTHER_CERTIFICATE)?.as_slice() else { return Err(NOT_A_RESPONSE) };
        let is_revoked = match status.tag() {
            Tag(0) => false,
            Tag(1) => true,
            _ => return Err(UNKNOWN),
        };
        let next = rest.first().filter(|next| is_tagged(next, 0)).ok_or(UNLIMITED)?;
        let (_, next) = ASN1Time::from_der(next.data).map_err(|_| NOT_A_RESPONSE)?;
        Ok(Self { next_update: next.timestamp(), is_revoked })
    }
}

/// Returns the content of the `BasicOCSPResponse`.
fn basic_response(response: &[u8]) -> Result<&[u8], &'static str> {
    let parts = sequence(response).ok_or(NOT_A_RESPONSE)?;
    let [status, rest @ ..] = parts.as_slice() else { return Err(NOT_A_RESPONSE) };
    if status.tag() != Tag::Enumerated {
        return Err(NOT_A_RESPONSE);
    }
    if status.data != SUCCESSFUL {
        return Err(UNSUCCESSFUL);
    }
    let typed = rest.first().filter(|bytes| is_tagged(bytes, 0)).and_then(|bytes| sequence(bytes.data));
    match typed.as_deref() {
        Some([kind, content]) if kind.data == BASIC_RESPONSE => Ok(content.data),
        _ => Err(NOT_A_RESPONSE),
    }
}

/// Returns the `SingleResponse` entries of a `BasicOCSPResponse`.
fn entries(basic: &[u8]) -> Option<Vec<Vec<Any<'_>>>> {
    let data = sequence(basic)?.into_iter().next()?;
    // The fields before are tagged, or a time.
    let list = elements(data.data)?.into_iter().find(|part| part.tag() == Tag::Sequence)?;
    elements(list.data)?.iter().map(|entry| elements(entry.data)).collect()
}

/// Returns the serial number of the certificate that an entry is about.
fn serial<'a>(entry: &[Any<'a>]) -> Option<std::borrow::Cow<'a, [u8]>> {
    let id = elements(entry.first()?.data)?;
    id.get(3).filter(|serial| serial.tag() == Tag::Integer).map(|serial| serial.data.into())
}

fn is_tagged(element: &Any<'_>, number: u32) -> bool {
    element.class() == Class::ContextSpecific && element.tag() == Tag(number)
}

/// Returns the elements of the one sequence that `bytes` must be.
fn sequence(bytes: &[u8]) -> Option<Vec<Any<'_>>> {
    let (rest, whole) = Any::from_der(bytes).ok()?;
    if rest.is_empty() && whole.tag() == Tag::Sequence { elements(whole.data) } else { None }
}

fn elements(mut bytes: &[u8]) -> Option<Vec<Any<'_>>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (rest, element) = Any::from_der(bytes).ok()?;
        found.push(element);
        bytes = rest;
    }
    Some(found)
}

#[cfg(test)]
mod tests;
