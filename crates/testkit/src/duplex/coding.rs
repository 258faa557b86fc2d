//! The framing of an HTTP/1.1 body (RFC 9112 section 6).

/// How a direction is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// There is no body.
    None,
    /// This number of bytes is left.
    Length(usize),
    Chunked,
    /// A tunnel or a body without length: ends with the direction of the connection.
    Raw,
}

impl Coding {
    /// Returns the framing of a request with these fields.
    pub(super) fn of_request(fields: &[(String, String)]) -> Self {
        Self::announced(fields).unwrap_or(Self::None)
    }

    /// Returns the framing of a response with this status and these fields. `is_connect`: it answers a CONNECT.
    pub(super) fn of_response(status: u16, fields: &[(String, String)], is_connect: bool) -> Self {
        match status {
            101 => Self::Raw,
            200..300 if is_connect => Self::Raw,
            100..200 | 204 | 304 => Self::None,
            _ => Self::announced(fields).unwrap_or(Self::Raw),
        }
    }

    fn announced(fields: &[(String, String)]) -> Option<Self> {
        let value = |name: &str| fields.iter().find(|(found, _)| found.eq_ignore_ascii_case(name));
        match value("content-length") {
            Some((_, length)) => Some(Self::Length(length.parse().expect("a length"))),
            None => value("transfer-encoding").map(|_| Self::Chunked),
        }
    }
}
