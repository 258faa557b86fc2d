//! Rules for messages on the wire: invalid messages are not forwarded, and an error of a client is never counted as a fault of
//! a backend.

use http::Request;
use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::client::raw::{Answer, End};
use spooky_testkit::origin::Origin;
use spooky_testkit::rogue::{Fault, On, Rogue, Script, Step, answer, fields, flag, kind as h2, setting};

use crate::proxy::Proxy;

const H3_MESSAGE_ERROR: u64 = 0x10e;
/// More than the failure threshold of a backend.
const MANY: usize = 8;

type Lines<'a> = Vec<(&'a str, &'a str)>;

fn head<'a>(path: &'a str, more: &[(&'a str, &'a str)]) -> Lines<'a> {
    let mut lines = vec![(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    lines.extend_from_slice(more);
    lines
}

/// Returns the first value of a field in section `at`.
fn value<'a>(answer: &'a Answer, at: usize, name: &str) -> Option<&'a str> {
    answer.sections[at].iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

/// Requests to which backends would respond with a stream or connection error are not forwarded: the single backend
/// connection carries the upload of another client all the time.
#[tokio::test]
async fn what_backends_reset_is_refused_before_them() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("h2_connections_per_backend: 1")
    })
    .await;
    let normal = proxy.connect().await;
    let mut upload = normal.open(Request::post("https://localhost/echo").body(()).unwrap()).await.unwrap();
    upload.sending.data("first, ").await.unwrap();
    origin.journal().until("the upload", |record| record.requests.len() == 1).await;

    let attacker = proxy.greeted().await;
    for control in (0..0x20_u8).filter(|byte| *byte != b'\t').chain([0x7f]) {
        let value = format!("a{}b", char::from(control));
        for lines in [head("/", &[("x", &value)]), head("/", &[("user-agent", &value)]), head(&value, &[])] {
            let mut request = attacker.request(&frame::headers(&lines), true).await;
            assert_eq!(request.answer().await.unwrap_err(), End::Reset(H3_MESSAGE_ERROR), "{control:#x}");
        }
    }
    for path in ["/<", "/>", "/`", "/a?<", "/a?b=>", "/a?`"] {
        let answer = attacker.request(&frame::headers(&head(path, &[])), true).await.answer().await.unwrap();
        assert_eq!((answer.statuses(), &answer.body[..]), (vec!["400"], &b"invalid request\n"[..]), "{path}");
        let status = value(&answer, 0, "proxy-status");
        assert_eq!(status, Some("spooky; error=http_request_error; details=\"invalid path\""), "{path}");
    }
    assert_eq!(normal.get("/").await.unwrap().text(), "hello");
    upload.sending.data("second").await.unwrap();
    upload.sending.finish().await.unwrap();
    assert_eq!(upload.reading.reply().await.unwrap().text(), "first, second");
    let record = origin.journal().now();
    assert_eq!((record.connections, record.requests.len(), record.cancelled), (1, 2, 0));
    assert_eq!(proxy.count("became unhealthy"), 0);
}

fn limited(limit: u32) -> Fault {
    let mut script = Script::from(answer(5));
    script.settings = vec![(setting::MAX_HEADER_LIST_SIZE, limit)];
    script.after_request = true;
    Fault::Script(script)
}

/// The size of the head as sent to the backend counts, including fields added by Spooky; likewise for trailers.
#[tokio::test]
async fn the_backends_limit_on_header_lists_is_obeyed() {
    let rogue = Rogue::start(limited(2000)).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let (attacker, normal) = (proxy.greeted().await, proxy.connect().await);
    let large = "v".repeat(1500);
    // The first request waits for the connection, for the others it is open.
    for round in 0..MANY {
        let bytes = frame::headers(&head("/", &[("x-large", &large)]));
        let answer = attacker.request(&bytes, true).await.answer().await.unwrap();
        assert_eq!(answer.statuses(), ["431"], "{round}");
        assert_eq!(answer.body, b"request headers exceed size limit\n");
        let status = value(&answer, 0, "proxy-status");
        assert_eq!(status, Some("spooky; error=http_request_error; details=\"request headers too large\""));
        assert_eq!(normal.get("/").await.unwrap().body.len(), 5);
    }
    let large = "v".repeat(1990);
    for _ in 0..MANY {
        let post = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];
        let mut request = attacker.request(&frame::headers(&post), false).await;
        request.write(&frame::frame(kind::DATA, b"body")).await;
        request.write(&frame::headers(&[("x-sum", &large)])).await;
        request.end();
        assert_eq!(request.answer().await.unwrap().statuses(), ["431"], "trailers");
        assert_eq!(normal.get("/").await.unwrap().body.len(), 5);
    }
    let record = rogue.journal().now();
    assert_eq!((record.connections, record.requests.len()), (1, 3 * MANY));
    assert!(!record.requests.iter().any(|entry| entry.field("x-large").is_some()));
    assert_eq!(proxy.count("became unhealthy"), 0);
}

/// hyper announces 16 KiB. A head within Spooky's limit exceeds that, counted with 32 bytes per field.
#[tokio::test]
async fn a_real_backends_limit_on_header_lists_is_obeyed() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.greeted().await;
    let value = "v".repeat(120);
    let bytes = frame::headers(&head("/", &[("x", &value[..]); 110]));
    let answer = connection.request(&bytes, true).await.answer().await.unwrap();
    assert_eq!((answer.statuses(), origin.journal().now().requests.len()), (vec!["431"], 0));
    assert!(answer.sections[0].iter().any(|(name, _)| name == "proxy-status"), "it is Spooky's own answer");
    let bytes = frame::headers(&head("/", &[("x", &value[..]); 90]));
    assert_eq!(connection.request(&bytes, true).await.answer().await.unwrap().statuses(), ["200"]);
}

async fn tunnels(answer: Vec<Step>) -> (Rogue, Proxy) {
    let rogue = Rogue::answering(answer).await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[rogue.url()]).block("resilience:\n  protocol: { allow_connect: true }")
    })
    .await;
    (rogue, proxy)
}

/// A content-length would frame the first bytes of the tunnel, and let the backend inject HTTP/3 frames after them.
#[tokio::test]
async fn a_tunnel_has_no_length() {
    let ok = Step::Head(fields(&[(":status", "200"), ("content-length", "3"), ("x-from", "rogue")]), false);
    let (rogue, proxy) = tunnels(vec![ok, Step::Data(10, true)]).await;
    let connection = proxy.greeted().await;
    let connect = [(":method", "CONNECT"), (":authority", "db.example:5432"), ("content-length", "3")];
    let mut request = connection.request(&frame::headers(&connect), false).await;
    request.write(&frame::frame(kind::DATA, b"more than three")).await;
    request.end();
    let answer = request.answer().await.unwrap();
    assert_eq!((answer.statuses(), answer.sections.len(), &answer.body[..]), (vec!["200"], 1, &[b'r'; 10][..]));
    assert_eq!((value(&answer, 0, "content-length"), value(&answer, 0, "x-from")), (None, Some("rogue")));
    let record = rogue.journal().until("all of the upload", |record| record.body_bytes == 15).await;
    assert_eq!((record.requests[0].method.as_str(), record.requests[0].count("content-length")), ("CONNECT", 0));
}

/// Only DATA may follow the head of a tunnel (RFC 9113 section 8.5).
#[tokio::test]
async fn trailers_of_a_backend_end_its_tunnel_with_a_reset() {
    let ok = Step::Head(fields(&[(":status", "200")]), false);
    let trailers = Step::Head(fields(&[("x-sum", "1")]), true);
    let (rogue, proxy) = tunnels(vec![ok, Step::Data(10, false), trailers]).await;
    let connect = [(":method", "CONNECT"), (":authority", "db.example:5432")];
    let connection = proxy.greeted().await;
    let mut request = connection.request(&frame::headers(&connect), false).await;
    assert_eq!(request.answer().await.unwrap_err(), End::Reset(0x102), "H3_INTERNAL_ERROR");
    rogue.journal().until("the reset", |record| record.resets == [(1, 1)]).await;
}

/// A non-2xx response to CONNECT is an ordinary response.
#[tokio::test]
async fn a_refused_tunnel_keeps_its_length() {
    let refused = Step::Head(fields(&[(":status", "403"), ("content-length", "3")]), false);
    let (_rogue, proxy) = tunnels(vec![refused, Step::Data(3, true)]).await;
    let connect = [(":method", "CONNECT"), (":authority", "db.example:5432")];
    let connection = proxy.greeted().await;
    let answer = connection.request(&frame::headers(&connect), true).await.answer().await.unwrap();
    assert_eq!((answer.statuses(), value(&answer, 0, "content-length")), (vec!["403"], Some("3")));
    assert_eq!(answer.body, b"rrr");
}

/// Only DATA may follow the head of CONNECT (RFC 9114 section 4.4).
#[tokio::test]
async fn headers_in_a_tunnel_end_the_connection() {
    let (_rogue, proxy) = tunnels(vec![Step::Head(fields(&[(":status", "200")]), false)]).await;
    let connection = proxy.greeted().await;
    let connect = [(":method", "CONNECT"), (":authority", "db.example:5432")];
    let mut request = connection.request(&frame::headers(&connect), false).await;
    assert_eq!(request.frames.next().await.unwrap().kind, kind::HEADERS);
    request.write(&frame::headers(&[("x", "y")])).await;
    assert_eq!(connection.closed().await, Some(0x105), "H3_FRAME_UNEXPECTED");
}

/// Clients may misread a content-length on a response without a body.
#[tokio::test]
async fn interim_and_204_responses_have_no_length() {
    let early = Step::Head(fields(&[(":status", "103"), ("content-length", "7"), ("link", "</a>")]), false);
    let none = Step::Head(fields(&[(":status", "204"), ("content-length", "5"), ("x-from", "rogue")]), true);
    let rogue = Rogue::answering(vec![early, none]).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let answer = proxy.greeted().await.request(&frame::get("/"), true).await.answer().await.unwrap();
    assert_eq!(answer.statuses(), ["103", "204"]);
    assert_eq!((value(&answer, 0, "content-length"), value(&answer, 1, "content-length")), (None, None));
    assert_eq!((value(&answer, 0, "link"), value(&answer, 1, "x-from")), (Some("</a>"), Some("rogue")));
}

#[tokio::test]
async fn trailers_of_which_nothing_is_left_are_a_plain_end() {
    let ends = [
        // An empty section, and one whose fields are all removed.
        Step::Frame(h2::HEADERS, flag::END_HEADERS | flag::END_STREAM, On::Stream, bytes::Bytes::new()),
        Step::Head(fields(&[("trailer", "x"), ("content-length", "5"), ("alt-svc", "h3=\":1\"")]), true),
    ];
    for end in ends {
        let ok = Step::Head(fields(&[(":status", "200")]), false);
        let rogue = Rogue::answering(vec![ok, Step::Data(5, false), end]).await;
        let proxy = Proxy::before(&[rogue.url()]).await;
        let connection = proxy.greeted().await;
        let answer = connection.request(&frame::get("/"), true).await.answer().await.unwrap();
        assert_eq!((answer.sections.len(), answer.body.len()), (1, 5), "{:?}", answer.sections);

        let post = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];
        for (body, trailers) in [("body", vec![]), ("", vec![]), ("body", vec![("x-forwarded-for", "9.9.9.9")])] {
            let mut request = connection.request(&frame::headers(&post), false).await;
            if !body.is_empty() {
                request.write(&frame::frame(kind::DATA, body.as_bytes())).await;
            }
            request.write(&frame::headers(&trailers)).await;
            request.end();
            assert_eq!(request.answer().await.unwrap().statuses(), ["200"]);
        }
        let record = rogue.journal().until("the uploads", |record| record.body_bytes == 8).await;
        assert_eq!((record.requests.len(), record.empty_sections), (4, 0));
    }
}

#[tokio::test]
async fn a_response_may_have_as_many_fields_as_fit() {
    let with = |count: usize| {
        let mut lines = vec![(":status", "200")];
        lines.extend(std::iter::repeat_n(("x", "v"), count));
        Step::Head(fields(&lines), true)
    };
    let rogue = Rogue::answering(vec![with(1800)]).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let answer = proxy.greeted().await.request(&frame::get("/"), true).await.answer().await.unwrap();
    let count = answer.sections[0].iter().filter(|(name, _)| name == "x").count();
    assert_eq!((answer.statuses(), count), (vec!["200"], 1800));

    // 2000 fields of 34 bytes exceed 64 KiB. The client can cause that, so it is not a fault of the backend.
    let rogue = Rogue::answering(vec![with(2000)]).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let connection = proxy.greeted().await;
    for _ in 0..MANY {
        let answer = connection.request(&frame::get("/"), true).await.answer().await.unwrap();
        assert_eq!((answer.statuses(), &answer.body[..]), (vec!["502"], &b"upstream protocol error\n"[..]));
        let status = value(&answer, 0, "proxy-status").unwrap();
        assert!(status.starts_with("spooky; error=http_response_header_section_size; "), "{status}");
    }
    let record = rogue.journal().until("the resets", |record| record.resets.len() == MANY).await;
    assert_eq!((record.connections, record.requests.len()), (1, MANY));
    assert_eq!(proxy.count("became unhealthy"), 0);
}

#[tokio::test]
async fn many_small_cookies_are_one_field() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.greeted().await;
    let bytes = frame::headers(&head("/", &[("cookie", "a=1"); 300]));
    assert_eq!(connection.request(&bytes, true).await.answer().await.unwrap().statuses(), ["200"]);
    let seen = origin.journal().last();
    assert_eq!((seen.count("cookie"), seen.field("cookie")), (1, Some(vec!["a=1"; 300].join("; ").as_str())));
    let bytes = frame::headers(&head("/", &vec![("cookie", "a=1"); 2000]));
    let answer = connection.request(&bytes, true).await.answer().await.unwrap();
    assert_eq!((answer.statuses(), &answer.body[..]), (vec!["431"], &b"request headers exceed size limit\n"[..]));
}

#[tokio::test]
async fn an_empty_port_is_none() {
    let rogue = Rogue::answering(answer(5)).await;
    let proxy = Proxy::start_edited(
        |settings| settings.upstream("all", "/", &[rogue.url()]),
        |text| text.replace("{ path_prefix: \"/\" }", "{ host: a.example, path_prefix: \"/\" }"),
    )
    .await;
    let connection = proxy.greeted().await;
    let lines = [(":method", "GET"), (":scheme", "https"), (":authority", "a.example:"), (":path", "/")];
    for more in [vec![], vec![("host", "A.example")]] {
        let bytes = frame::headers(&[&lines[..], &more].concat());
        assert_eq!(connection.request(&bytes, true).await.answer().await.unwrap().statuses(), ["200"]);
        assert_eq!(rogue.journal().last().authority, "a.example:", "byte for byte");
    }
}

/// CGI-style backends cannot distinguish `x_forwarded_for` from `x-forwarded-for`.
#[tokio::test]
async fn aliases_of_what_spooky_says_stay_behind() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.greeted().await;
    let more = [
        ("x_forwarded_for", "6.6.6.6"),
        ("x-forwarded_proto", "http"),
        ("x_real_ip", "6.6.6.6"),
        ("content_length", "9"),
        ("x_request_id", "theirs"),
        ("x_own", "kept"),
    ];
    connection.request(&frame::headers(&head("/", &more)), true).await.answer().await.unwrap();
    let seen = origin.journal().last();
    let with_underscore = seen.fields.iter().filter(|(name, _)| name.contains('_')).collect::<Vec<_>>();
    assert_eq!(with_underscore, [&("x_own".to_owned(), "kept".to_owned())]);
    assert_eq!((seen.field("x-forwarded-for"), seen.field("x-forwarded-proto")), (Some("127.0.0.1"), Some("https")));
}
