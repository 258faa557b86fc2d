//! A complete answer of the server. Read by tests.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// A complete answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// `:status`.
    pub status: StatusCode,
    /// The other fields.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// Trailers, if there were any.
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// The first value of a field, or the empty string.
    pub fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a field of text"))
    }
}
