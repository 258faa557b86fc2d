//! Checks and rewriting of messages: accepted messages satisfy what later code relies on.

use spooky_bridge::{
    message::{
        Fields, Known, Method, Name, Protocol, RequestHead,
        check::{self, CheckError, HeadLimits, RejectedRequest, RequestRules, ResponseError},
        forwarded::{ForwardedClient, ForwardedMode},
        hop_by_hop, reserved,
        rewrite::{self, ClientSubject, RequestContext, ResponseContext},
    },
    qpack,
};
use std::net::{IpAddr, Ipv4Addr};

const LIMITS: HeadLimits = HeadLimits { max_fields: 32, max_bytes: 2048 };
const MAX_SECTION: usize = 2048;
const SUBJECT: &[u8] = b"x-subject";

/// Properties for any fields. The first byte selects the rules; fields follow, each a name and a value after their
/// lengths.
pub(crate) fn check(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    let fields = read_fields(rest);
    let protocol = [Protocol::Http1, Protocol::Http2, Protocol::Http3, Protocol::Http3][usize::from(choice & 3)];
    request(fields.clone(), choice, protocol);
    for method in [Method::Get, Method::Head, Method::Connect] {
        response(fields.clone(), protocol, method);
    }
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
        Err(refused) => {
            assert_eq!(refused.fields.len(), before, "nothing is lost");
            return is_over_the_limit(&refused);
        }
    };
    let crumbs = head.fields.all(Known::Cookie).count().saturating_sub(1);
    assert!(head.fields.len() - crumbs <= LIMITS.max_fields && head.fields.size() <= LIMITS.max_bytes);
    is_clean(&head.fields);
    is_complete(&head);
    let received = head.fields.clone();
    let client = ForwardedClient::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);
    let context = RequestContext {
        protocol,
        client: &client,
        forwarded: [ForwardedMode::Overwrite, ForwardedMode::Append, ForwardedMode::Preserve]
            [usize::from(choice >> 5) % 3],
        request_id: (choice & 128 == 0).then_some(b"id"),
        is_early: choice & 64 != 0,
        subject: Some(ClientSubject { header: SUBJECT, value: None }),
    };
    rewrite::to_backend(&mut head, &context);
    rewrite::retarget(&mut head, b"http", (choice & 32 != 0).then_some(b"backend:1"));
    is_clean(&head.fields);
    is_complete(&head);
    let is_refused = |field: spooky_bridge::message::Field<'_>| match field.name {
        Name::Known(Known::Te) => field.value != b"trailers",
        Name::Known(known) => hop_by_hop::is_hop_by_hop(known),
        Name::Other(name) => is_alias(name),
    };
    assert!(!head.fields.iter().any(is_refused));
    for single in [Known::Authority, Known::Via, Known::Cookie, Known::ContentLength] {
        assert!(head.fields.all(single).count() <= 1, "{single:?}");
    }
    assert!(!head.fields.contains(Known::Host));
    assert!(head.method != Method::Connect || !head.fields.contains(Known::ContentLength));
    says_who_asked(&head.fields, &context);
    keeps_what_others_rely_on(&received, &head);
    comes_back(&head.fields);
}

/// Returns whether a server that reads `_` as `-` takes the name for a reserved one. The list is separate from the
/// product's so that both do not share an error.
fn is_alias(name: &[u8]) -> bool {
    const OWN: [&str; 19] = [
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "proxy-authorization",
        "proxy-authenticate",
        "content-length",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-real-ip",
        "x-request-id",
        "early-data",
        "x-subject",
        "connection",
        "upgrade",
        "trailer",
        "te",
        "via",
    ];
    let folded: Vec<u8> = name.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
    OWN.iter().any(|own| own.as_bytes() == folded)
}

/// A request rejected for its size exceeds a limit.
fn is_over_the_limit(refused: &RejectedRequest) {
    let crumbs = refused.fields.all(Known::Cookie).count().saturating_sub(1);
    match refused.error {
        CheckError::TooManyFields => assert!(refused.fields.len() - crumbs > LIMITS.max_fields),
        CheckError::TooLarge => assert!(refused.fields.size() > LIMITS.max_bytes),
        CheckError::Malformed { .. } | CheckError::Invalid(_) => {}
    }
}

/// The forwarding fields name the client, whatever it sent.
fn says_who_asked(fields: &Fields, context: &RequestContext<'_>) {
    for always in [
        Known::Forwarded,
        Known::XForwardedFor,
        Known::XForwardedProto,
        Known::XForwardedHost,
        Known::XForwardedPort,
        Known::Via,
    ] {
        assert!(fields.contains(always), "{always:?}");
    }
    if context.request_id.is_some() {
        assert_eq!(fields.all(Known::XRequestId).collect::<Vec<_>>(), [b"id"]);
    }
    assert_eq!(fields.contains(Known::EarlyData), context.is_early);
    let traces = fields.all(Known::Traceparent).count();
    assert!(traces <= 1 && (traces == 1 || !fields.contains(Known::Tracestate)), "a state without its trace");
    if context.forwarded == ForwardedMode::Overwrite {
        assert_eq!(fields.all(Known::XForwardedFor).collect::<Vec<_>>(), [b"127.0.0.1"]);
        assert!(!fields.contains(Known::XRealIp));
    }
}

/// A client must not be able to hide fields from a backend that relies on them.
fn keeps_what_others_rely_on(received: &Fields, sent: &RequestHead) {
    assert!(sent.fields.all(Known::Authorization).eq(received.all(Known::Authorization)));
    assert_eq!(sent.fields.contains(Known::Cookie), received.contains(Known::Cookie));
    let has_length = received.contains(Known::ContentLength) && sent.method != Method::Connect;
    assert_eq!(sent.fields.contains(Known::ContentLength), has_length);
    assert!(received.all(Known::Via).all(|before| sent.fields.all(Known::Via).any(|via| contains(via, before))));
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    part.is_empty() || text.windows(part.len()).any(|window| window == part)
}

/// The pseudo-header fields are first, unique, and those that the method requires.
fn is_complete(head: &RequestHead) {
    let regular = head.fields.iter().skip_while(|field| field.name.is_pseudo());
    assert!(!regular.into_iter().any(|field| field.name.is_pseudo()));
    for name in [Known::Method, Known::Scheme, Known::Path, Known::Authority, Known::Protocol] {
        assert!(head.fields.all(name).count() <= 1);
    }
    assert!(check::authority(head.authority()).is_some());
    assert!(head.path().iter().all(|byte| byte.is_ascii_graphic() && !b"#<>`".contains(byte)));
    let is_tunnel = head.method == Method::Connect && !head.fields.contains(Known::Protocol);
    assert_eq!(head.path().is_empty(), is_tunnel);
    assert_eq!(head.scheme().is_empty(), is_tunnel);
}

/// No value has a control character, and every name is valid.
fn is_clean(fields: &Fields) {
    for field in fields.iter() {
        assert!(!field.value.iter().any(|byte| byte.is_ascii_control() && *byte != b'\t'));
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

fn response(fields: Fields, protocol: Protocol, method: Method) {
    let size = fields.section_size();
    let mut head = match check::response(fields, MAX_SECTION, protocol) {
        Ok(head) => head,
        Err(ResponseError::TooLarge) => return assert!(size > MAX_SECTION, "there is no other limit"),
        Err(ResponseError::Malformed(_)) => return,
    };
    assert!((100..=999).contains(&head.status));
    assert!(size <= MAX_SECTION);
    is_clean(&head.fields);
    rewrite::to_client(&mut head, &ResponseContext { protocol, method, alt_svc: None });
    is_clean(&head.fields);
    assert!(!head.fields.iter().any(|field| field.name.is_pseudo()));
    assert_eq!(head.fields.all(Known::Via).count(), 1);
    let is_refused = |name: Name<'_>| matches!(name, Name::Known(known) if known == Known::AltSvc || hop_by_hop::is_hop_by_hop(known));
    assert!(!head.fields.iter().any(|field| is_refused(field.name)));
    // The announced length equals the framing of the body.
    let lengths = head.fields.all(Known::ContentLength).count();
    assert_eq!(lengths, usize::from(head.content_length.is_some()));
    if head.status < 200 || head.status == 204 || method == Method::Connect && head.status < 300 {
        assert_eq!(lengths, 0);
    }
}

fn trailers(mut fields: Fields) {
    if check::response_trailers(&fields, MAX_SECTION).is_ok() {
        let mut fields = fields.clone();
        is_clean(&fields);
        rewrite::response_trailers(&mut fields);
        let is_refused = |name: Name<'_>| matches!(name, Name::Known(Known::ContentLength | Known::AltSvc));
        assert!(!fields.iter().any(|field| field.name.is_pseudo() || is_refused(field.name)));
    }
    if check::request_trailers(&fields, &LIMITS).is_ok() {
        is_clean(&fields);
        rewrite::request_trailers(&mut fields, Some(SUBJECT));
        let is_refused = |name: Name<'_>| match name {
            Name::Known(known) => reserved::is_reserved(known),
            Name::Other(name) => is_alias(name),
        };
        assert!(!fields.iter().any(|field| field.name.is_pseudo() || is_refused(field.name)));
    }
}
