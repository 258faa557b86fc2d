//! Routes, backends in turn, and answers without a backend (docs/reference/behaviour.md#routing,
//! docs/reference/behaviour.md#status-codes, docs/reference/behaviour.md#load-balancing).

use http::{HeaderValue, Request, StatusCode};
use spooky_testkit::client::{Connection, frame, get};
use spooky_testkit::origin::Origin;
use spooky_testkit::origin::handler::fixed;

use crate::proxy::Proxy;

/// An origin that answers everything with its name.
async fn named(name: &'static str) -> Origin {
    Origin::with(fixed(StatusCode::OK, name)).await
}

async fn ask(connection: &Connection, authority: &str, path: &str) -> String {
    let request = Request::get(format!("https://{authority}{path}")).body("".into()).unwrap();
    connection.send(request).await.unwrap().text().to_owned()
}

#[tokio::test]
async fn the_longest_prefix_wins_whatever_its_place_in_the_file() {
    let (api, deep, rest) = (named("api").await, named("deep").await, named("rest").await);
    let proxy = Proxy::start(|settings| {
        settings.upstream("api", "/api", &[api.url()]).upstream("rest", "/", &[rest.url()]).upstream(
            "deep",
            "/api/deep/",
            &[deep.url()],
        )
    })
    .await;
    let connection = proxy.connect().await;
    for (path, name) in [
        ("/api", "api"),
        ("/api?x=/deep", "api"),
        ("/api/x", "api"),
        ("/api2", "rest"),
        ("/api/deep", "api"),
        ("/api/deep/x", "deep"),
        ("/%61pi/x", "api"),
        ("/x/../api/deep/y", "deep"),
        ("//api///deep//", "deep"),
        ("/api/../x", "rest"),
        ("/%2561pi", "rest"),
        ("/", "rest"),
    ] {
        assert_eq!(ask(&connection, "localhost", path).await, name, "{path}");
    }
}

#[tokio::test]
async fn hosts_choose_between_upstreams_of_the_same_path() {
    let (exact, wild, any) = (named("exact").await, named("wild").await, named("any").await);
    let start = Proxy::start_edited(
        |settings| {
            settings.upstream("any", "/", &[any.url()]).upstream("exact", "/exact", &[exact.url()]).upstream(
                "wild",
                "/wild",
                &[wild.url()],
            )
        },
        |text| {
            text.replace("{ path_prefix: \"/exact\" }", "{ host: a.example, path_prefix: \"/\" }")
                .replace("{ path_prefix: \"/wild\" }", "{ host: \"*.example\", path_prefix: \"/\" }")
        },
    );
    let proxy = start.await;
    let connection = proxy.connect().await;
    for (authority, name) in [
        ("a.example", "exact"),
        ("A.Example:1234", "exact"),
        ("a.example.", "exact"),
        ("b.example", "wild"),
        ("x.y.example", "wild"),
        ("example", "any"),
        ("localhost", "any"),
        ("[::1]:99", "any"),
    ] {
        assert_eq!(ask(&connection, authority, "/").await, name, "{authority}");
    }
}

#[tokio::test]
async fn no_route_is_404_and_touches_no_backend() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| settings.upstream("api", "/api", &[origin.url()])).await;
    let connection = proxy.connect().await;
    let mut request = get("/other");
    request.headers_mut().insert("x-request-id", HeaderValue::from_static("mine"));
    let reply = connection.send(request).await.unwrap();
    assert_eq!((reply.status, reply.text()), (StatusCode::NOT_FOUND, "no route\n"));
    assert_eq!((reply.field("content-type"), reply.field("content-length")), ("text/plain", "9"));
    assert_eq!(reply.field("x-request-id"), "mine");
    assert!(reply.field("date").ends_with(" GMT"), "{}", reply.field("date"));
    let status = reply.field("proxy-status");
    assert!(status.starts_with("spooky; error=destination_not_found"), "{status}");
    // The answer to HEAD has no body, and a body that comes with the request is no obstacle.
    let head = connection.send(Request::head("https://localhost/other").body("".into()).unwrap()).await.unwrap();
    assert_eq!((head.status, head.field("content-length"), head.body.len()), (StatusCode::NOT_FOUND, "9", 0));
    let post = connection.post("/other", vec![0; 50_000]).await.unwrap();
    assert_eq!(post.status, StatusCode::NOT_FOUND);
    assert_eq!(origin.journal().now().connections, 0);
}

#[tokio::test]
async fn connect_is_refused_by_default() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.greeted().await;
    let head = frame::headers(&[(":method", "CONNECT"), (":authority", "127.0.0.1:22")]);
    let answer = connection.request(&head, true).await.answer().await.unwrap();
    assert_eq!(answer.statuses(), ["405"]);
    assert_eq!(answer.body, b"request method blocked by policy\n");
    assert!(answer.sections[0].iter().any(|(name, value)| name == "allow" && value.contains("GET")));
    assert_eq!(origin.journal().now().connections, 0);
}

#[tokio::test]
async fn backends_take_turns_exactly() {
    let origins = [Origin::h2c().await, Origin::h2c().await, Origin::h2c().await];
    let urls: Vec<_> = origins.iter().map(Origin::url).collect();
    let proxy = Proxy::before(&urls).await;
    let connections = [proxy.connect().await, proxy.connect().await];
    for number in 0..99 {
        assert_eq!(connections[number % 2].get("/").await.unwrap().status, StatusCode::OK);
    }
    let counts: Vec<_> = origins.iter().map(|origin| origin.journal().read(|record| record.requests.len())).collect();
    assert_eq!(counts, [33, 33, 33]);
}

#[tokio::test]
async fn the_authority_for_the_backend_is_as_configured() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        let backend = [origin.url()];
        settings
            .upstream_with("own", "/own", &backend, "host_policy: { mode: upstream }")
            .upstream_with("other", "/other", &backend, "host_policy: { mode: rewrite, host: inner.example }")
            .upstream("client", "/", &backend)
    })
    .await;
    let connection = proxy.connect().await;
    let own = origin.addr().to_string();
    for (path, authority) in [("/own", own.as_str()), ("/other", "inner.example"), ("/", "a.example")] {
        ask(&connection, "a.example", path).await;
        let seen = origin.journal().last();
        assert_eq!((seen.authority.as_str(), seen.count("host")), (authority, 0), "{path}");
        assert_eq!(seen.field("x-forwarded-host"), Some("a.example"), "{path}");
    }
}
