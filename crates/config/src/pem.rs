//! Reads certificates, private keys and revocation lists from PEM text (RFC 7468).
//!
//! A block is found by its markers wherever they stand, so a byte order mark, CRLF line ends and two blocks without a line
//! end between them do no harm. Text that looks like a marker but is none is an error: a block that is silently left out
//! shows much later, as a handshake that fails. Used by the check of the configuration and by the TLS contexts.

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

/// Why a PEM text cannot be used. Lines are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// No block of the kind.
    NoBlock,
    /// A block that does not parse.
    Invalid(Flaw),
    /// The text holds a block that would not be used.
    Unread(Flaw),
    /// The private key is encrypted.
    Encrypted,
}

/// A place in a PEM text and what is wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaw {
    /// The line of the marker at fault, or of the block's first marker.
    pub line: usize,
    /// What is wrong.
    pub reason: &'static str,
}

/// Returns the certificates of `text` in their order; blocks of other kinds are passed over.
///
/// # Errors
/// [`Fault::NoBlock`] without a certificate, [`Fault::Invalid`] if one does not parse, [`Fault::Unread`] if one would be left out.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let mut found = Vec::new();
    for block in blocks(text)? {
        match block.label {
            b"CERTIFICATE" => found.push(certificate(&block)?),
            b"TRUSTED CERTIFICATE" | b"X509 CERTIFICATE" => {
                return Err(
                    block.unread("only blocks of the kind CERTIFICATE are used; convert it with 'openssl x509'")
                );
            }
            _ => {}
        }
    }
    if found.is_empty() { Err(Fault::NoBlock) } else { Ok(found) }
}

/// Returns the certificates of `text`, each of which can serve as an authority.
///
/// # Errors
/// As [`certificates`]; [`Fault::Invalid`] also if one cannot serve as an authority.
pub fn authorities(text: &[u8]) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    let certificates = certificates(text)?;
    let lines = blocks(text)?.into_iter().filter(|block| block.label == b"CERTIFICATE").map(|block| block.line);
    for (certificate, line) in certificates.into_iter().zip(lines) {
        let unusable = |_| Fault::Invalid(Flaw { line, reason: "the certificate cannot serve as an authority" });
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(roots)
}

/// Returns the private key of `text`: PKCS#8, PKCS#1 or SEC1.
///
/// # Errors
/// [`Fault::NoBlock`] without a key, [`Fault::Encrypted`], [`Fault::Invalid`] if it does not parse, [`Fault::Unread`] if there are several.
pub fn private_key(text: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    let mut found = None;
    for block in blocks(text)?.iter().filter(|block| block.label.ends_with(b"PRIVATE KEY")) {
        // OpenSSL's own format keeps the label and says so in header fields (RFC 1421 section 4.6.1.1).
        if block.label == b"ENCRYPTED PRIVATE KEY" || contains(block.text, b"Proc-Type: 4,ENCRYPTED") {
            return Err(Fault::Encrypted);
        }
        if found.is_some() {
            return Err(block.unread("a second private key; only one can be used"));
        }
        found = Some(match block.label {
            b"PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => {
                PrivateKeyDer::from_pem_slice(block.text).map_err(|_| block.invalid(BAD_BASE64))?
            }
            _ => return Err(block.invalid("keys of this kind are not supported")),
        });
    }
    found.ok_or(Fault::NoBlock)
}

/// Returns the revocation lists of `text`.
///
/// # Errors
/// [`Fault::NoBlock`] without a list, [`Fault::Invalid`] if one does not parse.
pub fn revocation_lists(text: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, Fault> {
    let mut found = Vec::new();
    for block in blocks(text)?.iter().filter(|block| block.label == b"X509 CRL") {
        let list = CertificateRevocationListDer::from_pem_slice(block.text).map_err(|_| block.invalid(BAD_BASE64))?;
        CertificateRevocationList::from_der(&list).map_err(|_| block.invalid("not a revocation list"))?;
        found.push(list);
    }
    if found.is_empty() { Err(Fault::NoBlock) } else { Ok(found) }
}

const BAD_BASE64: &str = "the block is not valid base64";
const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// What follows BEGIN or END in the markers of blocks that are used somewhere.
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

fn certificate(block: &Block<'_>) -> Result<CertificateDer<'static>, Fault> {
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
    fn invalid(&self, reason: &'static str) -> Fault {
        Fault::Invalid(Flaw { line: self.line, reason })
    }

    fn unread(&self, reason: &'static str) -> Fault {
        Fault::Unread(Flaw { line: self.line, reason })
    }
}

/// Returns all blocks of `text`.
fn blocks(text: &[u8]) -> Result<Vec<Block<'_>>, Fault> {
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        let at = find(rest, BEGIN);
        let (between, from) = rest.split_at(at.unwrap_or(rest.len()));
        let line_of = |part: &[u8]| line(text, text.len() - rest.len() + part.len());
        if let Some(place) = misspelt_marker(between) {
            let line = line_of(between.get(..place).unwrap_or_default());
            return Err(Fault::Unread(Flaw {
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
fn block(from: &[u8], line: usize) -> Result<(Block<'_>, &[u8]), Fault> {
    let flaw = |reason| Fault::Invalid(Flaw { line, reason });
    let open = from.get(BEGIN.len()..).unwrap_or_default();
    let label = find(open, DASHES).and_then(|end| open.get(..end)).filter(|label| !label.contains(&b'\n'));
    let label = label.ok_or(flaw("the BEGIN marker does not end in five dashes"))?;
    let body = open.get(label.len() + DASHES.len()..).unwrap_or_default();
    let end = find(body, END).ok_or(flaw("the block has no END marker"))?;
    if find(body.get(..end).unwrap_or_default(), BEGIN).is_some() {
        return Err(flaw("the block has no END marker"));
    }
    let close = body.get(end + END.len()..).unwrap_or_default();
    let after = close.strip_prefix(label).and_then(|rest| rest.strip_prefix(DASHES));
    let after = after.ok_or(flaw("the END marker does not fit the BEGIN marker"))?;
    let text = from.get(..from.len() - after.len()).unwrap_or(from);
    Ok((Block { label, text, line }, after))
}

/// The place of something between two blocks that was meant to be a marker: a dash, BEGIN or END, and a known label.
fn misspelt_marker(between: &[u8]) -> Option<usize> {
    (0..between.len()).find(|&at| {
        let (before, from) = between.split_at(at);
        let words: [&[u8]; 2] = [b"BEGIN ", b"END "];
        let label = words.iter().find_map(|word| strip_ignoring_case(from, word));
        let is_label =
            label.is_some_and(|label| LABELS.iter().any(|known| strip_ignoring_case(label, known).is_some()));
        // A dash of ASCII, or one of the longer ones that word processors put there (U+2012 to U+2015).
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
