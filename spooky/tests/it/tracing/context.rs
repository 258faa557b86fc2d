//! The trace context that backends get, with tracing off and on.

use std::collections::HashSet;

use bytes::Bytes;
use http::Request;
use spooky_testkit::origin::Origin;
use spooky_testkit::port;

use super::{CLIENT, SPAN, TRACE, context, get, traced};
use crate::proxy::Proxy;

#[tokio::test]
async fn a_trace_continues_for_every_client_while_tracing_is_off() {
    for origin in [Origin::h2c().await, Origin::http1().await] {
        let proxy = Proxy::before(&[origin.url()]).await;
        let connection = proxy.connect().await;
        for flags in ["01", "00"] {
            let request = Request::get("https://localhost/").header("tracestate", "a=1,b=2");
            let request = request.header("traceparent", CLIENT.replace("-01", &format!("-{flags}")));
            assert_eq!(connection.send(request.body(Bytes::new()).unwrap()).await.unwrap().status, 200);
            let entry = origin.journal().last();
            let (trace, span, sent) = context(&entry);
            assert_eq!((trace.as_str(), sent.as_str()), (TRACE, flags));
            assert_ne!(span, SPAN, "Spooky's own span");
            assert_eq!(entry.field("tracestate"), Some("a=1,b=2"));
        }
        let mut http2 = proxy.http2().await;
        let request = http2.request("GET", "/").header("traceparent", CLIENT).body(()).unwrap();
        assert_eq!(http2.fetch(request).await.unwrap().status, 200);
        let mut http1 = proxy.http1().await;
        http1.send(format!("GET / HTTP/1.1\r\nhost: localhost\r\ntraceparent: {CLIENT}\r\n\r\n")).await;
        assert_eq!(http1.reply().await.status(), 200);
        let requests = origin.journal().now().requests;
        let contexts: Vec<_> = requests.iter().map(context).collect();
        assert!(contexts.iter().all(|(trace, ..)| trace == TRACE));
        let spans: HashSet<_> = contexts.iter().map(|(_, span, _)| span).collect();
        assert_eq!(spans.len(), 4, "each request has a span of its own");
    }
}

#[tokio::test]
async fn a_trace_begins_only_if_tracing_is_on() {
    let origin = Origin::h2c().await;
    let invalid = [CLIENT.to_uppercase(), CLIENT.replace(SPAN, &"0".repeat(16)), "no context".to_owned()];
    let send = async |proxy: &Proxy| {
        let connection = proxy.connect().await;
        assert_eq!(connection.get("/").await.unwrap().status, 200);
        for value in &invalid {
            let request = Request::get("https://localhost/").header("traceparent", value).header("tracestate", "a=1");
            assert_eq!(connection.send(request.body(Bytes::new()).unwrap()).await.unwrap().status, 200);
        }
        let request = Request::get("https://localhost/").header("traceparent", CLIENT).header("traceparent", CLIENT);
        assert_eq!(connection.send(request.body(Bytes::new()).unwrap()).await.unwrap().status, 200);
        let requests = origin.journal().now().requests;
        assert!(requests.iter().all(|entry| entry.field("tracestate").is_none()), "a state without its trace");
        requests
    };
    let requests = send(&Proxy::before(&[origin.url()]).await).await;
    assert!(requests.iter().all(|entry| entry.field("traceparent").is_none()));
    let collector = format!("http://{}", port::free());
    let requests = send(&traced(&[origin.url()], &collector, "").await).await;
    let traces: HashSet<_> = requests[5..].iter().map(|entry| context(entry).0).collect();
    assert_eq!((requests.len(), traces.len()), (10, 5));
    assert!(!traces.contains(TRACE));
}

#[tokio::test]
async fn the_ratio_and_the_client_decide_about_the_flag() {
    let origin = Origin::h2c().await;
    let collector = format!("http://{}", port::free());
    for (ratio, own) in [("0.0", "00"), ("1.0", "01")] {
        let proxy = traced(&[origin.url()], &collector, &format!(", sample_ratio: {ratio}")).await;
        let connection = proxy.connect().await;
        connection.get("/").await.unwrap();
        assert_eq!(context(&origin.journal().last()).2, own);
        for flags in ["00", "01"] {
            get(&connection, "/", &CLIENT.replace("-01", &format!("-{flags}"))).await;
            let (trace, _, sent) = context(&origin.journal().last());
            assert_eq!((trace.as_str(), sent.as_str()), (TRACE, flags), "the client has decided");
        }
    }
}
