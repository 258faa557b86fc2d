//! Converts failures of the transport: for the attempts of a request, and for a client whose response is cut off.

use spooky_bridge::message::ResetReason;
use spooky_lb::{
    attempt::{ErrorCode, FailureKind as Kind},
    outcome::{Reason, Reset},
};
use spooky_transport::{Failure, FailureKind, Processed, Unsent};

/// Converts a failure for the attempts.
pub(super) fn kind_of(failure: &Failure) -> Kind {
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
