//! Violations of every rule of the request checks, and their order; responses, trailers and body lengths.

use super::*;
use crate::message::{Known, Method};

const H1: RequestRules = RequestRules::new(Protocol::Http1);
const H2: RequestRules = RequestRules::new(Protocol::Http2);
const H3: RequestRules = RequestRules::new(Protocol::Http3);

type Lines<'a> = &'a [(&'a str, &'a str)];

fn fields(lines: Lines<'_>) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(Name::from_bytes(name.as_bytes()), value.as_bytes());
    }
    fields
}

const GET: Lines<'_> = &[(":method", "GET"), (":scheme", "https"), (":authority", "example.com"), (":path", "/")];

fn with(base: Lines<'_>, more: Lines<'_>) -> Fields {
    fields(&[base, more].concat())
}

/// The base request with one line replaced or removed.
fn but(name: &str, value: Option<&str>) -> Fields {
    let replace =
        |line: &(&'static str, &'static str)| if line.0 == name { value.map(|v| (line.0, v)) } else { Some(*line) };
    let lines: Vec<_> = GET.iter().filter_map(replace).collect();
    fields(&lines)
}

fn check(fields: Fields, rules: RequestRules) -> Result<RequestHeadParts, CheckError> {
    match request(fields, &HeadLimits::default(), &rules) {
        Ok(head) => Ok((head.method, head.content_length)),
        Err(refused) => Err(refused.error),
    }
}

type RequestHeadParts = (Method, Option<u64>);

#[track_caller]
fn malformed_by(fields: Fields, rules: RequestRules, reason: &str) {
    match check(fields, rules) {
        Err(CheckError::Malformed { reason: found, .. }) => assert_eq!(found, reason),
        other => panic!("{other:?} instead of {reason}"),
    }
}

#[test]
fn ordinary_requests_pass() {
    assert_eq!(check(fields(GET), H3), Ok((Method::Get, None)));
    let more: Lines<'_> = &[("content-length", "12"), ("te", "Trailers"), ("x-odd!#$%&'*+-.^_`|~9", "a\tb c\u{e9}")];
    assert_eq!(check(with(GET, more), H3), Ok((Method::Get, Some(12))));
    let host_only =
        fields(&[(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), ("host", "example.com:8080")]);
    assert_eq!(check(host_only, H2), Ok((Method::Options, None)));
    assert_eq!(check(fields(&[(":method", "CONNECT"), (":authority", "db:5432")]), H3), Ok((Method::Connect, None)));
    let websocket = with(&[(":method", "CONNECT"), (":protocol", "websocket")], &GET[1..]);
    assert_eq!(check(websocket, H3), Ok((Method::Connect, None)));
    let http1: Lines<'_> =
        &[("connection", "upgrade"), ("upgrade", "h2c"), ("te", "gzip"), ("transfer-encoding", "chunked")];
    assert_eq!(check(with(GET, http1), H1), Ok((Method::Get, None)));
}

#[test]
fn pseudo_headers_that_are_wrong() {
    malformed_by(but(":method", None), H3, "no :method");
    malformed_by(but(":scheme", None), H3, "no :scheme or no :path");
    malformed_by(but(":path", None), H3, "no :scheme or no :path");
    malformed_by(but(":authority", None), H3, "neither :authority nor host");
    for name in [":method", ":scheme", ":authority", ":path"] {
        malformed_by(but(name, Some("")), H3, "empty pseudo-header");
        malformed_by(with(GET, &[(name, "x")]), H3, "repeated pseudo-header");
        malformed_by(with(&[("accept", "*/*")], GET), H3, "pseudo-header after other fields");
        malformed_by(with(&[("x-own", "1")], GET), H3, "pseudo-header after other fields");
    }
    malformed_by(with(&[(":status", "200")], GET), H3, "unknown pseudo-header");
    malformed_by(with(&[(":own", "1")], GET), H3, "unknown pseudo-header");
    malformed_by(with(&[(":protocol", "websocket")], GET), H3, ":protocol without CONNECT");
    let unannounced = RequestRules { extended_connect: false, ..H3 };
    let websocket = || with(&[(":method", "CONNECT"), (":protocol", "websocket")], &GET[1..]);
    malformed_by(websocket(), unannounced, "unknown pseudo-header");
    malformed_by(but(":method", Some("GE T")), H3, "method is no token");
    let connect = |lines| with(&[(":method", "CONNECT")], lines);
    malformed_by(connect(&[(":authority", "a:1"), (":path", "/")]), H3, "CONNECT with :scheme or :path");
    malformed_by(connect(&[(":authority", "a:1"), (":scheme", "https")]), H3, "CONNECT with :scheme or :path");
    malformed_by(connect(&[("host", "a:1")]), H3, "CONNECT without :authority");
    malformed_by(connect(&[(":protocol", "websocket"), (":authority", "a")]), H3, "no :scheme or no :path");
}

#[test]
fn names_and_values_that_are_wrong() {
    let one = |name: &str, value: &str| with(GET, &[(name, value)]);
    malformed_by(one("", "v"), H3, "empty field name");
    malformed_by(one("X-Upper", "v"), H3, "upper-case letter in a field name");
    malformed_by(one("Accept", "v"), H3, "upper-case letter in a field name");
    for name in ["x y", "x:", "x\n", "x\0", "x(", "x\"", "x/", "\u{e9}", "x\u{7f}", "x{}"] {
        malformed_by(one(name, "v"), H3, "invalid character in a field name");
    }
    for control in (0..0x20_u8).filter(|byte| *byte != b'\t').chain([0x7f]) {
        for value in [format!("a{}b", char::from(control)), char::from(control).to_string()] {
            malformed_by(one("x-own", &value), H3, "control character in a field value");
            malformed_by(one("accept", &value), H3, "control character in a field value");
            malformed_by(one("cookie", &value), H1, "control character in a field value");
            malformed_by(but(":path", Some(&value)), H2, "control character in a field value");
        }
    }
    for value in [" a", "a ", "\ta", "a\t", " "] {
        malformed_by(one("x-own", value), H3, "white space around a field value");
        malformed_by(but(":path", Some(value)), H3, "white space around a field value");
    }
}

#[test]
fn fields_of_a_connection() {
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        malformed_by(with(GET, &[(name, "x")]), H3, "field that belongs to a connection");
        malformed_by(with(GET, &[(name, "x")]), H2, "field that belongs to a connection");
    }
    malformed_by(with(GET, &[("te", "gzip")]), H3, "te is not trailers");
    malformed_by(with(GET, &[("te", "trailers, gzip")]), H2, "te is not trailers");
}

#[test]
fn content_lengths() {
    let lengths = |values: &[&'static str]| {
        let lines: Vec<_> = values.iter().map(|value| ("content-length", *value)).collect();
        with(GET, &lines)
    };
    for value in ["", "-1", "+1", "1,1", "1 1", "0x1", "1.0", "18446744073709551616", "99999999999999999999999"] {
        malformed_by(lengths(&[value]), H3, "content-length is no number");
    }
    malformed_by(lengths(&["1", "2"]), H3, "different content-length fields");
    assert_eq!(check(lengths(&["18446744073709551615"]), H3), Ok((Method::Get, Some(u64::MAX))));
    assert_eq!(check(lengths(&["7", "07"]), H3), Ok((Method::Get, Some(7))));
}

#[test]
fn too_many_or_too_large() {
    let limits = HeadLimits { max_fields: 6, max_bytes: 200 };
    let outcome = |fields| request(fields, &limits, &H3).map_err(|refused| refused.error).err();
    let size = fields(GET).size();
    let filler = "v".repeat(200 - size - 1);
    assert_eq!(outcome(with(GET, &[("a", &filler)])), None);
    assert_eq!(outcome(with(GET, &[("a", &filler), ("b", "")])), Some(CheckError::TooLarge));
    assert_eq!(outcome(with(GET, &[("a", ""), ("b", "")])), None);
    assert_eq!(outcome(with(GET, &[("a", ""), ("b", ""), ("c", "")])), Some(CheckError::TooManyFields));
    assert_eq!(limits.section_size(), 200 + 6 * 32);
    // The order: malformed, too many, too large, invalid.
    let crumbs = with(GET, &[("cookie", "a=1"), ("a", ""), ("cookie", "b=2"), ("cookie", "c=3"), ("cookie", "")]);
    assert_eq!(outcome(crumbs), None, "all cookie fields are one");
    let one_more: Lines<'_> = &[("cookie", "a=1"), ("a", ""), ("cookie", "b=2"), ("b", "")];
    assert_eq!(outcome(with(GET, one_more)), Some(CheckError::TooManyFields));
    assert_eq!(outcome(with(GET, &[("cookie", "0123456789"); 12])), Some(CheckError::TooLarge), "the bytes count");
    let many: Lines<'_> = &[("a", ""), ("b", ""), ("c", &filler), ("d", &filler), ("host", "other")];
    assert_eq!(outcome(with(GET, many)), Some(CheckError::TooManyFields));
    assert_eq!(outcome(with(GET, &[("c", &filler), ("host", "other")])), Some(CheckError::TooLarge));
    assert!(matches!(outcome(with(GET, &[many, &[("A", "")]].concat())), Some(CheckError::Malformed { .. })));
}

#[test]
fn refused_requests_keep_their_fields() {
    let refused = request(but(":scheme", Some("ftp")), &HeadLimits::default(), &H3).unwrap_err();
    assert_eq!(refused.fields.first(Known::Path), Some(&b"/"[..]));
    assert_eq!(refused.to_string(), "invalid scheme");
}

#[test]
fn authorities_and_hosts() {
    let pair = |authority: &str, host: &str| {
        with(&[(":method", "GET"), (":scheme", "https"), (":authority", authority), (":path", "/")], &[("host", host)])
    };
    let differ = Err(CheckError::Invalid(InvalidReason::AuthorityHostMismatch));
    let invalid = Err(CheckError::Invalid(InvalidReason::InvalidAuthority));
    let same = [
        ("a.b", "A.B"),
        ("a.b", "a.b:443"),
        ("a.b:443", "a.B"),
        ("[::1]:443", "[::1]"),
        ("a:80", "a:080"),
        ("a:", "a"),
        ("a", "a:443"),
        ("a:443", "A:"),
    ];
    for (authority, host) in same {
        assert!(check(pair(authority, host), H3).is_ok(), "{authority} {host}");
    }
    let lax = RequestRules { enforce_authority_host_match: false, ..H3 };
    for (authority, host) in
        [("a.b", "a.c"), ("a.b", "a.b:80"), ("a.b:444", "a.b"), ("a.b", "a.b."), ("a", "a@a"), ("a:444", "a:")]
    {
        assert_eq!(check(pair(authority, host), H3), differ, "{authority} {host}");
        assert!(check(pair(authority, host), lax).is_ok(), "{authority} {host}");
    }
    assert_eq!(check(with(GET, &[("host", "example.com"), ("host", "other")]), H3), differ);
    assert_eq!(check(with(GET, &[("host", "example.com"), ("host", "example.com")]), H3), invalid, "one too many");
    malformed_by(with(GET, &[("host", "")]), H3, "empty host");
}

#[test]
fn forms_of_authorities() {
    let invalid = Err(CheckError::Invalid(InvalidReason::InvalidAuthority));
    let valid = [
        "a",
        "a.b-c_d~1",
        "1.2.3.4:65535",
        "[2001:db8::1]",
        "[::ffff:1.2.3.4]:8443",
        "%41b.c",
        "a!$&'()*+,;=:1",
        "a:",
        "[::1]:",
    ];
    for authority in valid {
        assert!(check(but(":authority", Some(authority)), H3).is_ok(), "{authority}");
    }
    let wrong = [
        "user@a",
        "user:pw@a",
        "a:b",
        ":",
        "a::",
        "a:65536",
        "a:-1",
        "a:1:2",
        ":80",
        "[::1",
        "[::g]",
        "[1.2.3.4]",
        "[::1]x",
        "[fe80::1%25eth0]",
        "a b",
        "a/b",
        "a?b",
        "a#b",
        "a\\b",
        "\u{e9}",
        "a%4",
        "a%zz",
        "::1",
        "a:000080",
    ];
    for authority in wrong {
        assert_eq!(check(but(":authority", Some(authority)), H3), invalid, "{authority}");
    }
}

#[test]
fn schemes_and_paths() {
    for scheme in ["ftp", "HTTPS", "wss", "https:"] {
        assert_eq!(check(but(":scheme", Some(scheme)), H3), Err(CheckError::Invalid(InvalidReason::InvalidScheme)));
    }
    let long = "/".to_owned() + &"a".repeat(5000);
    for path in ["/a?b=c&d", "/%2f/../;,:@!$'()*+=~", "//", "/\"[]^{|}\\?\"[]^{|}\\", long.as_str()] {
        assert!(check(but(":path", Some(path)), H3).is_ok(), "{path}");
    }
    let wrong =
        ["a", "*", "?a", "https://a/", "/a b", "/#", "/a#b", "/\u{e9}", "/a\tb", "/<", "/>", "/a`", "/?<", "/?a=`"];
    for path in wrong {
        assert_eq!(check(but(":path", Some(path)), H3), Err(CheckError::Invalid(InvalidReason::InvalidPath)), "{path}");
    }
    // RFC 3986 3.3 and 3.4, and the other accepted bytes.
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/?\"[]\\^{|}".contains(&byte);
    for byte in (0..=u8::MAX).filter(|byte| !byte.is_ascii_control()) {
        let mut fields = fields(&GET[..3]);
        fields.push(Known::Path, &[b'/', byte, b'a']);
        assert_eq!(check(fields, H3).is_ok(), allowed(byte), "{byte:#x}");
    }
    let strict = RequestRules { reject_ambiguous_paths: true, ..H3 };
    for path in ["/a%2fb", "/a%2Fb", "/%5c", "/%5C", "/%00", "/a\\b"] {
        assert!(check(but(":path", Some(path)), H3).is_ok(), "{path}");
        assert_eq!(
            check(but(":path", Some(path)), strict),
            Err(CheckError::Invalid(InvalidReason::AmbiguousPath)),
            "{path}"
        );
    }
    for path in ["/a?b=%2f\\%00", "/%252f", "/%2e%2e", "/%"] {
        assert!(check(but(":path", Some(path)), strict).is_ok(), "{path}");
    }
}

#[test]
fn framing_of_http1() {
    let framing = |lines: Lines<'_>| check(with(GET, lines), H1);
    assert!(framing(&[("transfer-encoding", "Chunked")]).is_ok());
    let conflicts: &[Lines<'_>] = &[
        &[("transfer-encoding", "chunked"), ("content-length", "5")],
        &[("content-length", "5"), ("transfer-encoding", "chunked")],
        &[("transfer-encoding", "gzip, chunked")],
        &[("transfer-encoding", "identity")],
        &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
    ];
    for lines in conflicts {
        assert_eq!(framing(lines), Err(CheckError::Invalid(InvalidReason::ConflictingFraming)), "{lines:?}");
    }
}

#[test]
fn connect_targets() {
    let connect = |authority| fields(&[(":method", "CONNECT"), (":authority", authority)]);
    let invalid = |details| Err(CheckError::Invalid(details));
    for target in ["a", "a:0", "a:", "a:x", ":1", "a:70000", "[::1]", "a/b:1"] {
        assert_eq!(check(connect(target), H3), invalid(InvalidReason::InvalidConnectTarget), "{target}");
    }
    assert_eq!(check(connect("u@a:1"), H3), invalid(InvalidReason::InvalidAuthority));
    assert!(check(connect("[::1]:443"), H3).is_ok());
    let with_length = with(&[(":method", "CONNECT"), (":authority", "a:1")], &[("content-length", "5")]);
    assert_eq!(check(with_length, H3), Ok((Method::Connect, None)), "a tunnel has no length");
}

#[test]
fn responses() {
    const MAX_SECTION: usize = 3 * 32 + 60;
    let outcome = |lines: Lines<'_>, protocol| {
        response(fields(lines), MAX_SECTION, protocol).map(|head| (head.status, head.fields.len(), head.content_length))
    };
    let ok: Lines<'_> = &[(":status", "200"), ("content-length", "3"), ("x-a", "b")];
    assert_eq!(outcome(ok, Protocol::Http2), Ok((200, 2, Some(3))));
    assert_eq!(outcome(&[(":status", "103")], Protocol::Http2), Ok((103, 0, None)));
    for status in ["", "20", "2000", "2x0", "099", "+20", "101"] {
        assert!(outcome(&[(":status", status)], Protocol::Http2).is_err(), "{status}");
    }
    let wrong: &[Lines<'_>] = &[
        &[],
        &[("x-a", "b")],
        &[("x-a", "b"), (":status", "200")],
        &[(":status", "200"), (":status", "200")],
        &[(":status", "200"), (":path", "/")],
        &[(":status", "200"), (":own", "/")],
        &[(":status", "200"), ("X-A", "b")],
        &[(":status", "200"), ("x-a", "b\n")],
        &[(":status", "200"), ("x-a", "b\u{1}")],
        &[(":status", "200"), ("x-a", "b\u{7f}c")],
        &[(":status", "200"), ("x-a", " b")],
        &[(":status", "200"), ("content-length", "x")],
        &[(":status", "200"), ("content-length", "1"), ("content-length", "2")],
        &[(":status", "200"), ("connection", "close")],
        &[(":status", "200"), ("transfer-encoding", "chunked")],
    ];
    for lines in wrong {
        assert!(matches!(outcome(lines, Protocol::Http2), Err(ResponseError::Malformed(_))), "{lines:?}");
    }
    let sized = |len: usize| {
        let value = "v".repeat(len);
        outcome(&[(":status", "200"), ("x-a", &value)], Protocol::Http2)
    };
    assert_eq!(sized(MAX_SECTION - 2 * 32 - 10 - 3), Ok((200, 1, None)));
    assert_eq!(sized(MAX_SECTION - 2 * 32 - 10 - 3 + 1), Err(ResponseError::TooLarge));
    let many: Lines<'_> = &[(":status", "200"), ("a", ""), ("b", ""), ("c", ""), ("d", "")];
    assert_eq!(outcome(many, Protocol::Http2), Err(ResponseError::TooLarge), "each field counts 32 bytes");
    let many = [&[(":status", "200")][..], &[("a", "b"); 200]].concat();
    let outcome = response(fields(&many), 65_536, Protocol::Http2).map(|head| head.fields.len());
    assert_eq!(outcome, Ok(200), "no other limit");
}

#[test]
fn trailers_of_both_sides() {
    let limits = HeadLimits { max_fields: 2, max_bytes: 40 };
    for fine in [&[("grpc-status", "0"), ("x-a", "b")][..], &[]] {
        assert_eq!(request_trailers(&fields(fine), &limits), Ok(()));
        assert_eq!(response_trailers(&fields(fine), 2 * 32 + 16), Ok(()));
    }
    let wrong: &[Lines<'_>] = &[
        &[(":path", "/")],
        &[(":status", "200")],
        &[(":own", "")],
        &[("X-A", "b")],
        &[("x-a", "b\r\nc: d")],
        &[("x-a", "b\u{7f}")],
        &[("transfer-encoding", "chunked")],
    ];
    for lines in wrong {
        assert!(matches!(request_trailers(&fields(lines), &limits), Err(CheckError::Malformed { .. })), "{lines:?}");
        let outcome = response_trailers(&fields(lines), 1000);
        assert!(matches!(outcome, Err(ResponseError::Malformed(_))), "{lines:?}");
    }
    let many: Lines<'_> = &[("a", ""), ("b", ""), ("c", "")];
    assert_eq!(request_trailers(&fields(many), &limits), Err(CheckError::TooManyFields));
    assert_eq!(request_trailers(&fields(&[("a", &"b".repeat(40))]), &limits), Err(CheckError::TooLarge));
    assert_eq!(response_trailers(&fields(many), 3 * 33), Ok(()));
    assert_eq!(response_trailers(&fields(many), 3 * 33 - 1), Err(ResponseError::TooLarge));
}

#[test]
fn body_lengths() {
    let mut open = BodyLength::new(None);
    assert_eq!((open.add(u64::MAX), open.add(1), open.finish()), (Ok(()), Ok(()), Ok(())));
    let mut ten = BodyLength::new(Some(10));
    assert_eq!(ten.finish(), Err(LengthError::TooShort));
    assert_eq!((ten.add(4), ten.finish()), (Ok(()), Err(LengthError::TooShort)));
    assert_eq!((ten.add(6), ten.finish()), (Ok(()), Ok(())));
    assert_eq!(ten.add(1), Err(LengthError::TooLong));
    assert_eq!(BodyLength::new(Some(0)).finish(), Ok(()));
}
