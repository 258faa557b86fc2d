//! The error codes of HTTP/3 and QPACK (RFC 9114 8.1, RFC 9204 6).

use std::fmt;

/// An error code of `RESET_STREAM`, `STOP_SENDING` and `CONNECTION_CLOSE` frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u64);

macro_rules! codes {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        impl Code {
            $(#[doc = concat!("`", $text, "`")] pub const $name: Self = Self($value);)*

            /// All codes with a name.
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the name in the specification; `UNKNOWN` for a code without one, reserved codes included.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* _ => "UNKNOWN" }
            }
        }
    };
}

codes! {
    DATAGRAM_ERROR = 0x33, "H3_DATAGRAM_ERROR";
    NO_ERROR = 0x100, "H3_NO_ERROR";
    GENERAL_PROTOCOL_ERROR = 0x101, "H3_GENERAL_PROTOCOL_ERROR";
    INTERNAL_ERROR = 0x102, "H3_INTERNAL_ERROR";
    STREAM_CREATION_ERROR = 0x103, "H3_STREAM_CREATION_ERROR";
    CLOSED_CRITICAL_STREAM = 0x104, "H3_CLOSED_CRITICAL_STREAM";
    FRAME_UNEXPECTED = 0x105, "H3_FRAME_UNEXPECTED";
    FRAME_ERROR = 0x106, "H3_FRAME_ERROR";
    EXCESSIVE_LOAD = 0x107, "H3_EXCESSIVE_LOAD";
    ID_ERROR = 0x108, "H3_ID_ERROR";
    SETTINGS_ERROR = 0x109, "H3_SETTINGS_ERROR";
    MISSING_SETTINGS = 0x10a, "H3_MISSING_SETTINGS";
    REQUEST_REJECTED = 0x10b, "H3_REQUEST_REJECTED";
    REQUEST_CANCELLED = 0x10c, "H3_REQUEST_CANCELLED";
    REQUEST_INCOMPLETE = 0x10d, "H3_REQUEST_INCOMPLETE";
    MESSAGE_ERROR = 0x10e, "H3_MESSAGE_ERROR";
    CONNECT_ERROR = 0x10f, "H3_CONNECT_ERROR";
    VERSION_FALLBACK = 0x110, "H3_VERSION_FALLBACK";
    QPACK_DECOMPRESSION_FAILED = 0x200, "QPACK_DECOMPRESSION_FAILED";
    QPACK_ENCODER_STREAM_ERROR = 0x201, "QPACK_ENCODER_STREAM_ERROR";
    QPACK_DECODER_STREAM_ERROR = 0x202, "QPACK_DECODER_STREAM_ERROR";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:x})", self.name(), self.0)
    }
}

/// Whether an error ends a stream or the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorScope {
    /// A stream error: the stream ends with the code.
    Stream,
    /// A connection error: the connection closes with the code.
    Connection,
}

/// A protocol violation by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// Whether the stream or the connection ends.
    pub scope: ErrorScope,
    /// The code to send.
    pub code: Code,
    /// What the client did, for logs and `CONNECTION_CLOSE`.
    pub reason: &'static str,
    /// The clause that it violated.
    pub clause: &'static str,
}

impl Error {
    pub(super) const fn connection(code: Code, reason: &'static str, clause: &'static str) -> Self {
        Self { scope: ErrorScope::Connection, code, reason, clause }
    }

    pub(super) const fn stream(code: Code, reason: &'static str, clause: &'static str) -> Self {
        Self { scope: ErrorScope::Stream, code, reason, clause }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.code, self.reason, self.clause)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        assert_eq!(Code::VERSION_FALLBACK.name(), "H3_VERSION_FALLBACK");
        assert_eq!(Code(0x21).name(), "UNKNOWN");
        assert_eq!(Code::MESSAGE_ERROR.to_string(), "H3_MESSAGE_ERROR (0x10e)");
        let h3: Vec<u64> = Code::ALL.iter().map(|code| code.0).filter(|code| (0x100..0x200).contains(code)).collect();
        assert_eq!(h3, (0x100..=0x110).collect::<Vec<_>>(), "RFC 9114 8.1 leaves no gap");
    }
}
