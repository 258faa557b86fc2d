//! Logs connections that ended because of an invalid packet or a failed handshake.

use quinn_proto::{TransportError, TransportErrorCode};
use std::net::SocketAddr;

/// First of the 256 codes of TLS alerts (RFC 9001 section 4.8).
const ALERTS: u64 = 0x100;
/// The alert `certificate_required` (RFC 8446 section 6.2).
const CERTIFICATE_REQUIRED: u8 = 116;

/// Logs a transport error. `id` is the first id issued for the connection.
pub(super) fn log(error: &TransportError, id: u64, peer: SocketAddr) {
    if error.code == TransportErrorCode::CONNECTION_REFUSED {
        return; // there is nothing wrong with the packet
    }
    tracing::debug!("QUIC recv failed: {} from {peer}: {error}", kind(error.code));
    if error.code == TransportErrorCode::crypto(CERTIFICATE_REQUIRED) {
        let id = id.swap_bytes(); // in the order of the packet
        tracing::debug!("closing connection {id:016x}: downstream mTLS requires a client certificate");
    }
}

/// Name of a transport error (RFC 9000 section 20.1).
fn kind(code: TransportErrorCode) -> &'static str {
    match code {
        TransportErrorCode::INTERNAL_ERROR => "Internal",
        TransportErrorCode::FLOW_CONTROL_ERROR => "FlowControl",
        TransportErrorCode::STREAM_LIMIT_ERROR => "StreamLimit",
        TransportErrorCode::STREAM_STATE_ERROR => "InvalidStreamState",
        TransportErrorCode::FINAL_SIZE_ERROR => "FinalSize",
        TransportErrorCode::FRAME_ENCODING_ERROR => "InvalidFrame",
        TransportErrorCode::TRANSPORT_PARAMETER_ERROR => "InvalidTransportParam",
        TransportErrorCode::CONNECTION_ID_LIMIT_ERROR => "IdLimit",
        TransportErrorCode::CRYPTO_BUFFER_EXCEEDED => "CryptoBufferExceeded",
        TransportErrorCode::KEY_UPDATE_ERROR => "KeyUpdate",
        TransportErrorCode::AEAD_LIMIT_REACHED => "CryptoFail",
        code if (ALERTS..ALERTS + 256).contains(&u64::from(code)) => "TlsFail",
        _ => "InvalidPacket",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_word() {
        for (code, word) in [
            (TransportErrorCode::crypto(CERTIFICATE_REQUIRED), "TlsFail"),
            (TransportErrorCode::crypto(0), "TlsFail"),
            (TransportErrorCode::crypto(255), "TlsFail"),
            (TransportErrorCode::PROTOCOL_VIOLATION, "InvalidPacket"),
            (TransportErrorCode::INTERNAL_ERROR, "Internal"),
            (TransportErrorCode::STREAM_LIMIT_ERROR, "StreamLimit"),
            (TransportErrorCode::STREAM_STATE_ERROR, "InvalidStreamState"),
            (TransportErrorCode::FINAL_SIZE_ERROR, "FinalSize"),
            (TransportErrorCode::FRAME_ENCODING_ERROR, "InvalidFrame"),
            (TransportErrorCode::TRANSPORT_PARAMETER_ERROR, "InvalidTransportParam"),
            (TransportErrorCode::CONNECTION_ID_LIMIT_ERROR, "IdLimit"),
            (TransportErrorCode::CRYPTO_BUFFER_EXCEEDED, "CryptoBufferExceeded"),
            (TransportErrorCode::KEY_UPDATE_ERROR, "KeyUpdate"),
            (TransportErrorCode::AEAD_LIMIT_REACHED, "CryptoFail"),
            (TransportErrorCode::FLOW_CONTROL_ERROR, "FlowControl"),
        ] {
            assert_eq!(kind(code), word, "{code:?}");
        }
    }

    #[test]
    fn refusals_are_not_logged_and_missing_certificates_are_explained() {
        let peer = "192.0.2.1:9".parse().unwrap();
        let lines =
            |code| spooky_testkit::log::logged(|| log(&TransportError::from(code), 0x0807_0605_0403_0201, peer));
        assert_eq!(lines(TransportErrorCode::CONNECTION_REFUSED), [""; 0]);
        let other = lines(TransportErrorCode::FINAL_SIZE_ERROR);
        assert!(
            other.len() == 1 && other[0].starts_with("QUIC recv failed: FinalSize from 192.0.2.1:9: "),
            "{other:?}"
        );
        let missing = lines(TransportErrorCode::crypto(CERTIFICATE_REQUIRED));
        assert!(missing[0].starts_with("QUIC recv failed: TlsFail from 192.0.2.1:9: "), "{missing:?}");
        let explained = "closing connection 0102030405060708: downstream mTLS requires a client certificate";
        assert_eq!(missing[1..], [explained]);
    }
}
