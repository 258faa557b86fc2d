//! Requests forbidden by configuration, and CONNECT
//! (docs/reference/behaviour.md#request-checks, docs/reference/behaviour.md#websocket-connect-and-grpc).

use http::{Method, Request, StatusCode};
use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::origin::Origin;
use spooky_testkit::rogue::{Rogue, Step, fields};

use crate::proxy::Proxy;

#[tokio::test]
async fn methods_outside_the_list_are_405_and_allow_says_which_are_in() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[origin.url()])
            .block("resilience:\n  protocol: { allowed_methods: [GET, POST] }")
    })
    .await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
    assert_eq!(connection.post("/echo", "body").await.unwrap().text(), "body");
    for method in [Method::PUT, Method::DELETE, Method::from_bytes(b"BREW").unwrap()] {
        let request = Request::builder().method(&method).uri("https://localhost/").body("".into()).unwrap();
        let reply = connection.send(request).await.unwrap();
        assert_eq!(
            (reply.status, reply.text()),
            (StatusCode::METHOD_NOT_ALLOWED, "request method blocked by policy\n")
        );
        assert_eq!(reply.field("allow"), "GET, POST", "{method}");
        assert_eq!(reply.field("proxy-status"), "spooky; error=http_request_denied; details=\"method denied\"");
    }
    assert_eq!(origin.journal().now().requests.len(), 2);
}

#[tokio::test]
async fn denied_prefixes_are_403_on_every_reading_of_a_path() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[origin.url()])
            .block("resilience:\n  protocol: { denied_path_prefixes: [/internal, /.git, '/@secret'] }")
    })
    .await;
    let connection = proxy.greeted().await;
    let ask = async |path: &str| {
        let answer = connection.request(&frame::get(path), true).await.answer().await.unwrap();
        (answer.statuses()[0].to_owned(), String::from_utf8(answer.body).unwrap())
    };
    for path in [
        "/internal",
        "/internal/x?y",
        "//internal",
        "/%69nternal",
        "/x/..%2finternal",
        "/x/..%5Cinternal",
        "/./internal",
        "/internal/../x",
        "/internal%00.html",
        "/.git/config",
        "/x%00%2f..%2finternal/keys",
        "/b%2f..%2finternal%2f%5c..%5c..%5cc",
        "/internal;a=b/keys",
        "/x/..;/internal/keys",
        "/p%2fq/../x%2f..%2finternal",
        "//host/internal",
        "/%40secret/keys",
    ] {
        let (status, text) = ask(path).await;
        assert_eq!((&*status, &*text), ("403", "request path blocked by policy\n"), "{path}");
    }
    assert_eq!(origin.journal().now().connections, 0);
    for path in ["/internals", "/x/internal", "/?/internal", "/%2569nternal", "/git", "/x;/internal", "/%2540secret"] {
        assert_ne!(ask(path).await.0, "403", "{path}");
    }
}

#[tokio::test]
async fn connect_goes_where_the_lists_allow_and_nowhere_else() {
    let head = Step::Head(fields(&[(":status", "200")]), false);
    let rogue = Rogue::answering(vec![head, Step::Data(5, true)]).await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[rogue.url()]).block(
            "resilience:\n  protocol:\n    allow_connect: true\n    connect_allowed_ports: [443]\n    \
             connect_allowed_authorities: [\"db.example:443\", \"db.example:80\"]",
        )
    })
    .await;
    let connection = proxy.greeted().await;
    for (authority, status, text) in [
        ("db.example:80", "403", "CONNECT target denied by policy\n"),
        ("other.example:443", "403", "CONNECT target denied by policy\n"),
        ("db.example", "400", "invalid request\n"),
    ] {
        let head = frame::headers(&[(":method", "CONNECT"), (":authority", authority)]);
        let answer = connection.request(&head, true).await.answer().await.unwrap();
        assert_eq!((answer.statuses(), &*answer.body), (vec![status], text.as_bytes()), "{authority}");
    }
    assert_eq!(rogue.journal().now().connections, 0);
    // The backend ends its direction first; the client's direction stays open.
    let head = frame::headers(&[(":method", "CONNECT"), (":authority", "db.example:443")]);
    let mut tunnel = connection.request(&head, false).await;
    let answer = tunnel.answer().await.unwrap();
    assert_eq!((answer.statuses(), answer.body.len()), (vec!["200"], 5));
    for _ in 0..10 {
        tunnel.write(&frame::frame(kind::DATA, &[7; 100])).await;
    }
    rogue.journal().until("what the client sends", |record| record.body_bytes == 1000).await;
    tunnel.end();
    let seen = rogue.journal().last();
    assert_eq!((&*seen.method, &*seen.path, &*seen.authority), ("CONNECT", "", "db.example:443"));
    assert_eq!(tunnel.stopped().await, None, "everything was taken");
    assert_eq!(rogue.journal().now().resets, []);
}
