//! The error codes of HTTP/2 (RFC 9113 7), as sent in `RST_STREAM` and GOAWAY.

use crate::message::ResetReason;

/// An error code. Unknown codes have no special meaning (RFC 9113 7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

macro_rules! codes {
    ($($constant:ident = $value:literal, $text:literal;)*) => {
        impl Code {
            $(#[doc = concat!("`", $text, "`")] pub const $constant: Self = Self($value);)*

            /// Returns the name in the RFC, or `UNKNOWN`.
            pub const fn name(self) -> &'static str {
                match self.0 { $($value => $text,)* _ => "UNKNOWN" }
            }
        }
    };
}

codes! {
    NO_ERROR = 0x0, "NO_ERROR";
    PROTOCOL_ERROR = 0x1, "PROTOCOL_ERROR";
    INTERNAL_ERROR = 0x2, "INTERNAL_ERROR";
    FLOW_CONTROL_ERROR = 0x3, "FLOW_CONTROL_ERROR";
    SETTINGS_TIMEOUT = 0x4, "SETTINGS_TIMEOUT";
    STREAM_CLOSED = 0x5, "STREAM_CLOSED";
    FRAME_SIZE_ERROR = 0x6, "FRAME_SIZE_ERROR";
    REFUSED_STREAM = 0x7, "REFUSED_STREAM";
    CANCEL = 0x8, "CANCEL";
    COMPRESSION_ERROR = 0x9, "COMPRESSION_ERROR";
    CONNECT_ERROR = 0xa, "CONNECT_ERROR";
    ENHANCE_YOUR_CALM = 0xb, "ENHANCE_YOUR_CALM";
    INADEQUATE_SECURITY = 0xc, "INADEQUATE_SECURITY";
    HTTP_1_1_REQUIRED = 0xd, "HTTP_1_1_REQUIRED";
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({:#x})", self.name(), self.0)
    }
}

/// The code that is sent for a reason.
impl From<ResetReason> for Code {
    fn from(reason: ResetReason) -> Self {
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
}

/// The reason for a code that a peer has sent.
impl From<Code> for ResetReason {
    fn from(code: Code) -> Self {
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
            assert_eq!((Code::from(meant), ResetReason::from(Code(number))), (Code(number), meant));
        }
        assert_eq!(
            (Code::from(ResetReason::Other), ResetReason::from(Code(0x77))),
            (Code::INTERNAL_ERROR, ResetReason::Other)
        );
        assert_eq!(ResetReason::from(Code::FLOW_CONTROL_ERROR), ResetReason::Other);
    }
}
