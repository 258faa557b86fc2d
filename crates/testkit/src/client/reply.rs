//! A complete response.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

/// A complete response.
#[derive(Debug, Clone)]
pub struct Reply {
    /// `:status`.
    pub status: StatusCode,
    /// Header fields without pseudo-header fields.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// Trailers, if any.
    pub trailers: Option<HeaderMap>,
}

impl Reply {
    /// Returns the body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }

    /// Returns the first value of a field, or the empty string.
    pub fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a field of text"))
    }
}
