//! Escapes bytes from peers for the log.

use std::fmt::{self, Write};

/// Displays bytes from a peer. Writes control characters, spaces, quotes, backslashes and non-ASCII bytes as `\xNN`, so
/// that a peer cannot forge log lines or fields.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            match byte {
                b'"' | b'\'' | b'\\' => write!(out, "\\x{byte:02x}")?,
                b'!'..=b'~' => out.write_char(char::from(byte))?,
                _ => write!(out, "\\x{byte:02x}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_peer_sends_ends_a_line_or_a_field() {
        for (bytes, text) in [
            (&b"/api/v1?a=b&c=%20#x"[..], "/api/v1?a=b&c=%20#x"),
            (b"/a\r\nERROR b", "/a\\x0d\\x0aERROR\\x20b"),
            (b"\"a\" \x1b[31m\x7f\\", "\\x22a\\x22\\x20\\x1b[31m\\x7f\\x5c"),
            ("ü\0".as_bytes(), "\\xc3\\xbc\\x00"),
            (b"", ""),
        ] {
            assert_eq!(Escaped(bytes).to_string(), text);
        }
        for byte in 0..=255_u8 {
            let text = Escaped(&[byte]).to_string();
            assert!(text.bytes().all(|c| c.is_ascii_graphic()) && !text.is_empty(), "{byte:#x}: {text}");
        }
    }
}
