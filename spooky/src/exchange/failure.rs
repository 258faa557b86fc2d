//! Converts failures of the transport: for the attempts of a request, and for a client whose response is cut off.

use spooky_bridge::message::ResetReason;
use spooky_lb::{
    attempt::{ErrorCode, FailureKind as Kind},
    outcome::{Reason, Reset},
};
use spooky_transport::{Failure, FailureKind, Processed, Unsent};

/// Converts a failure for the attempts, and for the count of failed health checks.
pub(crate) fn kind_of(failure: &Failure) -> Kind {
    let is_unprocessed = failure.processed == Processed::No;
    match failure.kind {
        // The request was waiting for a connection, which ended before it took requests.
        FailureKind::GoAway
        | FailureKind::ConnectionLost(_)
        | FailureKind::Ended(_)
        | FailureKind::KeepaliveTimeout
        | FailureKind::Protocol(_)
            if failure.connection == 0 =>
        {
            Kind::Unreachable
        }
        FailureKind::GoAway => Kind::Unprocessed,
        FailureKind::ConnectionLost(_) | FailureKind::Ended(_) | FailureKind::KeepaliveTimeout if is_unprocessed => {
            Kind::Unprocessed
        }
        FailureKind::Dns => Kind::Dns,
        FailureKind::Refused => Kind::ConnectRefused,
        FailureKind::ConnectTimeout => Kind::ConnectTimeout,
        FailureKind::Unreachable => Kind::Unreachable,
        FailureKind::TlsCertificate => Kind::Certificate,
        FailureKind::TlsProtocol | FailureKind::NoCommonProtocol => Kind::Tls,
        FailureKind::Reset(_) if is_unprocessed => Kind::RefusedStream,
        FailureKind::Reset(_) => Kind::Reset(error_code(failure)),
        FailureKind::Ended(_) if failure.reset_reason() != Some(ResetReason::Internal) => Kind::ConnectionRejected,
        FailureKind::Malformed(_) => Kind::Malformed,
        FailureKind::ResponseHeadersTooLarge => Kind::HeadersTooLarge,
        FailureKind::RequestHeadersTooLarge => Kind::Local(Reason::HeadersTooLarge),
        FailureKind::NoExtendedConnect => Kind::Local(Reason::UpstreamNoWebsocket),
        FailureKind::ConnectionLost(_)
        | FailureKind::Ended(_)
        | FailureKind::KeepaliveTimeout
        | FailureKind::Protocol(_) => Kind::ConnectionLost(failure.connection),
        _ => Kind::Local(Reason::Internal),
    }
}

/// Classifies a reset by the backend's error code.
fn error_code(failure: &Failure) -> ErrorCode {
    match failure.reset_reason() {
        Some(ResetReason::Internal) => ErrorCode::Internal,
        Some(
            ResetReason::Protocol | ResetReason::ExcessiveLoad | ResetReason::VersionFallback | ResetReason::Cancelled,
        ) => ErrorCode::Rejected,
        Some(ResetReason::NoError | ResetReason::Refused | ResetReason::Other) | None => ErrorCode::Other,
    }
}

/// Converts a refusal of the transport for the attempts.
pub(super) fn kind_of_unsent(unsent: Unsent) -> Kind {
    Kind::Local(match unsent {
        Unsent::UnknownBackend => Reason::InvalidBackend,
        Unsent::QueueFull => Reason::BackendInflight,
        Unsent::HeadersTooLarge => Reason::HeadersTooLarge,
        Unsent::NoExtendedConnect => Reason::UpstreamNoWebsocket,
        Unsent::InvalidHead => Reason::Internal,
    })
}

/// Returns the `error.type` of an attempt's span.
pub(super) fn error_type(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Dns => "dns",
        FailureKind::Refused => "connection_refused",
        FailureKind::ConnectTimeout => "connect_timeout",
        FailureKind::Unreachable => "unreachable",
        FailureKind::TlsCertificate => "certificate",
        FailureKind::TlsProtocol | FailureKind::NoCommonProtocol => "tls",
        FailureKind::ConnectionLost(_) | FailureKind::Ended(_) | FailureKind::KeepaliveTimeout => "connection_lost",
        FailureKind::GoAway => "going_away",
        FailureKind::Reset(_) => "stream_reset",
        FailureKind::Malformed(_) | FailureKind::Protocol(_) => "protocol",
        FailureKind::ResponseHeadersTooLarge => "response_headers_too_large",
        _ => "not_sent",
    }
}

/// Returns the reason why a response is cut off.
pub(super) fn reset_of(failure: &Failure) -> Reset {
    match failure.kind {
        FailureKind::Malformed(_) => Reset::UpstreamProtocol,
        FailureKind::ResponseHeadersTooLarge => Reset::ResponseTrailersTooLarge,
        _ => Reset::UpstreamReset,
    }
}

/// Returns the code that the client gets when a response is cut off.
pub(super) fn reset_reason(failure: &Failure) -> ResetReason {
    match (failure.kind, failure.reset_reason()) {
        (
            FailureKind::Reset(_),
            Some(reason @ (ResetReason::Cancelled | ResetReason::ExcessiveLoad | ResetReason::VersionFallback)),
        ) => reason,
        _ => ResetReason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spooky_bridge::h2::{Code, ConnectionError};
    use std::io::ErrorKind;

    const LOST: FailureKind = FailureKind::ConnectionLost(ErrorKind::UnexpectedEof);
    const BROKEN: FailureKind = FailureKind::Protocol(ConnectionError {
        code: Code::PROTOCOL_ERROR,
        reason: "made up",
        clause: "RFC 9113 section 5.1",
    });

    fn failure(kind: FailureKind, processed: Processed, connection: u64) -> Failure {
        Failure { kind, processed, head_received: false, connection }
    }

    #[test]
    fn a_lost_connection_is_the_fault_of_one_request_only_if_it_was_sent() {
        use Processed::{No, Unknown};
        let internal = FailureKind::Ended(Code::INTERNAL_ERROR);
        let calm = FailureKind::Ended(Code::ENHANCE_YOUR_CALM);
        for (kind, processed, connection, expected) in [
            (FailureKind::GoAway, No, 0, Kind::Unreachable),
            (LOST, No, 0, Kind::Unreachable),
            (internal, Unknown, 0, Kind::Unreachable),
            (FailureKind::KeepaliveTimeout, No, 0, Kind::Unreachable),
            (BROKEN, Unknown, 0, Kind::Unreachable),
            (FailureKind::GoAway, Unknown, 7, Kind::Unprocessed),
            (LOST, No, 7, Kind::Unprocessed),
            (internal, No, 7, Kind::Unprocessed),
            (FailureKind::KeepaliveTimeout, No, 7, Kind::Unprocessed),
            (LOST, Unknown, 7, Kind::ConnectionLost(7)),
            (internal, Unknown, 7, Kind::ConnectionLost(7)),
            (calm, Unknown, 7, Kind::ConnectionRejected),
            (FailureKind::KeepaliveTimeout, Unknown, 7, Kind::ConnectionLost(7)),
            (BROKEN, No, 7, Kind::ConnectionLost(7)),
            (BROKEN, Unknown, 7, Kind::ConnectionLost(7)),
        ] {
            assert_eq!(kind_of(&failure(kind, processed, connection)), expected, "{kind:?} {processed:?} {connection}");
        }
    }

    #[test]
    fn resets_are_classified_by_their_code() {
        for (code, expected) in [
            (Code::INTERNAL_ERROR, ErrorCode::Internal),
            (Code::PROTOCOL_ERROR, ErrorCode::Rejected),
            (Code::ENHANCE_YOUR_CALM, ErrorCode::Rejected),
            (Code::HTTP_1_1_REQUIRED, ErrorCode::Rejected),
            (Code::CANCEL, ErrorCode::Rejected),
            (Code::NO_ERROR, ErrorCode::Other),
            (Code::REFUSED_STREAM, ErrorCode::Other),
        ] {
            let reset = |processed| kind_of(&failure(FailureKind::Reset(code), processed, 7));
            assert_eq!(reset(Processed::Unknown), Kind::Reset(expected), "{code}");
            assert_eq!(reset(Processed::No), Kind::RefusedStream, "{code}");
        }
    }

    #[test]
    fn failures_before_the_connection_and_of_one_message_keep_their_kind() {
        for (kind, expected) in [
            (FailureKind::Dns, Kind::Dns),
            (FailureKind::Refused, Kind::ConnectRefused),
            (FailureKind::ConnectTimeout, Kind::ConnectTimeout),
            (FailureKind::Unreachable, Kind::Unreachable),
            (FailureKind::TlsCertificate, Kind::Certificate),
            (FailureKind::TlsProtocol, Kind::Tls),
            (FailureKind::NoCommonProtocol, Kind::Tls),
            (FailureKind::Malformed("made up"), Kind::Malformed),
            (FailureKind::ResponseHeadersTooLarge, Kind::HeadersTooLarge),
            (FailureKind::RequestHeadersTooLarge, Kind::Local(Reason::HeadersTooLarge)),
            (FailureKind::NoExtendedConnect, Kind::Local(Reason::UpstreamNoWebsocket)),
        ] {
            for connection in [0, 7] {
                assert_eq!(kind_of(&failure(kind, Processed::No, connection)), expected, "{kind:?}");
            }
        }
    }

    #[test]
    fn a_response_that_is_cut_off_says_why() {
        for (kind, expected) in [
            (FailureKind::Malformed("made up"), Reset::UpstreamProtocol),
            (FailureKind::ResponseHeadersTooLarge, Reset::ResponseTrailersTooLarge),
            (FailureKind::Reset(Code::CANCEL), Reset::UpstreamReset),
            (LOST, Reset::UpstreamReset),
        ] {
            assert_eq!(reset_of(&failure(kind, Processed::Unknown, 7)), expected, "{kind:?}");
        }
    }
}
