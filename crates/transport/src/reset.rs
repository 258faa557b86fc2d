//! Mapping between reset reasons and HTTP/2 error codes (RFC 9113 section 7).

use spooky_bridge::{h2::Code, message::ResetReason};

/// Returns the code that is sent for a reason.
pub(crate) const fn code(reason: ResetReason) -> Code {
    match reason {
        ResetReason::NoError => Code::NO_ERROR,
        ResetReason::Cancelled => Code::CANCEL,
        ResetReason::Protocol => Code::PROTOCOL_ERROR,
        ResetReason::ExcessiveLoad => Code::ENHANCE_YOUR_CALM,
        ResetReason::VersionFallback => Code::HTTP_1_1_REQUIRED,
        ResetReason::Refused => Code::REFUSED_STREAM,
        ResetReason::Internal | ResetReason::Other => Code::INTERNAL_ERROR,
    }
}

/// Returns the reason for a code that a peer has sent.
pub(crate) const fn reason(code: Code) -> ResetReason {
    match code {
        Code::NO_ERROR => ResetReason::NoError,
        Code::CANCEL => ResetReason::Cancelled,
        Code::INTERNAL_ERROR => ResetReason::Internal,
        Code::PROTOCOL_ERROR => ResetReason::Protocol,
        Code::ENHANCE_YOUR_CALM => ResetReason::ExcessiveLoad,
        Code::HTTP_1_1_REQUIRED => ResetReason::VersionFallback,
        Code::REFUSED_STREAM => ResetReason::Refused,
        _ => ResetReason::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_map_to_codes_and_back() {
        for (meant, number) in [
            (ResetReason::NoError, 0x0),
            (ResetReason::Protocol, 0x1),
            (ResetReason::Internal, 0x2),
            (ResetReason::Refused, 0x7),
            (ResetReason::Cancelled, 0x8),
            (ResetReason::ExcessiveLoad, 0xb),
            (ResetReason::VersionFallback, 0xd),
        ] {
            assert_eq!((code(meant), reason(Code(number))), (Code(number), meant));
        }
        assert_eq!((code(ResetReason::Other), reason(Code(0x77))), (Code::INTERNAL_ERROR, ResetReason::Other));
        assert_eq!(reason(Code::FLOW_CONTROL_ERROR), ResetReason::Other);
    }
}
