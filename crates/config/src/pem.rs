//! Reads certificates, private keys and revocation lists from PEM text (RFC 7468).
//!
//! Markers need not be at the start of a line, so a byte order mark, CRLF line ends and two blocks without a line end
//! between them are accepted. A malformed marker is an error: if its block were ignored, handshakes would fail later.
//! Used by the configuration check and by the TLS contexts.

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// Why a PEM text cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The text has no block of the requested kind.
    NoBlock,
    /// A block does not parse.
    Invalid(Detail),
    /// The text contains a block that would be ignored.
    Unused(Detail),
    /// The private key is encrypted.
    Encrypted,
}

/// Position and reason of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detail {
    /// Line number, from 1, of the marker at fault or of the block's first marker.
    pub line: usize,
    /// What is wrong.
    pub reason: &'static str,
}

/// Returns the certificates of `text` in order; skips blocks of other kinds.
///
/// # Errors
/// [`Error::NoBlock`] without a certificate, [`Error::Invalid`] if one does not parse, [`Error::Unused`] if one would be ignored.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut found = Vec::new();
    for block in blocks(text)? {
        match block.label {
            b"CERTIFICATE" => found.push(certificate(&block)?),
            b"TRUSTED CERTIFICATE" | b"X509 CERTIFICATE" => {
                return Err(
                    block.unused("only blocks of the kind CERTIFICATE are used; convert it with 'openssl x509'")
                );
            }
            _ => {}
        }
    }
    if found.is_empty() { Err(Error::NoBlock) } else { Ok(found) }
}

/// Returns the certificates of `text` as certificate authorities.
///
/// # Errors
/// Those of [`certificates`]; [`Error::Invalid`] also if one cannot be an authority.
pub fn authorities(text: &[u8]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let certificates = certificates(text)?;
    let lines = blocks(text)?.into_iter().filter(|block| block.label == b"CERTIFICATE").map(|block| block.line);
    for (certificate, line) in certificates.into_iter().zip(lines) {
        let unusable = |_| Error::Invalid(Detail { line, reason: "the certificate cannot serve as an authority" });
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(roots)
}

/// Returns the private key of `text`: PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
/// [`Error::NoBlock`] without a key, [`Error::Encrypted`], [`Error::Invalid`] if it does not parse, [`Error::Unused`] if there are several.
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Error> {
    let mut found = None;
    for block in blocks(text)?.iter().filter(|block| block.label.ends_with(b"PRIVATE KEY")) {
        // OpenSSL's own format keeps the label and says so in header fields (RFC 1421 section 4.6.1.1).
        if block.label == b"ENCRYPTED PRIVATE KEY" || contains(block.text, b"Proc-Type: 4,ENCRYPTED") {
            return Err(Error::Encrypted);
        }
        if found.is_some() {
            return Err(block.unused("a second private key; only one can be used"));
        }
        found = Some(match block.label {
            b"PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => {
                PrivateKeyDer::from_pem_slice(block.text).map_err(|_| block.invalid(BAD_BASE64))?
            }
            _ => return Err(block.invalid("keys of this kind are not supported")),
        });
    }
    found.ok_or(Error::NoBlock)
}

/// Returns the revocation lists of `text`.
///
/// # Errors
/// [`Error::NoBlock`] without a list, [`Error::Invalid`] if one does not parse.
pub fn revocation_lists(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, Error> {
    let mut found = Vec::new();
    for block in blocks(text)?.iter().filter(|block| block.label == b"X509 CRL") {
        let list = CertificateRevocationListDer::from_pem_slice(block.text).map_err(|_| block.invalid(BAD_BASE64))?;
        CertificateRevocationList::from_der(&list).map_err(|_| block.invalid("not a revocation list"))?;
        found.push(list);
    }
    if found.is_empty() { Err(Error::NoBlock) } else { Ok(found) }
}

const BAD_BASE64: &str = "the block is not valid base64";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// Labels, or their beginnings, of the blocks that Spooky uses or reports.
const LABELS: [&[u8]; 8] = [
    b"CERTIFICATE",
    b"X509 C",
    b"TRUSTED CERTIFICATE",
    b"PRIVATE KEY",
    b"RSA PRIVATE KEY",
    b"EC PRIVATE KEY",
    b"ENCRYPTED PRIVATE KEY",
    b"OPENSSH PRIVATE KEY",
];

fn certificate(block: &Block<'_>) -> Result<CertificateDer<'static>, Error> {
    let certificate = CertificateDer::from_pem_slice(block.text).map_err(|_| block.invalid(BAD_BASE64))?;
    match X509Certificate::from_der(&certificate) {
        Ok(([], _)) if ParsedCertificate::try_from(&certificate).is_ok() => Ok(certificate),
        _ => Err(block.invalid("not an X.509 certificate")),
    }
}

/// A block from its BEGIN marker to the end of its END marker.
struct Block<'t> {
    label: &'t [u8],
    text: &'t [u8],
    line: usize,
}

impl Block<'_> {
    fn invalid(&self, reason: &'static str) -> Error {
        Error::Invalid(Detail { line: self.line, reason })
    }

    fn unused(&self, reason: &'static str) -> Error {
        Error::Unused(Detail { line: self.line, reason })
    }
}

fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, Error> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let at = find(rest, BEGIN);
        let (between, from) = rest.split_at(at.unwrap_or(rest.len()));
        let line_of = |part: &[u8]| line(text, text.len() - rest.len() + part.len());
        if let Some(span) = misspelt_marker(between) {
            let line = line_of(between.get(..span).unwrap_or_default());
            return Err(Error::Unused(Detail {
                line,
                reason: "a damaged BEGIN or END marker, or an END without a BEGIN",
            }));
        }
        if at.is_none() {
            return Ok(found);
        }
        let line = line_of(between);
        let (block, after) = block(from, line)?;
        found.push(block);
        rest = after;
    }
}

/// Splits the block at the start of `from`, whose first marker is in line `line`, from what follows it.
fn block(from: &[u8], line: usize) -> Result<(Block<'_>, &[u8]), Error> {
    let invalid = |reason| Error::Invalid(Detail { line, reason });
    let open = from.get(BEGIN.len()..).unwrap_or_default();
    let label = find(open, DASHES).and_then(|end| open.get(..end)).filter(|label| !label.contains(&b'\n'));
    let label = label.ok_or(invalid("the BEGIN marker does not end in five dashes"))?;
    let body = open.get(label.len() + DASHES.len()..).unwrap_or_default();
    let end = find(body, END).ok_or(invalid("the block has no END marker"))?;
    if find(body.get(..end).unwrap_or_default(), BEGIN).is_some() {
        return Err(invalid("the block has no END marker"));
    }
    let close = body.get(end + END.len()..).unwrap_or_default();
    let after = close.strip_prefix(label).and_then(|rest| rest.strip_prefix(DASHES));
    let after = after.ok_or(invalid("the END marker does not fit the BEGIN marker"))?;
    let text = from.get(..from.len() - after.len()).unwrap_or(from);
    Ok((Block { label, text, line }, after))
}

/// Returns the offset of a malformed marker between two blocks: a dash, BEGIN or END, and a known label.
fn misspelt_marker(between: &[u8]) -> Option<usize> {
    (0..between.len()).find(|&at| {
        let (before, from) = between.split_at(at);
        let words: [&[u8]; 2] = [b"BEGIN ", b"END "];
        let label = words.iter().find_map(|word| strip_ignoring_case(from, word));
        let is_label =
            label.is_some_and(|label| LABELS.iter().any(|known| strip_ignoring_case(label, known).is_some()));
        // An ASCII dash, or a longer one as word processors insert it (U+2012 to U+2015).
        let is_dash = |before: &[u8]| before.ends_with(b"-") || matches!(before, [.., 0xe2, 0x80, 0x92..=0x95]);
        is_label && is_dash(before.trim_ascii_end())
    })
}

fn strip_ignoring_case<'t>(text: &'t [u8], word: &[u8]) -> Option<&'t [u8]> {
    let (start, rest) = text.split_at_checked(word.len())?;
    start.eq_ignore_ascii_case(word).then_some(rest)
}

fn find(text: &[u8], word: &[u8]) -> Option<usize> {
    text.windows(word.len()).position(|window| window == word)
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    find(text, word).is_some()
}

fn line(text: &[u8], offset: usize) -> usize {
    text.iter().take(offset).filter(|byte| **byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests;
