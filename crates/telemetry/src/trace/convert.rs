//! Makes spans of OpenTelemetry from finished requests (semantic conventions for HTTP spans, version 1.23 and later).

use super::{RequestTrace, UpstreamSpan};
use crate::ClientProtocol;
use opentelemetry::{
    InstrumentationScope, KeyValue, SpanId, TraceFlags, TraceId, Value,
    trace::{SpanContext, SpanKind, Status, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use std::time::{Duration, SystemTime};

/// Methods that may be values of `http.request.method`; others are `_OTHER`.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Makes the spans of a request. `epoch` is the time zero of its times.
pub(super) fn spans(request: &RequestTrace, epoch: SystemTime, scope: &InstrumentationScope) -> Vec<SpanData> {
    let mut spans = Vec::with_capacity(request.spans());
    spans.push(SpanData {
        parent_span_id: request.parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: request.parent.is_some(),
        attributes: request_attributes(request),
        status: status(request.is_failed || request.status.is_some_and(|status| status >= 500)),
        ..span(request, request.ids.span, (request.start, request.end), epoch, scope)
    });
    for (index, attempt) in request.attempts.iter().enumerate() {
        spans.push(SpanData {
            parent_span_id: SpanId::from(request.ids.span),
            span_kind: SpanKind::Client,
            name: "spooky.upstream".into(),
            attributes: attempt_attributes(request, attempt, index),
            status: status(attempt.error.is_some() || attempt.status.is_some_and(|status| status >= 400)),
            ..span(request, attempt.id, (attempt.start, attempt.end), epoch, scope)
        });
    }
    spans
}

/// A server span without parent and attributes.
fn span(
    request: &RequestTrace,
    id: u64,
    (start, end): (Duration, Duration),
    epoch: SystemTime,
    scope: &InstrumentationScope,
) -> SpanData {
    let (trace, flags) = (TraceId::from(request.ids.trace), TraceFlags::new(request.flags));
    SpanData {
        span_context: SpanContext::new(trace, SpanId::from(id), flags, false, TraceState::NONE),
        parent_span_id: SpanId::INVALID,
        parent_span_is_remote: false,
        span_kind: SpanKind::Server,
        name: "spooky.request".into(),
        start_time: epoch + start,
        end_time: epoch + end,
        attributes: Vec::new(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope.clone(),
    }
}

fn status(is_error: bool) -> Status {
    if is_error { Status::error("") } else { Status::Unset }
}

/// Collects attributes; those without a value are left out.
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn add(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        self.0.extend(value.map(|value| KeyValue::new(key, value)));
    }

    fn add_text(&mut self, key: &'static str, value: &str) {
        self.add(key, (!value.is_empty()).then(|| value.to_owned()));
    }

    fn add_method(&mut self, method: &str) {
        let known = METHODS.iter().find(|known| **known == method);
        self.add("http.request.method", Some(known.copied().unwrap_or("_OTHER")));
        if known.is_none() {
            self.add_text("http.request.method_original", method);
        }
    }

    /// Adds the status, and what went wrong: `error`, or a status of at least `error_status`.
    fn add_result(&mut self, status: Option<u16>, error: Option<&'static str>, error_status: u16) {
        self.add("http.response.status_code", status.map(i64::from));
        let of_status = status.filter(|status| *status >= error_status).map(|status| status.to_string());
        self.add("error.type", error.map(str::to_owned).or(of_status));
    }
}

fn request_attributes(request: &RequestTrace) -> Vec<KeyValue> {
    let mut attributes = Attributes(Vec::with_capacity(16));
    attributes.add_method(&request.method);
    let (path, query) = match request.path.split_once('?') {
        Some((path, query)) => (path, query),
        None => (request.path.as_str(), ""),
    };
    attributes.add_text("url.path", path);
    attributes.add_text("url.query", query);
    attributes.add("url.scheme", Some("https"));
    let (host, port) = split_port(&request.host);
    attributes.add_text("server.address", host);
    attributes.add("server.port", port.map(i64::from));
    attributes.add("network.protocol.version", Some(version(request.protocol)));
    attributes.add("client.address", Some(request.client.ip().to_string()));
    attributes.add("client.port", Some(i64::from(request.client.port())));
    attributes.add_text("user_agent.original", &request.user_agent);
    attributes.add_result(request.status, request.reason, 500);
    attributes.add("spooky.upstream", request.upstream.clone());
    attributes.add_text("spooky.request_id", &request.request_id);
    attributes.0
}

fn attempt_attributes(request: &RequestTrace, attempt: &UpstreamSpan, index: usize) -> Vec<KeyValue> {
    let mut attributes = Attributes(Vec::with_capacity(12));
    attributes.add_method(&request.method);
    let UpstreamSpan { scheme, host, port, .. } = attempt;
    let literal = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    attributes.add("url.full", Some(format!("{scheme}://{literal}:{port}{}", request.path)));
    attributes.add_text("server.address", host);
    attributes.add("server.port", Some(i64::from(*port)));
    attributes.add("network.protocol.version", attempt.protocol);
    attributes.add("http.request.resend_count", i64::try_from(index).ok().filter(|index| *index > 0));
    attributes.add_result(attempt.status, attempt.error, 400);
    attributes.add("spooky.upstream", request.upstream.clone());
    attributes.add("spooky.hedge", attempt.is_hedge.then_some(true));
    attributes.0
}

/// Splits an authority into the host, without brackets, and the port.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    };
    (host.trim_start_matches('[').trim_end_matches(']'), port)
}

fn version(protocol: ClientProtocol) -> &'static str {
    match protocol {
        ClientProtocol::Http1 => "1.1",
        ClientProtocol::Http2 => "2",
        ClientProtocol::Http3 => "3",
    }
}
