//! What is in a PEM file. Pure; called by the TLS checks.

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why a file is no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No PEM block of the kind.
    NoBlock,
    /// A block that does not parse.
    Invalid,
}

/// The certificates of a PEM text, each of which parses.
pub(crate) fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Fault> {
    let mut found = Vec::new();
    for block in CertificateDer::pem_slice_iter(pem) {
        let certificate = block.map_err(|_| Fault::Invalid)?;
        X509Certificate::from_der(&certificate).map_err(|_| Fault::Invalid)?;
        found.push(certificate);
    }
    if found.is_empty() { Err(Fault::NoBlock) } else { Ok(found) }
}

/// The first private key of a PEM text.
pub(crate) fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Fault> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        Error::NoItemsFound => Fault::NoBlock,
        _ => Fault::Invalid,
    })
}

/// Whether a PEM text holds revocation lists.
pub(crate) fn has_revocation_lists(pem: &[u8]) -> bool {
    let mut lists = CertificateRevocationListDer::pem_slice_iter(pem);
    lists.next().is_some_and(|first| first.is_ok()) && lists.all(|list| list.is_ok())
}

/// Whether the key belongs to the first certificate. `Err`: the key is of no known kind.
pub(crate) fn key_matches(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> Result<bool, Fault> {
    let key = default_provider().key_provider.load_private_key(key.clone_key()).map_err(|_| Fault::Invalid)?;
    match CertifiedKey::new(chain.to_vec(), key).keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(true),
        Err(_) => Ok(false),
    }
}

/// When the first certificate ends, in seconds since 1970, and as a date.
pub(crate) fn expiry(chain: &[CertificateDer<'_>]) -> Option<(i64, String)> {
    let (_, certificate) = X509Certificate::from_der(chain.first()?).ok()?;
    let end = certificate.validity().not_after;
    let day = end.to_datetime().date();
    Some((end.timestamp(), format!("{:04}-{:02}-{:02}", day.year(), u8::from(day.month()), day.day())))
}

/// Whether the first certificate's alternative names cover `name`. A wildcard stands for one label.
pub(crate) fn covers(chain: &[CertificateDer<'_>], name: &str) -> bool {
    let Some((_, certificate)) = chain.first().and_then(|first| X509Certificate::from_der(first).ok()) else {
        return false;
    };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    let below = name.split_once('.').map(|(_, suffix)| suffix).filter(|_| !name.starts_with("*."));
    names.value.general_names.iter().any(|alternative| match alternative {
        GeneralName::DNSName(pattern) => {
            let wildcard =
                pattern.strip_prefix("*.").zip(below).is_some_and(|(own, suffix)| own.eq_ignore_ascii_case(suffix));
            pattern.eq_ignore_ascii_case(name) || wildcard
        }
        _ => false,
    })
}
