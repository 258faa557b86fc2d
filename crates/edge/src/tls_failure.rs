//! Sorts failed TLS handshakes for the metrics.

use quinn_proto::{ConnectionError, TransportErrorCode};
use rustls::{AlertDescription, CertificateError, Error};
use spooky_telemetry::metrics::TlsFailure;

/// First of the 256 codes of TLS alerts in QUIC (RFC 9001 section 4.8).
const ALERTS: u64 = 0x100;

/// Returns why a QUIC handshake has failed; `None` if the client has only left.
pub(crate) fn of_connection(error: &ConnectionError) -> Option<TlsFailure> {
    match error {
        ConnectionError::TransportError(error) => Some(of_code(error.code)),
        ConnectionError::ConnectionClosed(_) | ConnectionError::TimedOut => Some(TlsFailure::Handshake),
        _ => None,
    }
}

fn of_code(code: TransportErrorCode) -> TlsFailure {
    let alert = u64::from(code).checked_sub(ALERTS).and_then(|alert| u8::try_from(alert).ok());
    alert.map_or(TlsFailure::Handshake, |alert| of_alert(AlertDescription::from(alert)))
}

/// Returns what made this side send an alert (RFC 8446 section 6.2).
fn of_alert(alert: AlertDescription) -> TlsFailure {
    match alert {
        AlertDescription::CertificateRequired => TlsFailure::MissingCertificate,
        AlertDescription::CertificateExpired => TlsFailure::ExpiredCertificate,
        AlertDescription::UnknownCA => TlsFailure::UnknownIssuer,
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied
        | AlertDescription::DecryptError => TlsFailure::InvalidCertificate,
        AlertDescription::NoApplicationProtocol => TlsFailure::Alpn,
        _ => TlsFailure::Handshake,
    }
}

/// Returns why a handshake over TCP has failed.
pub(crate) fn of_error(error: &Error) -> TlsFailure {
    match error {
        Error::NoCertificatesPresented => TlsFailure::MissingCertificate,
        Error::NoApplicationProtocol => TlsFailure::Alpn,
        Error::InvalidCertificate(error) => match error {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => TlsFailure::ExpiredCertificate,
            CertificateError::UnknownIssuer => TlsFailure::UnknownIssuer,
            _ => TlsFailure::InvalidCertificate,
        },
        Error::InvalidCertRevocationList(_) => TlsFailure::InvalidCertificate,
        _ => TlsFailure::Handshake,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quinn_proto::TransportError;

    #[test]
    fn quic_and_tcp_sort_alike() {
        for (error, alert, failure) in [
            (Error::NoCertificatesPresented, 116, TlsFailure::MissingCertificate),
            (Error::InvalidCertificate(CertificateError::Expired), 45, TlsFailure::ExpiredCertificate),
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), 48, TlsFailure::UnknownIssuer),
            (Error::InvalidCertificate(CertificateError::Revoked), 44, TlsFailure::InvalidCertificate),
            (Error::InvalidCertificate(CertificateError::BadSignature), 51, TlsFailure::InvalidCertificate),
            (Error::NoApplicationProtocol, 120, TlsFailure::Alpn),
            (Error::HandshakeNotComplete, 40, TlsFailure::Handshake),
        ] {
            assert_eq!(of_error(&error), failure, "{error}");
            let quic = TransportError::from(TransportErrorCode::crypto(alert));
            assert_eq!(of_connection(&quic.into()), Some(failure), "{alert}");
        }
        assert_eq!(of_code(TransportErrorCode::PROTOCOL_VIOLATION), TlsFailure::Handshake);
        assert_eq!(of_connection(&ConnectionError::TimedOut), Some(TlsFailure::Handshake));
        assert_eq!(of_connection(&ConnectionError::LocallyClosed), None);
    }
}
