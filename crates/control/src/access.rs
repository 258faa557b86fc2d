//! Who may call an endpoint: bearer token, loopback peers, and the protection of browsers against foreign pages.

use crate::{
    answer::{Answer, refusal, unauthorized},
    routes::Right,
};
use http::{
    HeaderMap, StatusCode, Uri,
    header::{AUTHORIZATION, HOST, ORIGIN},
    uri::Authority,
};
use spooky_config::is_loopback;
use std::net::IpAddr;
use subtle::ConstantTimeEq as _;

/// The two ends of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    pub(crate) peer: IpAddr,
    pub(crate) local: IpAddr,
    /// The address in the configuration, which may be a name.
    pub(crate) bound: String,
    pub(crate) is_tls: bool,
}

/// Returns the refusal of a request, if it is not allowed. `target` is its target, which may name another host than the field.
pub(crate) fn check(
    right: Right,
    token: Option<&str>,
    target: &Uri,
    fields: &HeaderMap,
    ends: &Ends,
) -> Option<Answer> {
    if right == Right::Open {
        return None;
    }
    let is_loopback_peer = ends.peer.to_canonical().is_loopback();
    match token {
        Some(token) if !has_token(fields, token) => return Some(unauthorized()),
        None if right == Right::Change && !is_loopback_peer => return Some(forbidden()),
        _ => {}
    }
    // A page of another site may make a browser of this machine send requests, also under a name that leads here.
    let is_named_twice = target.authority().is_some_and(|named| Some(named) != host(fields).as_ref());
    let is_own = has_own_host(fields, ends) && has_own_origin(fields, ends) && !is_named_twice;
    let is_foreign = right == Right::Change && !is_own;
    is_foreign.then(forbidden)
}

fn forbidden() -> Answer {
    refusal(StatusCode::FORBIDDEN, "forbidden")
}

/// Whether the only `authorization` field has the scheme Bearer and the token.
fn has_token(fields: &HeaderMap, token: &str) -> bool {
    let mut values = fields.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Some((scheme, credentials)) = value.as_bytes().split_first_chunk::<7>() else { return false };
    scheme.eq_ignore_ascii_case(b"bearer ") && bool::from(credentials.trim_ascii().ct_eq(token.as_bytes()))
}

/// Whether the only `host` field is a loopback address or the address to which the client is connected.
fn has_own_host(fields: &HeaderMap, ends: &Ends) -> bool {
    let Some(authority) = host(fields) else { return false };
    let host = authority.host();
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    is_loopback(host)
        || host.eq_ignore_ascii_case(&ends.bound)
        || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical() == ends.local.to_canonical())
}

/// Whether there is no `origin` field, or it is that of this endpoint.
fn has_own_origin(fields: &HeaderMap, ends: &Ends) -> bool {
    let mut values = fields.get_all(ORIGIN).iter();
    let (Some(origin), None) = (values.next(), values.next()) else { return !fields.contains_key(ORIGIN) };
    let Some(origin) = origin.to_str().ok().and_then(|origin| origin.parse::<Uri>().ok()) else { return false };
    let scheme = if ends.is_tls { "https" } else { "http" };
    origin.scheme_str() == Some(scheme) && origin.authority().is_some() && origin.authority() == host(fields).as_ref()
}

fn host(fields: &HeaderMap) -> Option<Authority> {
    let mut values = fields.get_all(HOST).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok()?.parse().ok().filter(|authority: &Authority| !authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn status(right: Right, token: Option<&str>, peer: &str, fields: &[(&'static str, &str)]) -> u16 {
        let peer: IpAddr = peer.parse().unwrap();
        let local = if peer.is_loopback() { LOOPBACK } else { "192.0.2.1".parse().unwrap() };
        let ends = Ends { peer, local, bound: "admin.example".to_owned(), is_tls: false };
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        check(right, token, &Uri::from_static("/x"), &map, &ends).map_or(200, |answer| answer.status().as_u16())
    }

    #[test]
    fn with_a_token_everything_but_the_open_endpoints_needs_it() {
        let host = ("host", "127.0.0.1:9902");
        for (value, expected) in [
            ("Bearer secret", 200),
            ("bearer secret", 200),
            ("BEARER  secret ", 200),
            ("Bearer secre", 401),
            ("Bearer secrets", 401),
            ("Basic secret", 401),
            ("secret", 401),
            ("Bearer", 401),
            ("Bearer ", 401),
        ] {
            for right in [Right::Read, Right::Change] {
                assert_eq!(
                    status(right, Some("secret"), "127.0.0.1", &[host, ("authorization", value)]),
                    expected,
                    "{value}"
                );
            }
        }
        let twice = [host, ("authorization", "Bearer secret"), ("authorization", "Bearer secret")];
        assert_eq!(status(Right::Read, Some("secret"), "127.0.0.1", &twice), 401);
        assert_eq!(status(Right::Read, Some("secret"), "127.0.0.1", &[host]), 401);
        assert_eq!(status(Right::Open, Some("secret"), "192.0.2.9", &[]), 200);
    }

    #[test]
    fn the_target_may_not_name_another_host() {
        let ends = Ends { peer: LOOPBACK, local: LOOPBACK, bound: String::new(), is_tls: false };
        let mut fields = HeaderMap::new();
        fields.insert(HOST, "localhost:9902".parse().unwrap());
        for (target, is_allowed) in [("http://localhost:9902/x", true), ("http://evil.example/x", false), ("/x", true)]
        {
            let refused = check(Right::Change, None, &target.parse().unwrap(), &fields, &ends);
            assert_eq!(refused.is_none(), is_allowed, "{target}");
        }
    }

    #[test]
    fn without_a_token_only_loopback_peers_change_anything() {
        let host = [("host", "192.0.2.1:9902")];
        assert_eq!(status(Right::Read, None, "192.0.2.9", &host), 200);
        assert_eq!(status(Right::Change, None, "192.0.2.9", &host), 403);
        assert_eq!(status(Right::Change, None, "127.0.0.1", &[("host", "127.0.0.1:9902")]), 200);
        assert_eq!(status(Right::Change, None, "::1", &[("host", "[::1]:9902")]), 200);
        assert_eq!(status(Right::Change, None, "::ffff:127.0.0.1", &[("host", "localhost:9902")]), 200);
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        for (fields, expected) in [
            (&[("host", "127.0.0.1:9902"), ("origin", "http://127.0.0.1:9902")][..], 200),
            (&[("host", "localhost:9902"), ("origin", "http://localhost:9902")], 200),
            (&[("host", "admin.example:9902")], 200),
            (&[("host", "127.0.0.1:9902"), ("origin", "http://127.0.0.1:8080")], 403),
            (&[("host", "127.0.0.1:9902"), ("origin", "https://127.0.0.1:9902")], 403),
            (&[("host", "127.0.0.1:9902"), ("origin", "http://evil.example")], 403),
            (&[("host", "127.0.0.1:9902"), ("origin", "null")], 403),
            (&[("host", "evil.example:9902"), ("origin", "http://evil.example:9902")], 403),
            (&[("host", "evil.example")], 403),
            (&[("host", "192.0.2.1")], 403),
            (&[("host", "evil.example@127.0.0.1")], 403),
            (&[], 403),
        ] {
            assert_eq!(status(Right::Change, None, "127.0.0.1", fields), expected, "{fields:?}");
            assert_eq!(status(Right::Read, None, "127.0.0.1", fields), 200, "{fields:?}");
        }
        let token = ("authorization", "Bearer secret");
        assert_eq!(status(Right::Change, Some("secret"), "192.0.2.9", &[token, ("host", "192.0.2.1:9902")]), 200);
        assert_eq!(status(Right::Change, Some("secret"), "192.0.2.9", &[token, ("host", "evil.example")]), 403);
    }
}
