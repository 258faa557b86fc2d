//! The spans of requests: their relations, their ids on the wire, retries, hedges, refused requests, sampling.

use http::StatusCode;
use spooky_testkit::origin::Origin;
use spooky_testkit::origin::handler::fixed;
use spooky_testkit::{port, wait};

use super::collector::{Collector, Span};
use super::{CLIENT, SPAN, TRACE, context, get, traced, tracing};
use crate::proxy::Proxy;

/// Kinds of OTLP.
const SERVER: i32 = 2;
const CLIENT_KIND: i32 = 3;

/// Returns the server span and the client spans, in the order of their ends.
fn split(spans: Vec<Span>) -> (Span, Vec<Span>) {
    let (mut requests, attempts): (Vec<_>, Vec<_>) = spans.into_iter().partition(|span| span.name == "spooky.request");
    let request = requests.pop().expect("a server span");
    assert!(requests.is_empty(), "{requests:?}");
    assert_eq!(request.kind, SERVER);
    for attempt in &attempts {
        assert_eq!((attempt.name.as_str(), attempt.kind), ("spooky.upstream", CLIENT_KIND));
        assert_eq!((&attempt.trace, &attempt.parent), (&request.trace, &request.id));
        assert!(request.nanos.0 <= attempt.nanos.0 && attempt.nanos.1 <= request.nanos.1, "within its parent");
    }
    (request, attempts)
}

#[tokio::test]
async fn spans_are_related_and_have_the_ids_of_the_wire() {
    let (origin, collector) = (Origin::h2c().await, Collector::grpc().await);
    let proxy = traced(&[origin.url()], &collector.url(), ", service_name: edge").await;
    assert_eq!(proxy.count("OpenTelemetry tracing enabled (service_name=edge, endpoint=http://127.0.0.1:"), 1);
    let connection = proxy.connect().await;
    get(&connection, "/early?x=1", CLIENT).await;
    let (request, attempts) = split(collector.spans(2).await);
    assert_eq!((request.trace.as_str(), request.parent.as_str()), (TRACE, SPAN));
    let sent = context(&origin.journal().last());
    assert_eq!((&attempts[0].trace, &attempts[0].id), (&sent.0, &sent.1));
    let ids = format!("trace_id={TRACE} span_id={} ", request.id);
    wait::until(wait::BOUND, &ids, || async {
        proxy.program.access_lines().iter().any(|line| line.contains(&ids)).then_some(())
    })
    .await;
    assert_eq!(request.resource("service.name"), Some("edge"));
    let origin_port = origin.addr().port().to_string();
    let expected = [
        (&request, "http.request.method", Some("GET")),
        (&request, "url.path", Some("/early")),
        (&request, "url.query", Some("x=1")),
        (&request, "server.address", Some("localhost")),
        (&request, "client.address", Some("127.0.0.1")),
        (&request, "network.protocol.version", Some("3")),
        (&request, "http.response.status_code", Some("200")),
        (&request, "spooky.upstream", Some("all")),
        (&request, "error.type", None),
        (&attempts[0], "server.address", Some("127.0.0.1")),
        (&attempts[0], "server.port", Some(&origin_port)),
        (&attempts[0], "network.protocol.version", Some("2")),
        (&attempts[0], "http.response.status_code", Some("200")),
        (&attempts[0], "http.request.resend_count", None),
    ];
    for (span, key, value) in expected {
        assert_eq!(span.attribute(key), value, "{key} of {}", span.name);
    }
    assert!(!request.is_error && !attempts[0].is_error);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    assert!(u128::from(request.nanos.1).abs_diff(now) < 60_000_000_000, "{request:?}");
}

#[tokio::test]
async fn every_attempt_has_a_span() {
    let (origin, collector) = (Origin::h2c().await, Collector::grpc().await);
    let backends = [format!("http://{}", port::free()), origin.url()];
    let proxy = traced(&backends, &collector.url(), "").await;
    assert_eq!(proxy.connect().await.get("/").await.unwrap().status, StatusCode::OK);
    let (request, attempts) = split(collector.spans(3).await);
    assert_eq!(request.parent, "", "the trace begins here");
    let [failed, answered] = attempts.as_slice() else { panic!("{attempts:?}") };
    assert_eq!((failed.is_error, failed.attribute("error.type")), (true, Some("connection_refused")));
    assert_eq!(answered.attribute("http.request.resend_count"), Some("1"));
    assert!(!answered.is_error && !request.is_error);
    assert_eq!(answered.id, context(&origin.journal().last()).1);
    assert_ne!(answered.id, failed.id);
}

#[tokio::test]
async fn a_hedge_and_its_loser_have_spans() {
    let (slow, quick) = (Origin::h2c().await, Origin::with(fixed(StatusCode::OK, "quick")).await);
    let (collector, backends) = (Collector::grpc().await, [slow.url(), quick.url()]);
    let block = format!(
        "{}\nresilience:\n  hedging: {{ enabled: true, delay_ms: 50 }}\n  retry_budget: {{ enabled: false }}",
        tracing(&collector.url(), "")
    );
    let proxy = Proxy::start(|settings| settings.upstream("all", "/", &backends).block(&block)).await;
    assert_eq!(proxy.connect().await.get("/hold").await.unwrap().text(), "quick");
    let (request, attempts) = split(collector.spans(3).await);
    assert!(!request.is_error);
    let (slow, quick) = (context(&slow.journal().last()).1, context(&quick.journal().last()).1);
    let of = |id: &String| attempts.iter().find(|span| span.id == *id).expect("a span with the id of the wire");
    assert_eq!((of(&slow).attribute("error.type"), of(&slow).attribute("spooky.hedge")), (Some("cancelled"), None));
    assert_eq!((of(&quick).attribute("error.type"), of(&quick).attribute("spooky.hedge")), (None, Some("true")));
}

#[tokio::test]
async fn a_request_that_is_refused_has_a_server_span_only() {
    let collector = Collector::grpc().await;
    let block = tracing(&collector.url(), "");
    let backends = [format!("http://{}", port::free())];
    let proxy = Proxy::start(|settings| settings.upstream("all", "/only", &backends).block(&block)).await;
    get(&proxy.connect().await, "/other", CLIENT).await;
    let (request, attempts) = split(collector.spans(1).await);
    assert!(attempts.is_empty());
    assert_eq!((request.trace.as_str(), request.parent.as_str()), (TRACE, SPAN));
    assert_eq!(request.attribute("http.response.status_code"), Some("404"));
}

#[tokio::test]
async fn the_client_decides_about_its_trace_and_the_ratio_about_others() {
    let (origin, collector) = (Origin::h2c().await, Collector::grpc().await);
    let (unsampled, sampled) = (CLIENT.replace("-01", "-00"), CLIENT);
    let proxy = traced(&[origin.url()], &collector.url(), ", sample_ratio: 0.0").await;
    let connection = proxy.connect().await;
    connection.get("/new").await.unwrap();
    get(&connection, "/unsampled", &unsampled).await;
    get(&connection, "/sampled", sampled).await;
    // Spans of one worker are sent in their order.
    let (request, _) = split(collector.spans(2).await);
    assert_eq!(request.attribute("url.path"), Some("/sampled"));

    let text = proxy.settings.text().replace("sample_ratio: 0.0", "sample_ratio: 1.0");
    proxy.reload(&text, 2).await;
    let connection = proxy.connect().await;
    get(&connection, "/unsampled", &unsampled).await;
    connection.get("/new").await.unwrap();
    let (request, _) = split(collector.spans(4).await.split_off(2));
    assert_eq!(request.attribute("url.path"), Some("/new"), "{request:?}");
}
