//! Fields that are for one connection only (RFC 9110 7.6.1): which they are, and what `connection` names besides.

use super::{Field, Fields, Known};

/// Whether a field of this name never goes beyond the next connection.
pub fn is_hop_by_hop(name: Known) -> bool {
    matches!(
        name,
        Known::Connection
            | Known::KeepAlive
            | Known::ProxyConnection
            | Known::TransferEncoding
            | Known::Upgrade
            | Known::Trailer
            | Known::Te
            | Known::ProxyAuthorization
            | Known::ProxyAuthenticate
    )
}

/// The names listed in the `connection` fields of an HTTP/1.1 message, in lower case.
#[derive(Debug, Default)]
pub struct Named(Vec<Vec<u8>>);

impl Named {
    /// Reads them. `host` and `content-length` are not for one connection, whatever a peer says.
    pub fn by_connection(fields: &Fields) -> Self {
        let tokens = fields.all(Known::Connection).flat_map(|value| value.split(|byte| *byte == b','));
        let names = tokens.map(|token| token.trim_ascii().to_ascii_lowercase());
        Self(names.filter(|name| !matches!(name.as_slice(), b"" | b"host" | b"content-length")).collect())
    }

    /// Whether this field is among them. Pseudo-headers cannot be.
    pub fn contains(&self, field: &Field<'_>) -> bool {
        !self.0.is_empty() && !field.name.is_pseudo() && self.0.iter().any(|name| name == field.name.as_bytes())
    }
}

/// Whether a `te` field says that its sender takes trailers.
pub fn accepts_trailers(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_connection_field() {
        let mut fields = Fields::new();
        fields.push(Known::Connection, b"close, X-Secret ,host");
        fields.push(Known::Connection, b"Cookie,,Content-Length,:path");
        fields.push(Known::Path, b"/");
        fields.push(super::super::Name::from_bytes(b"x-secret"), b"1");
        fields.push(Known::Cookie, b"a=b");
        fields.push(Known::Host, b"h");
        fields.push(Known::ContentLength, b"0");
        fields.push(Known::Accept, b"*/*");
        let named = Named::by_connection(&fields);
        let found: Vec<_> = fields.iter().filter(|field| named.contains(field)).map(|field| field.name).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(!Named::by_connection(&Fields::new()).contains(&fields.iter().next().unwrap()));
    }

    #[test]
    fn te_lists() {
        for (value, accepts) in [("trailers", true), ("gzip, Trailers", true), ("gzip", false), ("", false)] {
            assert_eq!(accepts_trailers(value.as_bytes()), accepts, "{value}");
        }
    }
}
