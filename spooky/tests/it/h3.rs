//! Stream and connection errors of clients, and unusual but valid requests
//! (docs/reference/behaviour.md#http3-errors, docs/reference/behaviour.md#request-checks).

use bytes::BytesMut;
use spooky_testkit::client::frame::{self, kind, stream};
use spooky_testkit::client::qpack;
use spooky_testkit::client::raw::{self, End};
use spooky_testkit::origin::Origin;
use spooky_testkit::rogue::{Rogue, answer};
use spooky_testkit::wait;

use crate::proxy::Proxy;

const GENERAL_ERRORS: std::ops::Range<u64> = 0x100..0x111;

async fn site() -> (Origin, Proxy) {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    (origin, proxy)
}

async fn works(connection: &raw::Connection, what: &str) {
    let answer = connection.request(&frame::get("/"), true).await.answer().await;
    let answer = answer.unwrap_or_else(|end| panic!("after {what}: {end:?}"));
    assert_eq!((answer.statuses(), answer.body.as_slice()), (vec!["200"], &b"hello"[..]), "after {what}");
}

/// Returns the bytes of a unidirectional stream: its type, then these parts.
fn uni(kind: u64, parts: &[&[u8]]) -> BytesMut {
    let mut out = BytesMut::new();
    frame::put_varint(&mut out, kind);
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

#[tokio::test]
async fn faults_of_control_streams_end_the_connection() {
    let settings = frame::settings(&[]);
    let control = |parts: &[&[u8]]| vec![uni(stream::CONTROL, parts)];
    let goaway = frame::number(kind::GOAWAY, 0);
    let (up, down) = (frame::number(kind::MAX_PUSH_ID, 9), frame::number(kind::MAX_PUSH_ID, 3));
    let with = |more: &[u8]| control(&[&settings, more]);
    let cases = [
        ("no SETTINGS first", control(&[&goaway]), 0x10a),
        (
            "a second control stream",
            vec![uni(stream::CONTROL, &[&settings]), uni(stream::CONTROL, &[&settings])],
            0x103,
        ),
        ("a push stream", vec![uni(stream::CONTROL, &[&settings]), uni(stream::PUSH, &[&[0]])], 0x103),
        ("SETTINGS twice", with(&settings), 0x105),
        ("DATA on the control stream", with(&frame::frame(kind::DATA, b"x")), 0x105),
        ("HEADERS on the control stream", with(&frame::get("/")), 0x105),
        ("PUSH_PROMISE on the control stream", with(&frame::frame(kind::PUSH_PROMISE, &[0])), 0x105),
        ("a frame type of HTTP/2", with(&frame::frame(0x6, &[0; 8])), 0x105),
        ("a setting of HTTP/2", control(&[&frame::settings(&[(0x4, 1)])]), 0x109),
        ("a setting twice", control(&[&frame::settings(&[(0x6, 1), (0x6, 1)])]), 0x109),
        ("a setting cut short", control(&[&frame::frame(kind::SETTINGS, &[0x06])]), 0x106),
        ("MAX_PUSH_ID that falls", with(&[&up[..], &down[..]].concat()), 0x108),
        ("MAX_PUSH_ID with a tail", with(&frame::frame(kind::MAX_PUSH_ID, &[1, 1])), 0x106),
        ("CANCEL_PUSH of nothing", with(&frame::number(kind::CANCEL_PUSH, 7)), 0x108),
        (
            "an encoder beyond the capacity",
            vec![uni(stream::CONTROL, &[&settings]), uni(stream::ENCODER, &[&[0x3f, 0xe1, 0x1f]])],
            0x201,
        ),
        (
            "a decoder that counts what was not sent",
            vec![uni(stream::CONTROL, &[&settings]), uni(stream::DECODER, &[&[0x01]])],
            0x202,
        ),
        ("two encoders", vec![uni(stream::ENCODER, &[]), uni(stream::ENCODER, &[])], 0x103),
    ];
    let (_origin, proxy) = site().await;
    for (what, streams, code) in cases {
        let connection = proxy.raw().await;
        for bytes in streams {
            connection.uni(&bytes).await;
        }
        assert_eq!(connection.closed().await, Some(code), "{what}");
    }
    works(&proxy.greeted().await, "all of them").await;
}

#[tokio::test]
async fn the_control_stream_must_stay() {
    let (_origin, proxy) = site().await;
    for is_reset in [false, true] {
        let connection = proxy.raw().await;
        let mut control = connection.open_uni().await;
        control.write_all(&uni(stream::CONTROL, &[&frame::settings(&[])])).await.unwrap();
        works(&connection, "SETTINGS").await;
        if is_reset {
            control.reset(0x10cu32.into()).unwrap();
        } else {
            control.finish().unwrap();
        }
        assert_eq!(connection.closed().await, Some(0x104));
    }
}

#[tokio::test]
async fn faults_of_framing_on_a_request_end_the_connection() {
    let get = frame::get("/");
    let cases = [
        ("DATA first", frame::frame(kind::DATA, b"x").to_vec(), 0x105),
        ("SETTINGS", [&get[..], &frame::settings(&[])[..]].concat(), 0x105),
        ("GOAWAY", [&get[..], &frame::number(kind::GOAWAY, 0)[..]].concat(), 0x105),
        ("PUSH_PROMISE", [&get[..], &frame::frame(kind::PUSH_PROMISE, &[0, 0, 0])[..]].concat(), 0x105),
        ("a frame type of HTTP/2", [&get[..], &frame::frame(0x9, &[])[..]].concat(), 0x105),
        ("a frame cut by the end", [&get[..], &frame::claimed(kind::DATA, 10, b"12345")[..]].concat(), 0x106),
        ("a head cut by the end", get[..get.len() - 3].to_vec(), 0x106),
        (
            "DATA after trailers",
            [&get[..], &frame::headers(&[("x", "y")])[..], &frame::frame(kind::DATA, b"x")[..]].concat(),
            0x105,
        ),
        ("a reference to the dynamic table", frame::frame(kind::HEADERS, &[0x02, 0x00, 0x80]).to_vec(), 0x200),
        ("an index beyond the static table", frame::frame(kind::HEADERS, &[0, 0, 0xff, 0xff, 0x01]).to_vec(), 0x200),
        ("an empty field section", frame::frame(kind::HEADERS, &[]).to_vec(), 0x200),
    ];
    let (_origin, proxy) = site().await;
    for (what, bytes, code) in cases {
        let connection = proxy.greeted().await;
        let _request = connection.request(&bytes, true).await;
        assert_eq!(connection.closed().await, Some(code), "{what}");
    }
    works(&proxy.greeted().await, "all of them").await;
}

#[tokio::test]
async fn malformed_requests_end_their_stream_alone() {
    const H3_MESSAGE_ERROR: u64 = 0x10e;
    let (method, scheme, authority, path) =
        ((":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/"));
    let cases: Vec<(&str, Vec<(&str, &str)>)> = vec![
        ("no method", vec![scheme, authority, path]),
        ("no scheme", vec![method, authority, path]),
        ("no path", vec![method, scheme, authority]),
        ("no authority", vec![method, scheme, path]),
        ("empty path", vec![method, scheme, authority, (":path", "")]),
        ("two paths", vec![method, scheme, authority, path, path]),
        ("a status", vec![method, scheme, authority, path, (":status", "200")]),
        ("an unknown pseudo-header", vec![method, scheme, authority, path, (":protocol2", "x")]),
        ("a late pseudo-header", vec![method, scheme, authority, ("x", "y"), path]),
        ("upper case", vec![method, scheme, authority, path, ("X-Upper", "y")]),
        ("white space in a name", vec![method, scheme, authority, path, ("a b", "y")]),
        ("an empty name", vec![method, scheme, authority, path, ("", "y")]),
        ("CR", vec![method, scheme, authority, path, ("x", "a\rb")]),
        ("LF", vec![method, scheme, authority, path, ("x", "a\nb")]),
        ("NUL", vec![method, scheme, authority, path, ("x", "a\0b")]),
        ("SOH", vec![method, scheme, authority, path, ("x", "a\u{1}b")]),
        ("DEL", vec![method, scheme, authority, path, ("cookie", "a\u{7f}")]),
        ("a control character in a path", vec![method, scheme, authority, (":path", "/\u{1f}")]),
        ("white space around a value", vec![method, scheme, authority, path, ("x", " y")]),
        ("connection", vec![method, scheme, authority, path, ("connection", "close")]),
        ("transfer-encoding", vec![method, scheme, authority, path, ("transfer-encoding", "chunked")]),
        ("upgrade", vec![method, scheme, authority, path, ("upgrade", "h2c")]),
        ("te other than trailers", vec![method, scheme, authority, path, ("te", "gzip")]),
        ("a length that is no number", vec![method, scheme, authority, path, ("content-length", "+1")]),
        ("two lengths", vec![method, scheme, authority, path, ("content-length", "1"), ("content-length", "2")]),
        ("a length without a body", vec![method, scheme, authority, path, ("content-length", "1")]),
    ];
    let (origin, proxy) = site().await;
    let connection = proxy.greeted().await;
    for (what, head) in cases {
        let mut request = connection.request(&frame::headers(&head), true).await;
        assert_eq!(request.answer().await.unwrap_err(), End::Reset(H3_MESSAGE_ERROR), "{what}");
    }
    works(&connection, "all of them").await;
    let completed = origin.journal().until("the good one", |record| record.completed == 1).await;
    let others = completed.requests.iter().filter(|entry| entry.field("content-length").is_none()).count();
    assert_eq!(others, 1, "a malformed request reached the origin");
}

#[tokio::test]
async fn malformed_trailers_end_their_stream_alone() {
    let (origin, proxy) = site().await;
    let connection = proxy.greeted().await;
    let head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/digest")];
    for trailer in [(":path", "/"), ("X", "y"), ("x", "a\nb"), ("x", "a\u{7f}")] {
        let mut request = connection.request(&frame::headers(&head), false).await;
        request.write(&frame::frame(kind::DATA, b"body")).await;
        request.write(&frame::headers(&[trailer])).await;
        request.end();
        assert_eq!(request.answer().await.unwrap_err(), End::Reset(0x10e), "{trailer:?}");
    }
    works(&connection, "all of them").await;
    assert_eq!(origin.journal().read(|record| record.completed), 1, "a cut request was answered");
}

#[tokio::test]
async fn a_stream_that_ends_before_a_request_is_incomplete() {
    let (_origin, proxy) = site().await;
    let connection = proxy.greeted().await;
    let mut request = connection.request(&[], true).await;
    assert_eq!(request.answer().await.unwrap_err(), End::Reset(0x10d), "H3_REQUEST_INCOMPLETE");
    works(&connection, "it").await;
}

#[tokio::test]
async fn what_is_unknown_is_ignored() {
    let (_origin, proxy) = site().await;
    let connection = proxy.raw().await;
    // Reserved settings, a reserved frame, then a stream of a reserved type (RFC 9114 7.2.4.1, 7.2.8, 6.2.3).
    let settings = frame::settings(&[(0x21, 7), (0x1f * 5 + 0x21, 1), (0xabcd, 3), (0x33, 1)]);
    let grease = frame::frame(0x1f * 3 + 0x21, b"grease");
    connection.uni(&uni(stream::CONTROL, &[&settings, &grease, &grease])).await;
    connection.uni(&uni(0x1f * 7 + 0x21, &[b"whatever"])).await;
    connection.uni(&uni(0x54, &[&[0xff; 5000]])).await;
    connection.uni(&uni(stream::ENCODER, &[&[0x20]])).await;
    let mut bytes = grease.to_vec();
    bytes.extend_from_slice(&frame::get("/"));
    bytes.extend_from_slice(&grease);
    let answer = connection.request(&bytes, true).await.answer().await.unwrap();
    assert_eq!((answer.statuses(), answer.body.as_slice()), (vec!["200"], &b"hello"[..]));
    works(&connection, "grease").await;
}

#[tokio::test]
async fn the_server_keeps_the_rules_of_its_own_streams() {
    let (_origin, proxy) = site().await;
    let connection = proxy.greeted().await;
    let mut control = connection.control().await;
    let first = control.next().await.unwrap();
    assert_eq!(first.kind, kind::SETTINGS);
    let mut settings = Vec::new();
    let mut rest = &first.payload[..];
    while let Some((id, len)) = frame::read_varint(rest) {
        let (value, more) = frame::read_varint(&rest[len..]).expect("a whole setting");
        settings.push((id, value));
        rest = &rest[len + more..];
    }
    let limit = settings.iter().find(|(id, _)| *id == 0x6).expect("SETTINGS_MAX_FIELD_SECTION_SIZE").1;
    assert_eq!(limit, 16_384 + 32 * 128);
    assert!(settings.contains(&(0x8, 1)), "extended CONNECT: {settings:?}");
}

#[tokio::test]
async fn heads_over_the_limits_are_431_and_far_over_them_a_reset() {
    // An origin without its own limits.
    let origin = Rogue::answering(answer(5)).await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.greeted().await;
    let base = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];
    let with = |count: usize, value: &str| {
        let mut head = base.to_vec();
        head.extend(std::iter::repeat_n(("x", value), count));
        frame::headers(&head)
    };
    let big = |len: usize| "v".repeat(len);
    let fits = connection.request(&with(124, "v"), true).await.answer().await.unwrap();
    assert_eq!(fits.statuses(), ["200"]);
    let fits = connection.request(&with(1, &big(16_000)), true).await.answer().await.unwrap();
    assert_eq!(fits.statuses(), ["200"]);
    for (what, head, text) in [
        ("fields", with(125, "v"), "too many request headers\n"),
        ("bytes", with(1, &big(16_400)), "request headers exceed size limit\n"),
        ("many bytes", with(4, &big(15_000)), "request headers exceed size limit\n"),
    ] {
        let answer = connection.request(&head, true).await.answer().await.unwrap();
        assert_eq!((answer.statuses(), String::from_utf8_lossy(&answer.body)), (vec!["431"], text.into()), "{what}");
    }
    let mut request = connection.request(&with(5, &big(16_000)), true).await;
    assert_eq!(request.answer().await.unwrap_err(), End::Reset(0x107), "H3_EXCESSIVE_LOAD");
    let fits = connection.request(&frame::get("/"), true).await.answer().await.unwrap();
    assert_eq!(fits.statuses(), ["200"]);
    assert_eq!(origin.journal().now().requests.len(), 3);
}

#[tokio::test]
async fn heads_that_cannot_be_meant_are_400() {
    let head = |scheme: &'static str, authority: &'static str, path: &'static str| {
        vec![(":method", "GET"), (":scheme", scheme), (":authority", authority), (":path", path)]
    };
    let mut differs = head("https", "localhost", "/");
    differs.push(("host", "other.example"));
    let mut same = head("https", "localhost", "/");
    same.push(("host", "LOCALHOST:443"));
    let cases = [
        ("user information", head("https", "user@localhost", "/"), "invalid authority"),
        ("a port that is none", head("https", "localhost:99999", "/"), "invalid authority"),
        ("a scheme", head("ftp", "localhost", "/"), "invalid scheme"),
        ("no slash", head("https", "localhost", "x"), "invalid path"),
        ("a space", head("https", "localhost", "/a b"), "invalid path"),
        ("a fragment", head("https", "localhost", "/a#b"), "invalid path"),
        ("less than", head("https", "localhost", "/<"), "invalid path"),
        ("greater than", head("https", "localhost", "/a?b=>"), "invalid path"),
        ("a backtick", head("https", "localhost", "/`a"), "invalid path"),
        ("beyond ASCII", head("https", "localhost", "/\u{e9}"), "invalid path"),
        ("an asterisk", head("https", "localhost", "*"), "invalid path"),
        ("another host", differs, "authority and host differ"),
    ];
    let (origin, proxy) = site().await;
    let connection = proxy.greeted().await;
    for (what, head, details) in cases {
        let answer = connection.request(&frame::headers(&head), true).await.answer().await;
        let answer = answer.unwrap_or_else(|end| panic!("{what}: {end:?}"));
        assert_eq!((answer.statuses(), answer.body.as_slice()), (vec!["400"], &b"invalid request\n"[..]), "{what}");
        let status = answer.sections[0].iter().find(|(name, _)| name == "proxy-status").expect("proxy-status");
        assert_eq!(status.1, format!("spooky; error=http_request_error; details=\"{details}\""), "{what}");
    }
    let answer = connection.request(&frame::headers(&same), true).await.answer().await.unwrap();
    assert_eq!(answer.statuses(), ["200"]);
    assert_eq!(origin.journal().now().requests.len(), 1);
}

#[tokio::test]
async fn noise_on_any_stream_ends_at_most_its_connection() {
    let (_origin, proxy) = site().await;
    let witness = proxy.greeted().await;
    let mut rng = spooky_testkit::rng::Rng::new(5);
    for round in 0..60 {
        let connection = proxy.greeted().await;
        let noise: Vec<u8> = (0..rng.below(300)).map(|_| rng.next_u64() as u8).collect();
        let mut head =
            qpack::encode(&[(":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "x")]).to_vec();
        let at = rng.below(head.len() as u64) as usize;
        head[at] = rng.next_u64() as u8;
        let mut requests = vec![connection.request(&frame::frame(kind::HEADERS, &head), true).await];
        connection.uni(&noise).await;
        if let Ok((mut send, _recv)) = connection.quic().open_bi().await {
            let _ = send.write_all(&noise).await;
        }
        match requests.pop().unwrap().answer().await {
            Ok(_) | Err(End::Finished | End::Cut | End::Reset(_) | End::Connection(None)) => {}
            Err(End::Connection(Some(code))) => {
                assert!(GENERAL_ERRORS.contains(&code) || (0x200..0x203).contains(&code), "round {round}: {code:#x}");
            }
        }
        works(&witness, "noise on another connection").await;
    }
}

#[tokio::test]
async fn a_storm_of_cancelled_requests_ends_its_connection() {
    let (_origin, proxy) = site().await;
    let witness = proxy.greeted().await;
    let connection = proxy.greeted().await;
    let storm = async {
        for _ in 0..2000 {
            let Ok((mut send, mut recv)) = connection.quic().open_bi().await else { break };
            let _ = send.write_all(&frame::get("/hold")).await;
            let _ = send.reset(0x10cu32.into());
            let _ = recv.stop(0x10cu32.into());
        }
    };
    wait::within("the end of the storm", storm).await;
    assert_eq!(connection.closed().await, Some(0x107), "H3_EXCESSIVE_LOAD");
    works(&witness, "a storm on another connection").await;
}

#[tokio::test]
async fn a_flood_of_empty_frames_ends_its_connection() {
    let (_origin, proxy) = site().await;
    let witness = proxy.greeted().await;
    let head =
        frame::headers(&[(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/digest")]);
    let (empty, unknown) = (frame::frame(kind::DATA, b""), frame::frame(0x21, b"x"));
    for (what, useless, streams) in [("empty", &empty, 1), ("unknown", &unknown, 1), ("spread out", &empty, 20)] {
        let connection = proxy.greeted().await;
        let mut requests = Vec::new();
        for _ in 0..streams {
            let mut request = connection.request(&head, false).await;
            request.write(&useless.repeat(800 / streams)).await;
            requests.push(request);
        }
        assert_eq!(connection.closed().await, Some(0x107), "{what}: H3_EXCESSIVE_LOAD");
    }
    works(&witness, "floods on other connections").await;
}

/// 300 cancelled requests are below the limit, however they are cancelled.
#[tokio::test]
async fn a_request_that_is_reset_and_stopped_is_cancelled_once() {
    let (origin, proxy) = site().await;
    let connection = proxy.greeted().await;
    for round in 1..=6 {
        let mut requests = Vec::new();
        for _ in 0..50 {
            let (mut send, recv) = connection.quic().open_bi().await.unwrap();
            send.write_all(&frame::get("/hold")).await.unwrap();
            requests.push((send, recv));
        }
        origin.journal().until("the requests to arrive", |record| record.requests.len() == 50 * round).await;
        for (send, recv) in &mut requests {
            let _ = send.reset(0x10cu32.into());
            let _ = recv.stop(0x10cu32.into());
        }
    }
    works(&connection, "what it cancelled").await;
}

/// Cancellation before the head is complete.
#[tokio::test]
async fn a_cancelled_request_counts_once() {
    let (_origin, proxy) = site().await;
    let head = frame::get("/hold");
    for (what, bytes, count, code) in [
        ("both ways", &head[..], 400, None),
        ("without a head", &head[..3], 400, None),
        ("without a head, too often", &head[..3], 2000, Some(0x107)),
    ] {
        let connection = proxy.greeted().await;
        let cancel = async {
            for _ in 0..count {
                let Ok((mut send, mut recv)) = connection.quic().open_bi().await else { break };
                let _ = send.write_all(bytes).await;
                tokio::task::yield_now().await;
                let _ = send.reset(0x10cu32.into());
                let _ = recv.stop(0x10cu32.into());
            }
        };
        wait::within("the end of the requests", cancel).await;
        match code {
            None => works(&connection, what).await,
            Some(_) => assert_eq!(connection.closed().await, code, "{what}"),
        }
    }
}

/// Requests that arrive together with a connection error are not started: they would never end and keep their permits.
#[tokio::test]
async fn nothing_begins_on_a_connection_that_is_being_closed() {
    let origin = Origin::h2c().await;
    let proxy =
        Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).performance("global_inflight_limit: 4"))
            .await;
    let get = frame::get("/");
    for _ in 0..3 {
        let connection = proxy.greeted().await;
        works(&connection, "the greeting").await;
        // Written at once, so that it is sent in one datagram.
        let mut open = Vec::new();
        for at in 0..8 {
            let (mut send, recv) = connection.quic().open_bi().await.unwrap();
            send.write_all(if at == 0 { &[0x00, 0x01, b'x'] } else { &get[..] }).await.unwrap();
            send.finish().unwrap();
            open.push((send, recv));
        }
        assert_eq!(connection.closed().await, Some(0x105));
    }
    works(&proxy.greeted().await, "connections that were closed").await;
    assert_eq!(origin.journal().now().requests.len(), 4);
}

#[tokio::test]
async fn a_stream_of_an_unknown_type_is_stopped() {
    let (_origin, proxy) = site().await;
    let connection = proxy.greeted().await;
    // More than are tracked at the same time.
    for number in 0..100 {
        let mut unknown = connection.open_uni().await;
        let _ = unknown.write_all(&uni(0x1f * number + 0x21, &[b"whatever"])).await;
        let stopped = wait::within("STOP_SENDING", unknown.stopped()).await;
        let code = stopped.ok().flatten().map(quinn::VarInt::into_inner);
        assert_eq!(code, Some(0x103), "H3_STREAM_CREATION_ERROR for stream {number}");
    }
    works(&connection, "unknown streams").await;
}

#[tokio::test]
async fn trailers_obey_the_limits_of_heads() {
    let (origin, proxy) = site().await;
    let connection = proxy.greeted().await;
    let head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/digest")];
    let (many, big, huge) = (vec![("x", "y"); 129], "v".repeat(16_400), "v".repeat(70_000));
    let cases = [("fields", many), ("bytes", vec![("x", &big[..])]), ("far too many bytes", vec![("x", &huge[..])])];
    for (what, trailers) in cases {
        let mut request = connection.request(&frame::headers(&head), false).await;
        request.write(&frame::frame(kind::DATA, b"body")).await;
        request.write(&frame::headers(&trailers)).await;
        request.end();
        assert_eq!(request.answer().await.unwrap_err(), End::Reset(0x107), "H3_EXCESSIVE_LOAD: {what}");
    }
    works(&connection, "all of them").await;
    assert_eq!(origin.journal().read(|record| record.completed), 1, "a cut request was answered");
}

#[tokio::test]
async fn a_head_that_does_not_come_is_given_up_alone() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("client_header_timeout_ms: 50ms")
    })
    .await;
    let connection = proxy.raw().await;
    let head = frame::get("/");
    let (begun, rest) = head.split_at(head.len() - 1);
    let mut slow = connection.request(begun, false).await;
    assert_eq!(slow.answer().await.unwrap_err(), End::Reset(0x10d));
    slow.write(rest).await;
    works(&connection, "a head that came too late").await;
    assert_eq!(origin.journal().now().requests.len(), 1);
}
