//! Forwarded heads, bodies and trailers: unchanged except for the rules of a proxy
//! (docs/reference/behaviour.md#header-fields).

use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::client::{Connection, get};
use spooky_testkit::origin::Origin;
use spooky_testkit::pattern::{Pattern, sha256};
use spooky_testkit::rogue::{Rogue, Step, answer, fields};

use crate::proxy::Proxy;

async fn site() -> (Origin, Proxy, Connection) {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.connect().await;
    (origin, proxy, connection)
}

fn request(method: Method, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://localhost{path}"))
}

#[tokio::test]
async fn answers_come_back_whole() {
    let (origin, proxy, connection) = site().await;
    let hello = connection.get("/").await.unwrap();
    assert_eq!((hello.status, hello.text()), (StatusCode::OK, "hello"));
    for len in [1, 16_384, 1_000_000] {
        let sized = connection.get(&format!("/bytes/{len}")).await.unwrap();
        assert_eq!(sized.field("content-length"), len.to_string());
        assert_eq!(sha256(&sized.body), Pattern::sha256(len, len));
        let unsized_ = connection.get(&format!("/chunks/{len}")).await.unwrap();
        assert_eq!(unsized_.field("content-length"), "");
        assert_eq!(sha256(&unsized_.body), Pattern::sha256(len, len));
    }
    for status in [204, 404, 500, 503] {
        let reply = connection.get(&format!("/status/{status}")).await.unwrap();
        assert_eq!((reply.status.as_u16(), reply.body.len()), (status, 0));
    }
    assert_eq!(origin.journal().now().connections, 1, "the connection to the backend is kept");
    drop(connection);
    proxy.stop().await;
}

#[tokio::test]
async fn uploads_arrive_whole() {
    let (origin, _proxy, connection) = site().await;
    for len in [0, 1, 100, 16_384, 100_001] {
        let body = Pattern::bytes(3, len);
        let reply = connection.post("/echo", body.clone()).await.unwrap();
        assert_eq!(reply.body, body);
        assert_eq!(origin.journal().last().field("content-length"), Some(len.to_string().as_str()));
        // Without content-length, none is added.
        let reply = connection.send(request(Method::PUT, "/echo").body(body.clone()).unwrap()).await.unwrap();
        assert_eq!(reply.body, body);
        let seen = origin.journal().last();
        assert_eq!((seen.method.as_str(), seen.count("content-length")), ("PUT", 0));
    }
}

#[tokio::test]
async fn the_length_of_a_body_that_does_not_come_is_kept() {
    let head = fields(&[(":status", "200"), ("content-length", "12345")]);
    let rogue = Rogue::answering(vec![Step::Head(head, true)]).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let head = request(Method::HEAD, "/").body("".into()).unwrap();
    let reply = proxy.connect().await.send(head).await.unwrap();
    assert_eq!((reply.status, reply.field("content-length"), reply.body.len()), (StatusCode::OK, "12345", 0));

    let head = fields(&[(":status", "304"), ("content-length", "777"), ("etag", "\"v1\"")]);
    let rogue = Rogue::answering(vec![Step::Head(head, true)]).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let reply = proxy.connect().await.get("/").await.unwrap();
    assert_eq!((reply.status.as_u16(), reply.field("content-length"), reply.field("etag")), (304, "777", "\"v1\""));
}

/// Responses without a body: if the backend sends one anyway, the stream is reset and other streams are not affected.
#[tokio::test]
async fn a_body_where_there_is_none_is_dropped() {
    let cases = [("HEAD", "200"), ("HEAD", "404"), ("GET", "304"), ("GET", "204")];
    for (method, status) in cases {
        let head = fields(&[(":status", status), ("content-length", "5"), ("x-from", "rogue")]);
        let rogue = Rogue::answering(vec![Step::Head(head, false), Step::Data(5, false), Step::Data(5, true)]).await;
        let proxy = Proxy::before(&[rogue.url()]).await;
        let connection = proxy.connect().await;
        for round in 0..2 {
            let asked = request(Method::from_bytes(method.as_bytes()).unwrap(), "/").body("".into()).unwrap();
            let reply = connection.send(asked).await.unwrap_or_else(|end| panic!("{method} {status} {round}: {end:?}"));
            assert_eq!((reply.status.as_str(), reply.field("x-from"), reply.body.len()), (status, "rogue", 0));
        }
        let record = rogue.journal().until("two resets", |record| record.resets.len() == 2).await;
        let cancel = 8;
        assert_eq!((record.resets, record.connections), (vec![(1, cancel), (3, cancel)], 1), "{method} {status}");
    }
}

#[tokio::test]
async fn trailers_pass_in_both_directions() {
    let (_origin, _proxy, connection) = site().await;
    let reply = connection.get("/trailers").await.unwrap();
    assert_eq!(reply.text(), "body");
    let trailers = reply.trailers.expect("trailers");
    assert_eq!((&trailers["x-first"], &trailers["x-second"]), (&"1".parse().unwrap(), &"2".parse().unwrap()));

    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", HeaderValue::from_static("42"));
    for (path, body) in [("/digest", "some bytes"), ("/digest", "")] {
        let mut exchange = connection.open(request(Method::POST, path).body(()).unwrap()).await.unwrap();
        if !body.is_empty() {
            exchange.sending.data(body).await.unwrap();
        }
        exchange.sending.trailers(trailers.clone()).await.unwrap();
        exchange.sending.finish().await.unwrap();
        let reply = exchange.reading.reply().await.unwrap();
        assert_eq!(reply.text(), format!("{} {}", body.len(), sha256(body.as_bytes())));
        assert_eq!(reply.field("x-trailer-x-sum"), "42");
    }
}

/// Trailers must not contain fields that are allowed only in heads, or that backends trust only from Spooky.
#[tokio::test]
async fn trailers_carry_no_framing_and_no_identity() {
    let (_origin, proxy, _) = site().await;
    let connection = proxy.greeted().await;
    let head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/digest")];
    let mut request = connection.request(&frame::headers(&head), false).await;
    let sent =
        [("x-sum", "1"), ("x-forwarded-for", "192.0.2.1"), ("content-length", "9"), ("trailer", "x"), ("te", "x")];
    request.write(&frame::headers(&sent)).await;
    request.end();
    let answer = request.answer().await.unwrap();
    let passed: Vec<_> = answer.sections[0].iter().filter(|(name, _)| name.starts_with("x-trailer-")).collect();
    assert_eq!(passed, [&("x-trailer-x-sum".to_owned(), "1".to_owned())]);

    let trailers =
        fields(&[("content-length", "9"), ("x-sum", "2"), ("trailer", "x"), ("proxy-authenticate", "Basic")]);
    let head = Step::Head(fields(&[(":status", "200")]), false);
    let rogue = Rogue::answering(vec![head, Step::Data(5, false), Step::Head(trailers, true)]).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let answer = proxy.greeted().await.request(&frame::get("/"), true).await.answer().await.unwrap();
    assert_eq!(answer.sections.last(), Some(&vec![("x-sum".to_owned(), "2".to_owned())]));
}

#[tokio::test]
async fn interim_responses_pass_in_order() {
    let early = |link: &str| Step::Head(fields(&[(":status", "103"), ("link", link)]), false);
    let mut steps = vec![early("</a>"), early("</b>")];
    steps.extend(answer(5));
    let rogue = Rogue::answering(steps).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let connection = proxy.greeted().await;
    let answer = connection.request(&frame::get("/"), true).await.answer().await.unwrap();
    assert_eq!(answer.statuses(), ["103", "103", "200"]);
    let link = |at: usize| answer.sections[at].iter().find(|(name, _)| name == "link").map(|(_, value)| value.as_str());
    assert_eq!((link(0), link(1), answer.body.len()), (Some("</a>"), Some("</b>"), 5));
}

#[tokio::test]
async fn method_path_and_query_arrive_byte_for_byte() {
    let origin = Rogue::answering(answer(5)).await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.greeted().await;
    let paths = [
        "/?",
        "/?a=b&c=%20%2f&&=",
        "//double//slash/",
        "/a;p=1/b,c/%7Euser/~user/",
        "/x?y=/../z",
        "/%E2%82%AC/%e2%82%ac",
        "/plus+and%2Bplus?q=a+b",
        "/!$&'()*,;=:@/|\"[]\\^{}?|\"[]\\^{}",
    ];
    for path in paths {
        let head = [(":method", "PROPFIND"), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
        let answer = connection.request(&frame::headers(&head), true).await.answer().await.unwrap();
        assert!(!answer.statuses().is_empty(), "{path}");
        let seen = origin.journal().last();
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("PROPFIND", path));
    }
}

#[tokio::test]
async fn the_backend_learns_who_asked() {
    let (origin, proxy, _) = site().await;
    let client = proxy.client();
    let connection = client.connect(proxy.settings.addr(), "localhost").await;
    let mut request = get("/");
    for (name, value) in [
        ("forwarded", "for=6.6.6.6"),
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "gopher"),
        ("x-real-ip", "6.6.6.6"),
        ("via", "1.0 before"),
    ] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    connection.send(request).await.unwrap();
    let seen = origin.journal().last();
    let port = proxy.settings.addr().port().to_string();
    assert_eq!(seen.authority, "localhost");
    assert_eq!(seen.field("forwarded"), Some("for=127.0.0.1;proto=https;host=\"localhost\""));
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("x-forwarded-host"), Some("localhost"));
    assert_eq!(seen.field("x-forwarded-port"), Some(port.as_str()));
    assert_eq!(seen.field("x-real-ip"), None);
    assert_eq!(all(&seen.fields, "via"), "1.0 before, 3.0 spooky");
}

/// Returns all values of a field, joined.
fn all(fields: &[(String, String)], name: &str) -> String {
    let values = fields.iter().filter(|(found, _)| found == name).map(|(_, value)| value.as_str());
    values.collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn the_response_says_what_it_came_through() {
    let head = fields(&[
        (":status", "200"),
        ("via", "1.1 inner"),
        ("alt-svc", "h3=\":1\""),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("x-order", "1"),
        ("x-other", ""),
        ("x-order", "2"),
    ]);
    let rogue = Rogue::answering(vec![Step::Head(head, true)]).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let connection = proxy.greeted().await;
    let answer = connection.request(&frame::get("/"), true).await.answer().await.unwrap();
    let section = &answer.sections[0];
    assert_eq!(all(section, "via"), "1.1 inner, 2.0 spooky");
    assert!(!all(section, "alt-svc").contains(":1\""), "a backend's own alt-svc is removed");
    assert_eq!((all(section, "set-cookie"), all(section, "x-order")), ("a=1, b=2".into(), "1, 2".into()));
    assert!(section.iter().any(|(name, value)| name == "x-other" && value.is_empty()));
}

#[tokio::test]
async fn a_request_id_is_kept_or_made() {
    let (origin, _proxy, connection) = site().await;
    let longest = "a".repeat(128);
    let mut made = Vec::new();
    let cases = [
        ("order-66/A_b.c~+=:@-9", true),
        (longest.as_str(), true),
        ("white space", false),
        ("semi;colon", false),
        (&format!("{longest}b"), false),
        ("", false),
    ];
    for (id, is_kept) in cases {
        let mut request = get("/");
        request.headers_mut().insert("x-request-id", HeaderValue::from_str(id).unwrap());
        connection.send(request).await.unwrap();
        let seen = origin.journal().last();
        let found = seen.field("x-request-id").expect("a request id").to_owned();
        assert_eq!(seen.count("x-request-id"), 1);
        assert_eq!(found == id, is_kept, "{id:?} became {found:?}");
        if !is_kept {
            assert_eq!((found.len(), found.as_bytes()[14]), (36, b'7'), "{found:?} is no UUIDv7");
            made.push(found);
        }
    }
    connection.get("/").await.unwrap();
    made.push(origin.journal().last().field("x-request-id").expect("a request id").to_owned());
    let count = made.len();
    made.sort();
    made.dedup();
    assert_eq!(made.len(), count, "ids repeat");
}

#[tokio::test]
async fn fields_of_one_hop_stay_behind() {
    let (origin, proxy, _) = site().await;
    let connection = proxy.greeted().await;
    let head = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/"),
        ("cookie", "a=1"),
        ("x-first", "1"),
        ("cookie", "b=2"),
        ("te", "trailers"),
        ("proxy-authorization", "Basic Zm9v"),
        ("trailer", "x-sum"),
        ("early-data", "1"),
        ("expect", "something"),
        ("priority", "u=1"),
        ("x-last", "2"),
        ("cookie", "c=3"),
    ];
    connection.request(&frame::headers(&head), true).await.answer().await.unwrap();
    let seen = origin.journal().last();
    assert_eq!((seen.count("cookie"), seen.field("cookie")), (1, Some("a=1; b=2; c=3")));
    assert_eq!(seen.field("te"), Some("trailers"));
    for gone in ["proxy-authorization", "trailer", "early-data", "host"] {
        assert_eq!(seen.count(gone), 0, "{gone}");
    }
    assert_eq!((seen.field("expect"), seen.field("priority")), (Some("something"), Some("u=1")));
    let own: Vec<_> = seen.fields.iter().filter(|(name, _)| name.starts_with("x-first") || name == "x-last").collect();
    assert_eq!(own.iter().map(|(_, value)| value.as_str()).collect::<Vec<_>>(), ["1", "2"]);
}

#[tokio::test]
async fn many_streams_of_one_connection_run_at_once() {
    let (origin, _proxy, connection) = site().await;
    let mut gated = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let connection = connection.clone();
        gated.spawn(async move { connection.get("/gate").await });
    }
    origin.journal().until("all requests at the origin", |record| record.requests.len() == 60).await;
    origin.open_gate();
    while let Some(reply) = gated.join_next().await {
        assert_eq!(reply.unwrap().unwrap().text(), "through");
    }
}

#[tokio::test]
async fn a_body_in_many_small_frames_is_one_body() {
    let (_origin, proxy, _) = site().await;
    let connection = proxy.greeted().await;
    let head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/digest")];
    let mut request = connection.request(&frame::headers(&head), false).await;
    let body = Pattern::bytes(9, 3000);
    for piece in body.chunks(7) {
        request.write(&frame::frame(kind::DATA, piece)).await;
        request.write(&frame::frame(kind::DATA, b"")).await;
    }
    request.end();
    let answer = request.answer().await.unwrap();
    assert_eq!(String::from_utf8(answer.body).unwrap(), format!("3000 {}", Pattern::sha256(9, 3000)));
}
