//! The checks and the rewriting of messages: what passes is what later code may rely on.

use spooky_bridge::{
    message::{
        Fields, Known, Method, Name, Protocol, RequestHead,
        check::{self, HeadLimits, RequestRules},
        forwarded::{Client, ForwardedMode},
        hop,
        rewrite::{self, RequestContext, ResponseContext, Subject},
    },
    qpack,
};
use std::net::{IpAddr, Ipv4Addr};

const LIMITS: HeadLimits = HeadLimits { max_fields: 32, max_bytes: 2048 };

/// What must hold for any fields. The first byte chooses the rules; then come fields, each a name and a value behind
/// their lengths.
pub(crate) fn check(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let fields = read_fields(rest);
    let protocol = [Protocol::Http1, Protocol::Http2, Protocol::Http3, Protocol::Http3][usize::from(choice & 3)];
    request(fields.clone(), choice, protocol);
    response(fields.clone(), protocol);
    trailers(fields);
}

fn read_fields(mut bytes: &[u8]) -> Fields {
    let mut fields = Fields::new();
    while let [name_len, value_len, rest @ ..] = bytes {
        let (name, rest) = rest.split_at(rest.len().min(usize::from(*name_len)));
        let (value, rest) = rest.split_at(rest.len().min(usize::from(*value_len)));
        fields.push(Name::from_bytes(name), value);
        bytes = rest;
    }
    fields
}

fn request(fields: Fields, choice: u8, protocol: Protocol) {
    let rules = RequestRules {
        protocol,
        extended_connect: choice & 4 != 0,
        enforce_authority_host_match: choice & 8 != 0,
        reject_ambiguous_paths: choice & 16 != 0,
    };
    let before = fields.len();
    let mut head = match check::request(fields, &LIMITS, &rules) {
        Ok(head) => head,
        Err(refused) => return assert_eq!(refused.fields.len(), before, "nothing is lost"),
    };
    assert!(head.fields.len() <= LIMITS.max_fields && head.fields.size() <= LIMITS.max_bytes);
    is_clean(&head.fields);
    is_complete(&head);
    let client = Client::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);
    let context = RequestContext {
        protocol,
        client: &client,
        forwarded: [ForwardedMode::Overwrite, ForwardedMode::Append, ForwardedMode::Preserve]
            [usize::from(choice >> 5) % 3],
        request_id: (choice & 128 == 0).then_some(b"id"),
        is_early: choice & 64 != 0,
        subject: Some(Subject { header: b"x-subject", value: None }),
    };
    rewrite::to_backend(&mut head, &context);
    rewrite::retarget(&mut head, b"http", (choice & 32 != 0).then_some(b"backend:1"));
    is_clean(&head.fields);
    is_complete(&head);
    let has_hop = |field: spooky_bridge::message::Field<'_>| match field.name {
        Name::Known(Known::Te) => field.value != b"trailers",
        Name::Known(known) => hop::is_hop_by_hop(known),
        Name::Other(name) => name == b"x-subject",
    };
    assert!(!head.fields.iter().any(has_hop));
    for single in [Known::Authority, Known::Via, Known::Cookie, Known::ContentLength] {
        assert!(head.fields.all(single).count() <= 1, "{single:?}");
    }
    assert!(!head.fields.contains(Known::Host) && head.fields.contains(Known::XForwardedFor));
    comes_back(&head.fields);
}

/// Pseudo-headers first, each once, and those that the method needs.
fn is_complete(head: &RequestHead) {
    let regular = head.fields.iter().skip_while(|field| field.name.is_pseudo());
    assert!(!regular.into_iter().any(|field| field.name.is_pseudo()));
    for name in [Known::Method, Known::Scheme, Known::Path, Known::Authority, Known::Protocol] {
        assert!(head.fields.all(name).count() <= 1);
    }
    assert!(check::authority(head.authority()).is_some());
    let is_tunnel = head.method == Method::Connect && !head.fields.contains(Known::Protocol);
    assert_eq!(head.path().is_empty(), is_tunnel);
    assert_eq!(head.scheme().is_empty(), is_tunnel);
}

/// No value can end a line, no name can be taken for something else.
fn is_clean(fields: &Fields) {
    for field in fields.iter() {
        assert!(!field.value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | b'\0')));
        assert!(!field.name.as_bytes().iter().any(|byte| byte.is_ascii_uppercase() || *byte <= b' ' || *byte >= 127));
    }
}

fn comes_back(fields: &Fields) {
    let mut section = Vec::new();
    qpack::encode(None, fields, &mut section);
    let mut back = Fields::new();
    assert_eq!(qpack::decode(&section, &mut back, usize::MAX), Ok(()));
    assert!(fields.iter().zip(back.iter()).all(|(left, right)| (left.name, left.value) == (right.name, right.value)));
}

fn response(fields: Fields, protocol: Protocol) {
    let Ok(mut head) = check::response(fields, &LIMITS, protocol) else { return };
    assert!((100..=999).contains(&head.status));
    is_clean(&head.fields);
    rewrite::to_client(&mut head, &ResponseContext { protocol, alt_svc: None });
    is_clean(&head.fields);
    assert!(!head.fields.iter().any(|field| field.name.is_pseudo()));
    assert_eq!(head.fields.all(Known::Via).count(), 1);
}

fn trailers(mut fields: Fields) {
    if check::trailers(&fields, &LIMITS).is_ok() {
        is_clean(&fields);
        rewrite::trailers(&mut fields, Some(b"x-subject"));
        assert!(!fields.iter().any(|field| field.name.is_pseudo() || field.name.as_bytes() == b"x-subject"));
    }
}
