//! The error codes of HTTP/2 (RFC 9113 7), as sent in `RST_STREAM` and GOAWAY.

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
