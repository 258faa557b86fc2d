//! Heads of requests and responses that have passed the checks of [`super::check`].

use super::{fields::Fields, name::Known};

/// The value of `:protocol` for WebSocket (RFC 8441 5).
pub const WEBSOCKET: &[u8] = b"websocket";

/// A request method, as far as decisions depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// HEAD: the response has no body whatever its `content-length`
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
    /// Returns the method of this name; methods are case-sensitive (RFC 9110 9.1).
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

    /// Returns whether the method is idempotent (RFC 9110 9.2.2).
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace | Self::Put | Self::Delete)
    }
}

/// A request head. Its fields begin with the pseudo-header fields `:method`, `:scheme`, `:authority`, `:path` and
/// `:protocol`, each at most once; the method decides which may be absent.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// All fields, pseudo-header fields first.
    pub fields: Fields,
    /// The method, recognised.
    pub method: Method,
    /// The announced length of the body, if any. Always `None` for CONNECT.
    pub content_length: Option<u64>,
}

impl RequestHead {
    /// Returns the method as sent.
    pub fn method_bytes(&self) -> &[u8] {
        self.fields.first(Known::Method).unwrap_or_default()
    }

    /// Returns the method that policy and routing see: `GET` for a WebSocket, which is a GET in HTTP/1.1 (RFC 6455 4.1) and
    /// an extended CONNECT otherwise.
    pub fn routed_method(&self) -> &[u8] {
        if self.is_websocket() { b"GET" } else { self.method_bytes() }
    }

    /// Returns whether the request is an extended CONNECT (RFC 8441 4, RFC 9220), which has scheme, path and `:protocol`.
    pub fn is_extended_connect(&self) -> bool {
        self.method == Method::Connect && self.fields.contains(Known::Protocol)
    }

    /// Returns whether the request opens a WebSocket. In this model that is an extended CONNECT whatever the client speaks.
    pub fn is_websocket(&self) -> bool {
        self.method == Method::Connect && self.fields.first(Known::Protocol) == Some(WEBSOCKET)
    }

    /// Returns `:path`: path and query as sent; empty for CONNECT.
    pub fn path(&self) -> &[u8] {
        self.fields.first(Known::Path).unwrap_or_default()
    }

    /// Returns `:scheme` as sent; empty for CONNECT.
    pub fn scheme(&self) -> &[u8] {
        self.fields.first(Known::Scheme).unwrap_or_default()
    }

    /// Returns the host of the request: `:authority`, else `host`.
    pub fn authority(&self) -> &[u8] {
        self.fields.first(Known::Authority).or_else(|| self.fields.first(Known::Host)).unwrap_or_default()
    }
}

/// A response head. `:status` is a number and not among the fields.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status code, 100 to 999.
    pub status: u16,
    /// The fields without `:status`.
    pub fields: Fields,
    /// The announced length of the body, if any.
    pub content_length: Option<u64>,
}

impl ResponseHead {
    /// Creates a head without fields.
    pub fn new(status: u16) -> Self {
        Self { status, fields: Fields::new(), content_length: None }
    }

    /// Returns whether this is an interim response (1xx).
    pub fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// Returns whether this response to a request of this method opens a tunnel (RFC 9110 9.3.6).
    pub fn opens_tunnel(&self, method: Method) -> bool {
        method == Method::Connect && matches!(self.status, 200..300)
    }

    /// Returns whether a response with this status to this method has a body (RFC 9110 6.4.1).
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
