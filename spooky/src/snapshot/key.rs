//! Finds the key of a request for keyed algorithms; the client's address if the request has no key
//! (docs/reference/behaviour.md#load-balancing).

use spooky_bridge::message::{Known, RequestHead};
use spooky_lb::{
    balance::key::{cookie, hash, hash_ip, query},
    route,
};
use std::net::IpAddr;

/// What an upstream's algorithm hashes.
pub(crate) enum KeySource {
    /// Nothing: the algorithm has no key.
    None,
    /// The first value of this field; the name is in lower case.
    Header(Box<[u8]>),
    /// The first value of this cookie.
    Cookie(Box<[u8]>),
    /// The first value of this query parameter.
    Query(Box<[u8]>),
    /// The normalized path.
    Path,
    Authority,
    Method,
    Connection,
    ClientIp,
}

impl KeySource {
    /// Returns the hash of a request's key. `connection` identifies the client's connection; `scratch` is a reused buffer.
    pub(crate) fn key(&self, head: &RequestHead, client: IpAddr, connection: u64, scratch: &mut Vec<u8>) -> u64 {
        let value = match self {
            Self::None => return 0,
            Self::ClientIp => None,
            Self::Connection => return hash(&connection.to_le_bytes()),
            Self::Header(name) => {
                head.fields.iter().find(|field| field.name.as_bytes() == &**name).map(|field| field.value)
            }
            Self::Cookie(name) => head.fields.all(Known::Cookie).find_map(|field| cookie(field, name)),
            Self::Query(name) => query(head.path(), name),
            Self::Path => Some(route::matching_form(head.path(), scratch)),
            Self::Authority => Some(spooky_config::normalize_host(head.authority(), scratch)),
            Self::Method => Some(head.method_bytes()),
        };
        value.map_or_else(|| hash_ip(client), hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spooky_bridge::message::{Fields, Method, Name};

    fn head() -> RequestHead {
        let mut fields = Fields::new();
        for (name, value) in [
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "A.Example.:443"),
            (":path", "/a/../%62?user=7&user=8"),
            ("x-tenant", "blue"),
            ("x-tenant", "red"),
            ("cookie", "a=1"),
            ("cookie", "b=2; session=s1"),
        ] {
            fields.push(Name::from_bytes(name.as_bytes()), value.as_bytes());
        }
        RequestHead { fields, method: Method::Get, content_length: None }
    }

    #[test]
    fn every_source_finds_its_value_and_a_missing_one_is_the_address() {
        let client = "10.0.0.7".parse().unwrap();
        let key = |source: KeySource| source.key(&head(), client, 9, &mut Vec::new());
        let named = |name: &str| name.as_bytes().into();
        for (source, value) in [
            (KeySource::Header(named("x-tenant")), "blue"),
            (KeySource::Cookie(named("session")), "s1"),
            (KeySource::Query(named("user")), "7"),
            (KeySource::Path, "/b"),
            (KeySource::Authority, "a.example"),
            (KeySource::Method, "GET"),
        ] {
            assert_eq!(key(source), hash(value.as_bytes()), "{value}");
        }
        assert_eq!(key(KeySource::Connection), hash(&9_u64.to_le_bytes()));
        let missing = [KeySource::Header(named("x")), KeySource::Cookie(named("x")), KeySource::Query(named("x"))];
        for source in missing.into_iter().chain([KeySource::ClientIp]) {
            assert_eq!(key(source), hash_ip(client));
        }
        assert_eq!(key(KeySource::None), 0);
    }
}
