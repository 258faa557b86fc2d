//! Translates errors of rustls and webpki into sentences for operators.
//!
//! Both libraries print parts of their errors in Rust's debug form (`Other(OtherError(CaUsedAsEndEntity))`). Errors
//! that an operator can cause or meet have a sentence here; the names of the others are split into words.

use std::fmt::Debug;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{AlertDescription, CertRevocationListError, CertificateError, Error, InvalidMessage, PeerIncompatible};
use x509_parser::time::ASN1Time;

/// Returns a description of a TLS error, without a capital letter and full stop.
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidCertRevocationList(error) => revocation_list(error),
        Error::AlertReceived(alert) => self::alert(*alert),
        Error::PeerIncompatible(error) => incompatible(error),
        Error::PeerMisbehaved(error) => format!("the peer broke the TLS protocol: {}", words(error)),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the peer sent something that is not TLS".to_owned()
        }
        Error::InvalidMessage(error) => format!("the peer sent a malformed TLS message: {}", words(error)),
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the peer sent a TLS message out of order".to_owned()
        }
        Error::NoCertificatesPresented => "the peer sent no certificate".to_owned(),
        Error::NoApplicationProtocol => "no application protocol in common (ALPN)".to_owned(),
        Error::DecryptError => "a TLS record of the peer cannot be decrypted".to_owned(),
        Error::PeerSentOversizedRecord => "the peer sent a TLS record that is too large".to_owned(),
        Error::InconsistentKeys(_) => "the key does not match the certificate".to_owned(),
        Error::General(text) => text.clone(),
        Error::Other(error) => other(&error.to_string()),
        other => words(other),
    }
}

fn certificate(error: &CertificateError) -> String {
    let text = match error {
        CertificateError::BadEncoding => "the certificate cannot be parsed",
        CertificateError::Expired => "the certificate has expired",
        CertificateError::ExpiredContext { not_after, .. } => {
            return format!("the certificate expired on {}", date(*not_after));
        }
        CertificateError::NotValidYet => "the certificate is not valid yet",
        CertificateError::NotValidYetContext { not_before, .. } => {
            return format!("the certificate is not valid before {}", date(*not_before));
        }
        CertificateError::Revoked => "the certificate is revoked",
        CertificateError::UnhandledCriticalExtension => {
            "the certificate has a critical extension that is not supported"
        }
        CertificateError::UnknownIssuer => {
            "the certificate is not signed by a trusted authority, or an intermediate certificate is missing"
        }
        CertificateError::UnknownRevocationStatus => "no revocation list of its issuer covers the certificate",
        CertificateError::ExpiredRevocationList => "the revocation list has expired",
        CertificateError::ExpiredRevocationListContext { next_update, .. } => {
            return format!("the revocation list expired on {}", date(*next_update));
        }
        CertificateError::BadSignature => "a signature was not made with the key of its certificate",
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => UNSUPPORTED_ALGORITHM,
        CertificateError::NotValidForName => "the certificate is not valid for the name of the server",
        CertificateError::NotValidForNameContext { expected, presented } => return wrong_name(expected, presented),
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => WRONG_PURPOSE,
        CertificateError::InvalidOcspResponse => "the OCSP response of the certificate is not valid",
        CertificateError::ApplicationVerificationFailure => "the certificate is not accepted",
        CertificateError::Other(error) => return other(&error.to_string()),
        // A deprecated variant that old verifiers return.
        error if words(error) == "unsupported signature algorithm" => UNSUPPORTED_ALGORITHM,
        error => return format!("the certificate is not accepted: {}", words(error)),
    };
    text.to_owned()
}

const UNSUPPORTED_ALGORITHM: &str = "the certificate is signed with an algorithm that is not supported";
const WRONG_PURPOSE: &str =
    "the certificate is not made for this use: its extended key usage lacks server (or client) authentication";

fn wrong_name(expected: &ServerName<'_>, presented: &[String]) -> String {
    // Alternative names have the form `DnsName("a.test")`.
    let name = |written: &String| match written.split_once('(') {
        Some((_, name)) => name.trim_end_matches(')').trim_matches('"').to_owned(),
        None => written.clone(),
    };
    let names: Vec<_> = presented.iter().map(name).collect();
    let expected = expected.to_str();
    match &*names.join(", ") {
        "" => format!("the certificate is not valid for '{expected}': it has no alternative names"),
        names => format!("the certificate is not valid for '{expected}', only for {names}"),
    }
}

fn revocation_list(error: &CertRevocationListError) -> String {
    let text = match error {
        CertRevocationListError::BadSignature => "the revocation list is not signed by its issuer",
        CertRevocationListError::IssuerInvalidForCrl => {
            "the revocation list is signed by a certificate that may not sign any (key usage)"
        }
        CertRevocationListError::ParseError => "the revocation list cannot be parsed",
        CertRevocationListError::UnsupportedDeltaCrl => {
            "a delta revocation list is not supported; a complete one is needed"
        }
        CertRevocationListError::UnsupportedIndirectCrl => "an indirect revocation list is not supported",
        CertRevocationListError::UnsupportedCrlVersion => "the revocation list is not of version 2",
        CertRevocationListError::Other(error) => return other(&error.to_string()),
        error => return format!("the revocation list cannot be used: {}", words(error)),
    };
    text.to_owned()
}

/// Explains errors of webpki, which rustls passes on by name.
fn other(text: &str) -> String {
    let name: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
    let text = match &*name {
        "CaUsedAsEndEntity" => {
            "the certificate is that of an authority (CA:TRUE), which no server or client may use for itself; issue one with CA:FALSE"
        }
        "EndEntityUsedAsCa" => "a certificate of the chain was signed by one that is no authority (CA:FALSE)",
        "CertDistrusted" => "the certificate is distrusted",
        "NameConstraintViolation" => {
            "the certificate has a name that its authority may not sign for (name constraints)"
        }
        "PathLenConstraintViolated" | "MaximumPathDepthExceeded" => "the certificate chain is longer than permitted",
        "MaximumNameConstraintComparisonsExceeded"
        | "MaximumPathBuildCallsExceeded"
        | "MaximumSignatureChecksExceeded" => "the certificate chain takes too long to check",
        "UnsupportedCertVersion" => "the certificate is not of X.509 version 3",
        "EmptyEkuExtension" | "RequiredEkuNotFound" | "RequiredEkuNotFoundContext" => WRONG_PURPOSE,
        "ExtensionValueInvalid" | "MalformedExtensions" => "the certificate has an invalid extension",
        "MalformedNameConstraint" | "InvalidNetworkMaskConstraint" => "the certificate has invalid name constraints",
        "MalformedDnsIdentifier" => "the certificate has an invalid DNS name",
        "InvalidSerialNumber" => "the certificate has an invalid serial number",
        "SignatureAlgorithmMismatch" => "the certificate names two different signature algorithms",
        // Sentences stay unchanged, and names are split into words.
        _ if name.len() == text.len() || text.contains('(') => return words(&name),
        _ => text,
    };
    text.to_owned()
}

fn incompatible(error: &PeerIncompatible) -> String {
    let text = match error {
        PeerIncompatible::NoCipherSuitesInCommon => "no TLS cipher suite in common",
        PeerIncompatible::NoKxGroupsInCommon => "no TLS key exchange group in common",
        PeerIncompatible::NoSignatureSchemesInCommon
        | PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon => {
            "no signature algorithm in common for the certificate's key"
        }
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => "the peer speaks neither TLS 1.3 nor 1.2",
        PeerIncompatible::ExtendedMasterSecretExtensionRequired => {
            "the peer speaks TLS 1.2 without extended master secret (RFC 7627)"
        }
        error => return format!("no way to speak TLS with the peer: {}", words(error)),
    };
    text.to_owned()
}

/// Explains the alert with which the peer closed the connection (RFC 8446 section 6).
fn alert(alert: AlertDescription) -> String {
    let text = match alert {
        AlertDescription::CloseNotify => "the peer closed the connection",
        AlertDescription::HandshakeFailure => "the peer refused the handshake: no TLS parameters in common",
        AlertDescription::BadCertificate | AlertDescription::CertificateUnknown => {
            "the peer did not accept our certificate"
        }
        AlertDescription::UnsupportedCertificate => "the peer does not support our kind of certificate",
        AlertDescription::CertificateRevoked => "the peer says that our certificate is revoked",
        AlertDescription::CertificateExpired => "the peer says that our certificate has expired",
        AlertDescription::UnknownCA => "the peer does not trust the authority of our certificate",
        AlertDescription::CertificateRequired => "the peer requires a client certificate",
        AlertDescription::AccessDenied => "the peer denied access to our certificate",
        AlertDescription::ProtocolVersion => "the peer does not speak our versions of TLS (1.3 and 1.2)",
        AlertDescription::UnrecognisedName => "the peer does not know the server name that was asked for (SNI)",
        AlertDescription::NoApplicationProtocol => "no application protocol in common (ALPN)",
        AlertDescription::Unknown(code) => {
            return format!("the peer ended the handshake with the unknown alert {code}");
        }
        alert => return format!("the peer ended the handshake: {}", words(alert)),
    };
    text.to_owned()
}

/// Splits the name at the start of a debug form into words: `NoCommonSuite { .. }` becomes `no common suite`.
fn words(value: impl Debug) -> String {
    let debug = format!("{value:?}");
    let name = debug.trim_start_matches('"').chars().take_while(char::is_ascii_alphanumeric);
    name.fold(String::new(), |mut words, letter| {
        if letter.is_ascii_uppercase() && words.ends_with(|last: char| !last.is_ascii_uppercase()) {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
        words
    })
}

fn date(moment: UnixTime) -> String {
    let seconds = i64::try_from(moment.as_secs()).unwrap_or(i64::MAX);
    ASN1Time::from_timestamp(seconds)
        .map_or_else(|error| error.to_string(), |time| time.to_datetime().date().to_string())
}

#[cfg(test)]
mod tests;
