//! What a failure of the transport means: to the attempts of a request, and to a client whose response it cuts off.

use spooky_bridge::message::ResetReason;
use spooky_lb::{
    attempt::{ErrorCode, FailureKind as Kind},
    outcome::{Reason, Reset},
};
use spooky_transport::{Failure, FailureKind, Processed, Unsent};

/// What it means to the attempts.
pub(super) fn kind_of(failure: &Failure) -> Kind {
    let is_unprocessed = failure.processed == Processed::No;
    match failure.kind {
        // It waited for a connection, and that ended before it took requests.
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
        FailureKind::ConnectionLost(_)
        | FailureKind::Ended(_)
        | FailureKind::KeepaliveTimeout
        | FailureKind::Protocol(_) => Kind::ConnectionLost(failure.connection),
        _ => Kind::Local(Reason::Internal),
    }
}

/// Who caused a reset, by what the backend said.
fn error_code(failure: &Failure) -> ErrorCode {
    match failure.reset_reason() {
        Some(ResetReason::Internal) => ErrorCode::Internal,
        Some(
            ResetReason::Protocol | ResetReason::ExcessiveLoad | ResetReason::VersionFallback | ResetReason::Cancelled,
        ) => ErrorCode::Rejected,
        Some(ResetReason::NoError | ResetReason::Refused | ResetReason::Other) | None => ErrorCode::Other,
    }
}

/// What it means to the attempts that a request could not be sent at all.
pub(super) fn kind_of_unsent(unsent: Unsent) -> Kind {
    Kind::Local(match unsent {
        Unsent::UnknownBackend => Reason::InvalidBackend,
        Unsent::QueueFull => Reason::BackendInflight,
        Unsent::HeadersTooLarge => Reason::HeadersTooLarge,
    })
}

/// Why a response is cut off by it.
pub(super) fn reset_of(failure: &Failure) -> Reset {
    match failure.kind {
        FailureKind::Malformed(_) => Reset::UpstreamProtocol,
        FailureKind::ResponseHeadersTooLarge => Reset::ResponseTrailersTooLarge,
        _ => Reset::UpstreamReset,
    }
}

/// What the client sees when a response breaks off.
pub(super) fn reset_reason(failure: &Failure) -> ResetReason {
    match (failure.kind, failure.reset_reason()) {
        (
            FailureKind::Reset(_),
            Some(reason @ (ResetReason::Cancelled | ResetReason::ExcessiveLoad | ResetReason::VersionFallback)),
        ) => reason,
        _ => ResetReason::Internal,
    }
}
