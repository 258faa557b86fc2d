//! Hop-by-hop fields and connection options (RFC 9110 7.6.1).

use super::{
    Field, Fields,
    name::{Known, folds_to},
};

/// Returns whether a field of this name is never forwarded.
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

/// The names in the `connection` fields of an HTTP/1.1 message, in lower case, that the peer may remove.
#[derive(Debug, Default)]
pub struct ConnectionOptions(Vec<Vec<u8>>);

impl ConnectionOptions {
    /// Reads the names. Ignores those that routing, policy or identity depend on and `subject_header`, the field with
    /// the subject of a client certificate: a peer must not be able to hide them from the next server.
    pub fn from_fields(fields: &Fields, subject_header: Option<&[u8]>) -> Self {
        let tokens = fields.all(Known::Connection).flat_map(|value| value.split(|byte| *byte == b','));
        let names = tokens.map(|token| token.trim_ascii().to_ascii_lowercase());
        let is_removable = |name: &Vec<u8>| {
            !name.is_empty() && !is_protected(name) && !subject_header.is_some_and(|header| folds_to(name, header))
        };
        Self(names.filter(is_removable).collect())
    }

    /// Returns whether this field is among them. Pseudo-header fields never are.
    pub fn contains(&self, field: &Field<'_>) -> bool {
        !self.0.is_empty() && !field.name.is_pseudo() && self.0.iter().any(|name| name == field.name.as_bytes())
    }
}

/// Returns whether `connection` cannot remove fields of this name. Hop-by-hop fields are removed without being named;
/// `te` is read before.
fn is_protected(name: &[u8]) -> bool {
    let is_protected_known = |known| {
        is_hop_by_hop(known)
            || matches!(
                known,
                Known::Host
                    | Known::ContentLength
                    | Known::Authorization
                    | Known::Cookie
                    | Known::Forwarded
                    | Known::XRealIp
                    | Known::XRequestId
                    | Known::Via
            )
    };
    name.starts_with(b"x-forwarded-") || Known::lookup(name).is_some_and(is_protected_known)
}

/// Returns whether a `te` field accepts trailers.
pub fn accepts_trailers(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').any(|token| token.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Name;

    #[test]
    fn names_of_the_connection_field() {
        let mut fields = Fields::new();
        fields.push(Known::Connection, b"close, X-Secret ,host");
        fields.push(Known::Connection, b"Accept,,Content-Length,:path, X-Subject,X-Forwarded-Prefix");
        fields.push(Known::Path, b"/");
        for name in [&b"x-secret"[..], b"x-subject", b"x-forwarded-prefix", b"x-other"] {
            fields.push(Name::from_bytes(name), b"1");
        }
        fields.push(Known::Cookie, b"a=b");
        fields.push(Known::Host, b"h");
        fields.push(Known::ContentLength, b"0");
        fields.push(Known::Accept, b"*/*");
        let options = ConnectionOptions::from_fields(&fields, Some(b"x-subject"));
        let found: Vec<_> = fields.iter().filter(|field| options.contains(field)).map(|field| field.name).collect();
        assert_eq!(found, [Name::Other(b"x-secret"), Name::Known(Known::Accept)]);
        assert!(!ConnectionOptions::from_fields(&Fields::new(), None).contains(&fields.iter().next().unwrap()));
    }

    #[test]
    fn connection_options_exclude_fields_that_others_rely_on() {
        let protected = [
            "host",
            "authorization",
            "cookie",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-forwarded-anything",
            "x-real-ip",
            "x-request-id",
            "via",
            "content-length",
            "x-subject",
        ];
        for name in protected {
            let mut fields = Fields::new();
            fields.push(Known::Connection, name.to_ascii_uppercase().as_bytes());
            fields.push(Name::from_bytes(name.as_bytes()), b"1");
            let options = ConnectionOptions::from_fields(&fields, Some(b"x-subject"));
            assert!(!fields.iter().any(|field| options.contains(&field)), "{name}");
        }
    }

    #[test]
    fn te_lists() {
        for (value, accepts) in [("trailers", true), ("gzip, Trailers", true), ("gzip", false), ("", false)] {
            assert_eq!(accepts_trailers(value.as_bytes()), accepts, "{value}");
        }
    }
}
