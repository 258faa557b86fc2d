//! Heads of requests and responses after the checks of their protocol: pseudo-headers first, complete and single.
//!
//! The `check` rules make them from decoded [`Fields`]; everything later may rely on what they promise.

use super::{fields::Fields, name::Known};

/// A request method, as far as a decision depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: its response has no body whatever its `content-length`
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// CONNECT: a tunnel
    Connect,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// PATCH
    Patch,
    /// Any other token
    Other,
}

impl Method {
    /// The method with exactly this name; methods are case-sensitive (RFC 9110 9.1).
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match bytes {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// Whether repeating the request is safe by its definition (RFC 9110 9.2.2).
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace | Self::Put | Self::Delete)
    }
}

/// A request head. Its fields begin with the pseudo-headers `:method`, `:scheme`, `:authority`, `:path` (each at most once;
/// which may be absent depends on the method).
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// All fields, pseudo-headers first.
    pub fields: Fields,
    /// The method, recognised.
    pub method: Method,
    /// The announced length of the body, if one was. Never of CONNECT.
    pub content_length: Option<u64>,
}

impl RequestHead {
    /// The method as sent.
    pub fn method_bytes(&self) -> &[u8] {
        self.fields.first(Known::Method).unwrap_or_default()
    }

    /// `:path`: path and query as sent; empty for CONNECT.
    pub fn path(&self) -> &[u8] {
        self.fields.first(Known::Path).unwrap_or_default()
    }

    /// `:scheme` as sent; empty for CONNECT.
    pub fn scheme(&self) -> &[u8] {
        self.fields.first(Known::Scheme).unwrap_or_default()
    }

    /// The host that the request is for: `:authority`, else `host`.
    pub fn authority(&self) -> &[u8] {
        self.fields.first(Known::Authority).or_else(|| self.fields.first(Known::Host)).unwrap_or_default()
    }
}

/// A response head. `:status` is held as a number and is not among the fields.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The fields without `:status`.
    pub fields: Fields,
    /// The announced length of the body, if one was.
    pub content_length: Option<u64>,
}

impl ResponseHead {
    /// A head with no fields yet.
    pub fn new(status: u16) -> Self {
        Self { status, fields: Fields::new(), content_length: None }
    }

    /// Whether this is an interim response (1xx).
    pub fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// Returns whether this response to a request of this method opens a tunnel (RFC 9110 9.3.6).
    pub fn opens_tunnel(&self, method: Method) -> bool {
        method == Method::Connect && matches!(self.status, 200..300)
    }

    /// Whether a response with this status to this method carries a body at all (RFC 9110 6.4.1).
    pub fn has_body(&self, method: Method) -> bool {
        method != Method::Head && !self.is_interim() && self.status != 204 && self.status != 304
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_idempotent_methods_are_those_of_rfc_9110() {
        let idempotent = |name: &str| Method::from_bytes(name.as_bytes()).is_idempotent();
        assert!(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].into_iter().all(idempotent));
        assert!(!["POST", "PATCH", "CONNECT", "get", "QUERY", ""].into_iter().any(idempotent));
    }
}
