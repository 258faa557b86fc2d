//! Properties of certificates and keys that the TLS checks need.

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use crate::ocsp::OcspStatus;

/// Whether the key belongs to the first certificate. Returns `None` if the key does not parse.
pub(crate) fn key_matches(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'static>) -> Option<bool> {
    let key = default_provider().key_provider.load_private_key(key.clone_key()).ok()?;
    let matched = CertifiedKey::new(chain.to_vec(), key).keys_match();
    // `Unknown` means that the public key is not available for comparison.
    Some(matches!(matched, Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown))))
}

/// Returns the end of a certificate's validity as Unix time and as a date.
pub(crate) fn expiry(certificate: &CertificateDer<'_>) -> Option<(i64, String)> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(moment(certificate.validity().not_after))
}

/// Returns the end of an OCSP response's validity as Unix time and as a date.
pub(crate) fn ocsp_expiry(status: &OcspStatus) -> Option<(i64, String)> {
    ASN1Time::from_timestamp(status.next_update).ok().map(moment)
}

fn moment(time: ASN1Time) -> (i64, String) {
    (time.timestamp(), time.to_datetime().date().to_string())
}

/// Whether the alternative names of the first certificate cover `name`. A wildcard matches one label.
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
