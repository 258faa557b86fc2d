//! Unit tests of sampling, queues, conversion and the limits of the log.

use super::{RequestTrace, SpanQueues, UpstreamSpan, convert, exporter::DropLog, is_sampled, otlp};
use crate::{ClientProtocol, RequestRecord, TraceIds};
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceId,
    trace::{SpanKind, Status},
};
use opentelemetry_sdk::trace::SpanData;
use spooky_config::TracingProtocol;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    task::{Context, Wake},
    time::{Duration, Instant, SystemTime},
};

const IDS: TraceIds = TraceIds { trace: 7, span: 8 };

fn record() -> RequestRecord<'static> {
    RequestRecord {
        request_id: b"id",
        trace: Some(IDS),
        method: b"GET",
        path: b"/a?b=c",
        host: b"example.com:8443",
        user_agent: b"agent",
        protocol: ClientProtocol::Http3,
        client: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9),
        status: Some(200),
        upstream: Some("api"),
        backend: Some("127.0.0.1:1"),
        latency: Duration::from_secs(1),
        queue: Duration::ZERO,
        connect: None,
        upstream_time: None,
        first_byte: None,
        bytes_in: 0,
        bytes_out: 0,
        attempts: 2,
        is_hedged: false,
        reason: None,
        error: None,
    }
}

fn attempt(id: u64, error: Option<&'static str>, status: Option<u16>) -> UpstreamSpan {
    let (start, end, host) = (Duration::from_secs(2), Duration::from_secs(3), "::1".to_owned());
    let protocol = status.map(|_| "2");
    UpstreamSpan { id, start, end, scheme: "http", host, port: 80, protocol, status, error, is_hedge: id == 10 }
}

fn spans(record: &RequestRecord<'_>, attempts: Vec<UpstreamSpan>) -> Vec<SpanData> {
    let request = RequestTrace::new(record, Some(6), 1, Duration::from_secs(3), attempts).unwrap();
    convert::spans(&request, SystemTime::UNIX_EPOCH, &InstrumentationScope::builder("test").build())
}

fn value(span: &SpanData, key: &str) -> Option<String> {
    let mut found = span.attributes.iter().filter(|KeyValue { key: other, .. }| other.as_str() == key);
    let value = found.next().map(|found| found.value.to_string());
    assert!(found.next().is_none(), "{key} is there twice");
    value
}

fn is_error(span: &SpanData) -> bool {
    matches!(span.status, Status::Error { .. })
}

#[test]
fn the_ratio_decides_by_the_id_alone() {
    for id in [0, 1, u128::from(u64::MAX), u128::MAX] {
        assert!(is_sampled(id, 1.0) && !is_sampled(id, 0.0), "{id}");
    }
    let ids = (0..10_000_u128).map(|number| number * (u128::from(u64::MAX) / 10_000));
    let sampled = ids.filter(|id| is_sampled(*id, 0.25)).count();
    assert!((2490..=2510).contains(&sampled), "{sampled}");
    assert!(is_sampled(0, 0.25) && !is_sampled(u128::from(u64::MAX), 0.25));
}

#[test]
fn the_spans_of_a_request_form_a_tree() {
    let spans = spans(&record(), vec![attempt(9, Some("connection_refused"), None), attempt(10, None, Some(200))]);
    let [request, failed, answered] = spans.as_slice() else { panic!("{spans:?}") };
    assert!(spans.iter().all(|span| span.span_context.trace_id() == TraceId::from(7)));
    assert!(spans.iter().all(|span| span.span_context.is_sampled()));
    let of = |span: &SpanData| (span.name.to_string(), span.span_kind.clone(), span.span_context.span_id());
    assert_eq!(of(request), ("spooky.request".to_owned(), SpanKind::Server, SpanId::from(8)));
    assert_eq!((request.parent_span_id, request.parent_span_is_remote), (SpanId::from(6), true));
    for (span, id) in [(failed, 9), (answered, 10)] {
        assert_eq!(of(span), ("spooky.upstream".to_owned(), SpanKind::Client, SpanId::from(id)));
        assert_eq!((span.parent_span_id, span.parent_span_is_remote), (SpanId::from(8), false));
    }
    let since = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!((since(request.start_time), since(request.end_time)), (2, 3));
    assert_eq!([request, failed, answered].map(is_error), [false, true, false]);
}

#[test]
fn spans_have_the_attributes_of_http() {
    let spans = spans(&record(), vec![attempt(9, Some("connection_refused"), None), attempt(10, None, Some(404))]);
    for (span, key, expected) in [
        (0, "http.request.method", Some("GET")),
        (0, "url.path", Some("/a")),
        (0, "url.query", Some("b=c")),
        (0, "url.scheme", Some("https")),
        (0, "server.address", Some("example.com")),
        (0, "server.port", Some("8443")),
        (0, "network.protocol.version", Some("3")),
        (0, "client.address", Some("127.0.0.1")),
        (0, "user_agent.original", Some("agent")),
        (0, "http.response.status_code", Some("200")),
        (0, "error.type", None),
        (0, "spooky.upstream", Some("api")),
        (0, "spooky.request_id", Some("id")),
        (1, "url.full", Some("http://[::1]:80/a?b=c")),
        (1, "server.address", Some("::1")),
        (1, "server.port", Some("80")),
        (1, "error.type", Some("connection_refused")),
        (1, "http.response.status_code", None),
        (1, "network.protocol.version", None),
        (1, "http.request.resend_count", None),
        (2, "http.request.resend_count", Some("1")),
        (2, "http.response.status_code", Some("404")),
        (2, "network.protocol.version", Some("2")),
        (2, "error.type", Some("404")),
        (2, "spooky.hedge", Some("true")),
    ] {
        assert_eq!(value(&spans[span], key).as_deref(), expected, "{key} of span {span}");
    }
    assert!(is_error(&spans[2]), "clients treat 4xx as an error");
}

#[test]
fn failures_of_spooky_and_of_backends_are_errors_but_not_those_of_clients() {
    let of = |status, reason, error| {
        let spans = spans(&RequestRecord { status, reason, error, ..record() }, Vec::new());
        (is_error(&spans[0]), value(&spans[0], "error.type"))
    };
    assert_eq!(of(Some(404), None, None), (false, None));
    assert_eq!(of(Some(503), None, None), (true, Some("503".to_owned())));
    assert_eq!(of(Some(502), Some("upstream_error"), Some("transport")), (true, Some("upstream_error".to_owned())));
    assert_eq!(of(None, Some("client_abort"), Some("client")), (false, Some("client_abort".to_owned())));
    assert_eq!(of(Some(200), Some("upstream_reset"), Some("transport")), (true, Some("upstream_reset".to_owned())));
}

#[test]
fn values_of_peers_are_bounded_and_unknown_methods_have_one_name() {
    let path = vec![0xff; 5000];
    let spans = spans(&RequestRecord { method: b"FROBNICATE", path: &path, host: b"[::1]", ..record() }, Vec::new());
    assert_eq!(value(&spans[0], "http.request.method").as_deref(), Some("_OTHER"));
    assert_eq!(value(&spans[0], "http.request.method_original").as_deref(), Some("FROBNICATE"));
    assert_eq!(value(&spans[0], "server.address").as_deref(), Some("::1"));
    assert_eq!(value(&spans[0], "server.port"), None);
    assert_eq!(value(&spans[0], "url.path").map(|path| path.chars().count()), Some(1024));
}

struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn queues_are_bounded_count_drops_and_wake_the_exporter() {
    let queues = SpanQueues::new(2);
    let calls = Arc::new(Wakes(AtomicUsize::new(0)));
    let waker = calls.clone().into();
    let push = |worker| {
        let attempts = vec![attempt(9, None, Some(200))];
        queues.push(worker, RequestTrace::new(&record(), None, 1, Duration::ZERO, attempts).unwrap());
    };
    assert!(queues.poll_half_full(&Context::from_waker(&waker)).is_pending());
    (0..511).for_each(|_| push(0));
    assert_eq!(calls.0.load(Relaxed), 0);
    push(0);
    assert_eq!(calls.0.load(Relaxed), 1);
    assert!(queues.poll_half_full(&Context::from_waker(&waker)).is_ready());
    (0..512).for_each(|_| push(0));
    assert_eq!(queues.dropped(), 0);
    push(0);
    assert_eq!(queues.dropped(), 2, "both spans of the request");
    push(1);
    push(7);
    assert_eq!(queues.dropped(), 4, "the second worker has a queue of its own, the eighth has none");
    assert_eq!(queues.take(10).len(), 5, "a round takes one of each queue");
    assert_eq!(queues.take(10_000).len(), 1020);
    assert!(queues.take(1).is_empty());
}

#[test]
fn drops_are_logged_once_a_minute() {
    let (mut log, start) = (DropLog::default(), Instant::now());
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(log.admit(0, start), None);
    assert_eq!(log.admit(3, start), Some(3));
    assert_eq!(log.admit(10, after(59)), None);
    assert_eq!(log.admit(10, after(60)), Some(7));
    assert_eq!(log.admit(10, after(200)), None);
}

#[test]
fn a_collector_over_http_gets_the_usual_path() {
    let of = |protocol, url: &str| {
        otlp::endpoint(&spooky_config::Tracing { protocol, otlp_endpoint: url.to_owned(), ..Default::default() })
    };
    assert_eq!(of(TracingProtocol::Grpc, "http://a:4317"), "http://a:4317");
    for (url, expected) in [
        ("http://a:4318", "http://a:4318/v1/traces"),
        ("https://a:4318/", "https://a:4318/v1/traces"),
        ("http://a/v1/traces", "http://a/v1/traces"),
        ("http://a/other/", "http://a/other/"),
    ] {
        assert_eq!(of(TracingProtocol::Http, url), expected);
    }
}
