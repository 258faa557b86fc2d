//! The sentences, and a description for every error.

use std::sync::Arc;
use std::time::Duration;

use rustls::{InconsistentKeys, OtherError, PeerMisbehaved};

use super::*;

/// Formats an error like webpki: the name of the variant.
#[derive(Debug)]
struct Webpki(&'static str);

impl std::fmt::Display for Webpki {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Webpki {}

fn webpki(text: &'static str) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Webpki(text)))))
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

#[test]
fn errors_that_operators_meet_have_sentences() {
    let name = |expected: &'static str, presented: &[&str]| {
        Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            expected: ServerName::try_from(expected).unwrap(),
            presented: presented.iter().map(ToString::to_string).collect(),
        })
    };
    let invalid = Error::InvalidCertificate;
    let (time, not_after) = (at(1_700_000_000), at(951_827_696));
    for (error, text) in [
        (
            webpki("CaUsedAsEndEntity"),
            "the certificate is that of an authority (CA:TRUE), which no server or client may use for itself; issue one with CA:FALSE",
        ),
        (webpki("EndEntityUsedAsCa"), "a certificate of the chain was signed by one that is no authority (CA:FALSE)"),
        (webpki("SomethingNew(7)"), "something new"),
        (webpki("a sentence of its own"), "a sentence of its own"),
        (invalid(CertificateError::ExpiredContext { time, not_after }), "the certificate expired on 2000-02-29"),
        (
            invalid(CertificateError::NotValidYetContext { time, not_before: at(4_102_444_800) }),
            "the certificate is not valid before 2100-01-01",
        ),
        (
            invalid(CertificateError::UnknownIssuer),
            "the certificate is not signed by a trusted authority, or an intermediate certificate is missing",
        ),
        (invalid(CertificateError::Revoked), "the certificate is revoked"),
        (
            name("b.test", &["DnsName(\"a.test\")", "DnsName(\"*.a.test\")", "IpAddress(127.0.0.1)"]),
            "the certificate is not valid for 'b.test', only for a.test, *.a.test, 127.0.0.1",
        ),
        (name("10.0.0.1", &[]), "the certificate is not valid for '10.0.0.1': it has no alternative names"),
        (Error::AlertReceived(AlertDescription::UnknownCA), "the peer does not trust the authority of our certificate"),
        (Error::AlertReceived(AlertDescription::CertificateRequired), "the peer requires a client certificate"),
        (Error::AlertReceived(AlertDescription::DecodeError), "the peer ended the handshake: decode error"),
        (
            Error::AlertReceived(AlertDescription::Unknown(200)),
            "the peer ended the handshake with the unknown alert 200",
        ),
        (Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon), "no TLS cipher suite in common"),
        (
            Error::PeerMisbehaved(PeerMisbehaved::TooManyEmptyFragments),
            "the peer broke the TLS protocol: too many empty fragments",
        ),
        (Error::InvalidMessage(InvalidMessage::InvalidContentType), "the peer sent something that is not TLS"),
        (Error::InconsistentKeys(InconsistentKeys::KeyMismatch), "the key does not match the certificate"),
        (
            Error::InvalidCertRevocationList(CertRevocationListError::BadSignature),
            "the revocation list is not signed by its issuer",
        ),
        (Error::General("no process-level provider".to_owned()), "no process-level provider"),
        (Error::HandshakeNotComplete, "handshake not complete"),
    ] {
        assert_eq!(explain(&error), text);
    }
}

/// The names of all errors of webpki 0.103.
const WEBPKI: [&str; 44] = [
    "BadDer",
    "BadDerTime",
    "CaUsedAsEndEntity",
    "CertDistrusted",
    "CertExpired { time: UnixTime(1), not_after: UnixTime(0) }",
    "CertNotValidForName(InvalidNameContext { expected: DnsName(\"a\"), presented: [] })",
    "CertNotValidYet { time: UnixTime(1), not_before: UnixTime(2) }",
    "CertRevoked",
    "CrlExpired { time: UnixTime(1), next_update: UnixTime(0) }",
    "EmptyEkuExtension",
    "EndEntityUsedAsCa",
    "ExtensionValueInvalid",
    "InvalidCertValidity",
    "InvalidCrlNumber",
    "InvalidNetworkMaskConstraint",
    "InvalidSerialNumber",
    "InvalidCrlSignatureForPublicKey",
    "InvalidSignatureForPublicKey",
    "IssuerNotCrlSigner",
    "MalformedDnsIdentifier",
    "MalformedExtensions",
    "MalformedNameConstraint",
    "MaximumNameConstraintComparisonsExceeded",
    "MaximumPathBuildCallsExceeded",
    "MaximumPathDepthExceeded",
    "MaximumSignatureChecksExceeded",
    "NameConstraintViolation",
    "PathLenConstraintViolated",
    "RequiredEkuNotFound",
    "SignatureAlgorithmMismatch",
    "TrailingData(Certificate)",
    "UnknownIssuer",
    "UnknownRevocationStatus",
    "UnsupportedCertVersion",
    "UnsupportedCriticalExtension",
    "UnsupportedCrlIssuingDistributionPoint",
    "UnsupportedCrlVersion",
    "UnsupportedDeltaCrl",
    "UnsupportedIndirectCrl",
    "UnsupportedNameType",
    "UnsupportedRevocationReason",
    "UnsupportedRevocationReasonsPartitioning",
    "UnsupportedCrlSignatureAlgorithm",
    "UnsupportedSignatureAlgorithm",
];

/// Returns whether a text contains a variant name or another mark of a debug form.
fn is_debug(text: &str) -> bool {
    let is_name = |word: &str| {
        let letters = word.as_bytes();
        letters.windows(2).any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
    };
    text.is_empty() || text.contains(['{', '"', '[']) || text.split([' ', ',', ':']).any(is_name)
}

#[test]
fn no_error_shows_its_debug_form() {
    assert!(is_debug("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))"));
    let mut errors: Vec<Error> = WEBPKI.into_iter().map(webpki).collect();
    errors.extend((0..=u8::MAX).map(|code| Error::AlertReceived(AlertDescription::from(code))));
    errors.extend([
        Error::InvalidCertificate(CertificateError::BadEncoding),
        Error::InvalidCertificate(CertificateError::Expired),
        Error::InvalidCertificate(CertificateError::NotValidYet),
        Error::InvalidCertificate(CertificateError::NotValidForName),
        Error::InvalidCertificate(CertificateError::InvalidPurpose),
        Error::InvalidCertificate(CertificateError::UnhandledCriticalExtension),
        Error::InvalidCertificate(CertificateError::UnknownRevocationStatus),
        Error::InvalidCertificate(CertificateError::ExpiredRevocationList),
        Error::InvalidCertificate(CertificateError::BadSignature),
        Error::InvalidCertificate(CertificateError::InvalidOcspResponse),
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure),
        Error::InvalidCertificate(CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: vec![1],
            supported_algorithms: Vec::new(),
        }),
        Error::InvalidCertRevocationList(CertRevocationListError::ParseError),
        Error::InvalidCertRevocationList(CertRevocationListError::InvalidCrlNumber),
        Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered),
        Error::PeerIncompatible(PeerIncompatible::KeyShareExtensionRequired),
        Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare),
        Error::InvalidMessage(InvalidMessage::MessageTooLarge),
        Error::InappropriateMessage { expect_types: Vec::new(), got_type: rustls::ContentType::Alert },
        Error::InappropriateHandshakeMessage { expect_types: Vec::new(), got_type: rustls::HandshakeType::Finished },
        Error::NoCertificatesPresented,
        Error::DecryptError,
        Error::EncryptError,
        Error::NoApplicationProtocol,
        Error::PeerSentOversizedRecord,
        Error::FailedToGetRandomBytes,
    ]);
    for error in errors {
        let text = explain(&error);
        assert!(!is_debug(&text), "{error:?}: {text}");
    }
}
