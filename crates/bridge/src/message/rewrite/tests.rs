//! The tables of request and response fields, row by row.

use super::*;
use crate::message::Method;
use std::net::IpAddr;

type Lines<'a> = &'a [(&'a str, &'a str)];

const BASE: Lines<'_> = &[(":method", "GET"), (":scheme", "https"), (":authority", "example.com"), (":path", "/p?q")];

fn fields(lines: Lines<'_>) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(Name::from_bytes(name.as_bytes()), value.as_bytes());
    }
    fields
}

fn lines(fields: &Fields) -> Vec<String> {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    fields.iter().map(|field| text(field.name.as_bytes()) + ": " + &text(field.value)).collect()
}

fn client(address: &str) -> ForwardedClient {
    ForwardedClient::new(address.parse::<IpAddr>().unwrap(), 8443)
}

fn context(client: &ForwardedClient) -> RequestContext<'_> {
    RequestContext {
        protocol: Protocol::Http3,
        client,
        forwarded: ForwardedMode::Overwrite,
        request_id: Some(b"new-id"),
        is_early: false,
        subject: None,
    }
}

fn sent(more: Lines<'_>, context: &RequestContext<'_>) -> Vec<String> {
    let mut head = RequestHead { fields: fields(&[BASE, more].concat()), method: Method::Get, content_length: None };
    to_backend(&mut head, context);
    lines(&head.fields)
}

/// Fields added to a request that has none of them.
const GAINED: [&str; 7] = [
    "forwarded: for=192.0.2.7;proto=https;host=\"example.com\"",
    "x-forwarded-for: 192.0.2.7",
    "x-forwarded-proto: https",
    "x-forwarded-host: example.com",
    "x-forwarded-port: 8443",
    "via: 3.0 spooky",
    "x-request-id: new-id",
];

#[test]
fn a_plain_request() {
    let client = client("192.0.2.7");
    let out = sent(&[("accept", "*/*"), ("expect", "100-continue"), ("x-own", "1")], &context(&client));
    let kept = [":method: GET", ":scheme: https", ":authority: example.com", ":path: /p?q", "accept: */*"];
    let kept = kept.iter().chain(&["expect: 100-continue", "x-own: 1"]);
    assert_eq!(out, kept.chain(&GAINED).map(|line| (*line).to_owned()).collect::<Vec<_>>());
}

#[test]
fn hop_by_hop_fields_are_removed() {
    let client = client("192.0.2.7");
    let hop: Lines<'_> = &[
        ("connection", "close, X-Named"),
        ("x-named", "1"),
        ("keep-alive", "5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
        ("trailer", "x-t"),
        ("te", "gzip"),
        ("proxy-authorization", "Basic eA=="),
        ("proxy-authenticate", "Basic"),
        ("early-data", "1"),
        ("host", "example.com"),
    ];
    let http1 = RequestContext { protocol: Protocol::Http1, ..context(&client) };
    let out = sent(hop, &http1);
    assert_eq!(out.len(), BASE.len() + 7, "{out:?}");
    assert!(out.contains(&"via: 1.1 spooky".to_owned()));
    let with_te = sent(&[("te", "gzip, trailers")], &http1);
    assert!(with_te.contains(&"te: trailers".to_owned()));
}

#[test]
fn host_becomes_the_authority() {
    let client = client("192.0.2.7");
    let lines_in: Lines<'_> = &[(":method", "GET"), (":scheme", "https"), (":path", "/"), ("host", "h.example:444")];
    let mut head = RequestHead { fields: fields(lines_in), method: Method::Get, content_length: None };
    to_backend(&mut head, &context(&client));
    let out = lines(&head.fields);
    assert_eq!(out[0], ":authority: h.example:444");
    assert!(out.contains(&"x-forwarded-host: h.example:444".to_owned()));
    assert!(!head.fields.contains(Known::Host));
    retarget(&mut head, b"http", Some(b"backend:8080"));
    assert_eq!((head.scheme(), head.authority()), (&b"http"[..], &b"backend:8080"[..]));
    retarget(&mut head, b"https", None);
    assert_eq!((head.scheme(), head.authority()), (&b"https"[..], &b"backend:8080"[..]));
}

#[test]
fn connect_gets_no_scheme() {
    let lines_in: Lines<'_> = &[(":method", "CONNECT"), (":authority", "db:5432")];
    let mut head = RequestHead { fields: fields(lines_in), method: Method::Connect, content_length: None };
    retarget(&mut head, b"http", None);
    assert_eq!(lines(&head.fields), [":method: CONNECT", ":authority: db:5432"]);
}

const FAMILY: Lines<'_> = &[
    ("forwarded", "for=10.0.0.1"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-forwarded-for", "10.0.0.2"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-host", "old"),
    ("x-forwarded-port", "80"),
    ("x-real-ip", "10.0.0.1"),
];

#[test]
fn modes_of_forwarding() {
    let client = client("192.0.2.7");
    let family = |mode, more| {
        let mut out = sent(more, &RequestContext { forwarded: mode, ..context(&client) });
        out.retain(|line| {
            line.starts_with("forwarded") || line.starts_with("x-forwarded") || line.starts_with("x-real")
        });
        out
    };
    for mode in [ForwardedMode::Overwrite, ForwardedMode::Append, ForwardedMode::Preserve] {
        assert_eq!(family(mode, &[]), GAINED[..5], "{mode:?}: set if absent");
    }
    assert_eq!(family(ForwardedMode::Overwrite, FAMILY), GAINED[..5]);
    let appended = [
        "forwarded: for=10.0.0.1, for=192.0.2.7;proto=https;host=\"example.com\"",
        "x-forwarded-for: 10.0.0.1, 10.0.0.2, 192.0.2.7",
        "x-forwarded-proto: http",
        "x-forwarded-host: old",
        "x-forwarded-port: 80",
        "x-real-ip: 10.0.0.1",
    ];
    assert_eq!(family(ForwardedMode::Append, FAMILY), appended);
    let kept: Vec<_> = FAMILY.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(family(ForwardedMode::Preserve, FAMILY), kept);
    let half = [&FAMILY[..1], &FAMILY[4..5]].concat();
    let filled = [&[&*kept[0], &*kept[4]][..], &GAINED[1..3], &GAINED[4..5]].concat();
    assert_eq!(family(ForwardedMode::Preserve, &half), filled);
}

#[test]
fn addresses_of_both_families() {
    let element = |address: &str| {
        let client = client(address);
        let out = sent(&[], &context(&client));
        (out[4].clone(), out[5].clone())
    };
    let v6 = element("2001:db8::1");
    assert_eq!(v6.0, "forwarded: for=\"[2001:db8::1]\";proto=https;host=\"example.com\"");
    assert_eq!(v6.1, "x-forwarded-for: 2001:db8::1");
    let longest = "2001:db81:aaaa:bbbb:cccc:dddd:eeee:ffff";
    assert_eq!(element(longest).1, format!("x-forwarded-for: {longest}"));
    assert_eq!(element("::ffff:192.0.2.7").1, GAINED[1], "an IPv4 client of a dual socket");
}

#[test]
fn quotes_in_a_host_are_escaped() {
    let lines_in: Lines<'_> = &[(":method", "GET"), (":scheme", "https"), (":authority", "a\"b\\c"), (":path", "/")];
    let mut head = RequestHead { fields: fields(lines_in), method: Method::Get, content_length: None };
    to_backend(&mut head, &context(&client("192.0.2.7")));
    assert_eq!(lines(&head.fields)[4], r#"forwarded: for=192.0.2.7;proto=https;host="a\"b\\c""#);
}

#[test]
fn cookies_ids_traces_and_lengths() {
    let client = client("192.0.2.7");
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let more: Lines<'_> = &[
        ("cookie", "a=1"),
        ("x-request-id", "theirs"),
        ("cookie", "b=2"),
        ("via", "1.1 cdn"),
        ("traceparent", trace),
        ("tracestate", "v=1"),
        ("content-length", "5"),
        ("content-length", "5"),
    ];
    let out = sent(more, &RequestContext { request_id: None, ..context(&client) });
    for line in ["cookie: a=1; b=2", "x-request-id: theirs", "via: 1.1 cdn, 3.0 spooky", "tracestate: v=1"] {
        assert!(out.contains(&line.to_owned()), "{line}: {out:?}");
    }
    assert!(out.contains(&format!("traceparent: {trace}")));
    assert_eq!(out.iter().filter(|line| line.starts_with("content-length")).count(), 1);
    let replaced = sent(more, &context(&client));
    assert!(
        replaced.contains(&"x-request-id: new-id".to_owned()) && !replaced.contains(&"x-request-id: theirs".to_owned())
    );
    for broken in
        [&[("tracestate", "v=1"), ("traceparent", "00-x")][..], &[("traceparent", trace); 2], &[("tracestate", "v")]]
    {
        let out = sent(broken, &context(&client));
        assert!(!out.iter().any(|line| line.starts_with("trace")), "{out:?}");
    }
}

#[test]
fn early_data_and_subjects_come_from_spooky_only() {
    let client = client("192.0.2.7");
    let more: Lines<'_> = &[("early-data", "1"), ("x-client-subject", "CN=liar")];
    let early = RequestContext {
        is_early: true,
        subject: Some(ClientSubject { header: b"x-client-subject", value: Some(b"CN=real") }),
        ..context(&client)
    };
    let out = sent(more, &early);
    assert_eq!(out.iter().filter(|line| line.starts_with("early-data")).collect::<Vec<_>>(), ["early-data: 1"]);
    assert_eq!(out.last().unwrap(), "x-client-subject: CN=real");
    let neither = RequestContext {
        subject: Some(ClientSubject { header: b"x-client-subject", value: None }),
        ..context(&client)
    };
    let out = sent(more, &neither);
    assert!(!out.iter().any(|line| line.starts_with("early-data") || line.starts_with("x-client")), "{out:?}");
}

#[test]
fn responses() {
    let mut head = ResponseHead::new(200);
    head.fields = fields(&[
        ("server", "own"),
        ("connection", "x-named"),
        ("x-named", "1"),
        ("transfer-encoding", "chunked"),
        ("alt-svc", "h3=\":1\""),
        ("content-length", "4"),
        ("content-length", "4"),
        ("trailer", "x-t"),
        ("via", "1.1 inner"),
        ("x-own", "1"),
    ]);
    let mut plain = head.clone();
    let context =
        ResponseContext { protocol: Protocol::Http1, method: Method::Get, alt_svc: Some(b"h3=\":443\"; ma=60") };
    to_client(&mut head, &context);
    let expected =
        ["server: own", "content-length: 4", "via: 1.1 inner, 1.1 spooky", "x-own: 1", "alt-svc: h3=\":443\"; ma=60"];
    assert_eq!(lines(&head.fields), expected);
    plain.fields = fields(&[("x-own", "1")]);
    to_client(&mut plain, &from_h2(Method::Get));
    assert_eq!(lines(&plain.fields), ["x-own: 1", "via: 2.0 spooky"]);
}

fn from_h2(method: Method) -> ResponseContext<'static> {
    ResponseContext { protocol: Protocol::Http2, method, alt_svc: None }
}

/// A client that reads a length there misreads what follows, or drops the connection.
#[test]
fn a_length_is_removed_where_none_is_allowed() {
    let cases = [
        (Method::Get, 200, true),
        (Method::Head, 200, true),
        (Method::Get, 304, true),
        (Method::Get, 205, true),
        (Method::Get, 100, false),
        (Method::Get, 103, false),
        (Method::Get, 204, false),
        (Method::Head, 204, false),
        (Method::Connect, 200, false),
        (Method::Connect, 299, false),
        (Method::Connect, 103, false),
        (Method::Connect, 300, true),
        (Method::Connect, 502, true),
    ];
    for (method, status, is_kept) in cases {
        let mut head = ResponseHead::new(status);
        head.fields = fields(&[("content-length", "5"), ("x-own", "1"), ("content-length", "5")]);
        head.content_length = Some(5);
        to_client(&mut head, &from_h2(method));
        let count = head.fields.all(Known::ContentLength).count();
        assert_eq!((count, head.content_length), if is_kept { (1, Some(5)) } else { (0, None) }, "{method:?} {status}");
        assert!(head.fields.iter().any(|field| field.name.as_bytes() == b"x-own"));
    }
    let connect: Lines<'_> = &[(":method", "CONNECT"), (":authority", "db:5432"), ("content-length", "5")];
    let mut head = RequestHead { fields: fields(connect), method: Method::Connect, content_length: None };
    to_backend(&mut head, &context(&client("192.0.2.7")));
    assert!(!head.fields.contains(Known::ContentLength));
}

/// Backends read both as the same variable, so a client must not be able to add a second value.
#[test]
fn aliases_with_underscores_are_removed() {
    let client = client("192.0.2.7");
    let more: Lines<'_> = &[
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded_proto", "http"),
        ("x_real_ip", "6.6.6.6"),
        ("content_length", "9"),
        ("proxy_authorization", "x"),
        ("early_data", "1"),
        ("x_request_id", "other"),
        ("x_client_subject", "CN=admin"),
        ("x-client_subject", "CN=admin"),
        ("x-client-subject", "CN=admin"),
        ("x_own", "kept"),
        ("user_agent", "kept"),
    ];
    for mode in [ForwardedMode::Overwrite, ForwardedMode::Append, ForwardedMode::Preserve] {
        let subject = Some(ClientSubject { header: b"x-client-subject", value: Some(b"CN=real") });
        let out = sent(more, &RequestContext { forwarded: mode, subject, ..context(&client) });
        let expected = [&["x_own: kept", "user_agent: kept"][..], &GAINED, &["x-client-subject: CN=real"]].concat();
        assert_eq!(out[4..], expected, "{mode:?}");
    }
    let subject = Some(ClientSubject { header: b"x_client_subject", value: None });
    let out = sent(more, &RequestContext { subject, ..context(&client) });
    assert!(!out.iter().any(|line| line.contains("client")), "the configured name may have one itself: {out:?}");
    let mut trailers = fields(more);
    request_trailers(&mut trailers, Some(b"x-client-subject"));
    assert_eq!(lines(&trailers), ["x_own: kept", "user_agent: kept"]);
}

/// Connection options are removed before Spooky adds its own fields, but never the fields that identify a client.
#[test]
fn connection_options_cannot_remove_reserved_fields() {
    let client = client("192.0.2.7");
    let options = "x-forwarded-for, via, forwarded, x-request-id, x-forwarded-proto, X-Subject, te, traceparent, x-own, \
                 early-data, host, authorization, cookie, content-length, x-real-ip, x-forwarded-prefix";
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let more: Lines<'_> = &[
        ("connection", options),
        ("x-forwarded-for", "9.9.9.9"),
        ("via", "1.0 before"),
        ("te", "trailers"),
        ("traceparent", trace),
        ("tracestate", "v=1"),
        ("authorization", "Basic eA=="),
        ("cookie", "a=1"),
        ("x-real-ip", "9.9.9.9"),
        ("x-forwarded-prefix", "/p"),
        ("x-own", "1"),
        ("x-subject", "CN=liar"),
    ];
    let preserve = RequestContext {
        protocol: Protocol::Http1,
        forwarded: ForwardedMode::Preserve,
        is_early: true,
        subject: Some(ClientSubject { header: b"x-subject", value: Some(b"CN=real") }),
        ..context(&client)
    };
    let expected = [
        "x-forwarded-for: 9.9.9.9",
        "via: 1.0 before, 1.1 spooky",
        "authorization: Basic eA==",
        "cookie: a=1",
        "x-real-ip: 9.9.9.9",
        "x-forwarded-prefix: /p",
        GAINED[0],
        GAINED[2],
        GAINED[3],
        GAINED[4],
        "te: trailers",
        "x-request-id: new-id",
        "early-data: 1",
        "x-subject: CN=real",
    ];
    assert_eq!(sent(more, &preserve)[4..], expected);
    let overwrite = RequestContext { forwarded: ForwardedMode::Overwrite, ..preserve };
    assert!(sent(more, &overwrite).contains(&GAINED[1].to_owned()), "the address of the client itself");
}

#[test]
fn framing_and_identity_are_removed_from_trailers() {
    let mut fields = fields(&[
        ("grpc-status", "0"),
        ("content-length", "9"),
        ("x-forwarded-for", "1.1.1.1"),
        ("te", "x"),
        ("x-client-subject", "CN=liar"),
        ("x-t", "1"),
        ("x-client-subject", ""),
        ("alt-svc", "h3=\":1\""),
    ]);
    let mut of_response = fields.clone();
    response_trailers(&mut of_response);
    let expected =
        ["grpc-status: 0", "x-forwarded-for: 1.1.1.1", "x-client-subject: CN=liar", "x-t: 1", "x-client-subject: "];
    assert_eq!(lines(&of_response), expected);
    request_trailers(&mut fields, None);
    let expected =
        ["grpc-status: 0", "x-client-subject: CN=liar", "x-t: 1", "x-client-subject: ", "alt-svc: h3=\":1\""];
    assert_eq!(lines(&fields), expected);
    request_trailers(&mut fields, Some(b"x-client-subject"));
    assert_eq!(lines(&fields), ["grpc-status: 0", "x-t: 1", "alt-svc: h3=\":1\""]);
    request_trailers(&mut fields, Some(b"grpc-status"));
    assert_eq!(lines(&fields), ["x-t: 1", "alt-svc: h3=\":1\""]);
}

#[test]
fn a_content_length_has_no_leading_zeros() {
    for (sent, length, forwarded) in
        [("007", 7, "7"), ("000", 0, "0"), ("0", 0, "0"), ("70", 70, "70"), ("0000000000000000000000000012", 12, "12")]
    {
        let lines_in: Lines<'_> = &[("content-length", sent), ("x-own", "1"), ("content-length", sent)];
        let mut request = RequestHead {
            fields: fields(&[BASE, lines_in].concat()),
            method: Method::Post,
            content_length: Some(length),
        };
        let client = client("192.0.2.7");
        to_backend(&mut request, &context(&client));
        assert_eq!(request.fields.all(Known::ContentLength).collect::<Vec<_>>(), [forwarded.as_bytes()]);
        let mut response = ResponseHead { status: 200, fields: fields(lines_in), content_length: Some(length) };
        let context = ResponseContext { protocol: Protocol::Http2, method: Method::Get, alt_svc: None };
        to_client(&mut response, &context);
        let expected = [format!("content-length: {forwarded}"), "x-own: 1".into(), "via: 2.0 spooky".into()];
        assert_eq!(lines(&response.fields), expected);
    }
}
