//! HTTP/3 error codes of resets.

use spooky_bridge::{h3::Code, message::ResetReason};

/// The code for a reason (RFC 9114 section 8.1).
pub(super) const fn code(reason: ResetReason) -> Code {
    match reason {
        ResetReason::NoError => Code::NO_ERROR,
        ResetReason::Cancelled => Code::REQUEST_CANCELLED,
        ResetReason::Protocol => Code::MESSAGE_ERROR,
        ResetReason::ExcessiveLoad => Code::EXCESSIVE_LOAD,
        ResetReason::VersionFallback => Code::VERSION_FALLBACK,
        ResetReason::Refused => Code::REQUEST_REJECTED,
        ResetReason::Internal | ResetReason::Other => Code::INTERNAL_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_code() {
        for (reason, name) in [
            (ResetReason::NoError, "H3_NO_ERROR"),
            (ResetReason::Cancelled, "H3_REQUEST_CANCELLED"),
            (ResetReason::Protocol, "H3_MESSAGE_ERROR"),
            (ResetReason::ExcessiveLoad, "H3_EXCESSIVE_LOAD"),
            (ResetReason::VersionFallback, "H3_VERSION_FALLBACK"),
            (ResetReason::Refused, "H3_REQUEST_REJECTED"),
            (ResetReason::Internal, "H3_INTERNAL_ERROR"),
            (ResetReason::Other, "H3_INTERNAL_ERROR"),
        ] {
            assert_eq!(code(reason).name(), name);
        }
    }
}
