//! Log messages about requests. A message is formatted only if its level is enabled.
//!
//! Each step of a request is logged at debug. Failures of backends are warnings, limited to ten per second and kind because
//! clients can cause any number of them.

use super::state::Exchange;
use crate::snapshot::KeySource;
use spooky_bridge::message::{Fields, Known, Method, Protocol, RequestHead};
use spooky_edge::Abort;
use spooky_lb::{
    attempt::{Expiry, SlotId},
    outcome::{Reason, Reset},
    time::Nanos,
};
use spooky_telemetry::{Escaped, limited};
use spooky_transport::{Failure, FailureKind};
use std::{fmt, time::Instant};

pub(super) fn request(protocol: Protocol, head: &RequestHead) {
    let target =
        || if head.method == Method::Connect && !head.is_extended_connect() { head.authority() } else { head.path() };
    tracing::debug!("{} request {} {}", protocol.name(), Escaped(head.method_bytes()), Escaped(target()));
}

pub(super) fn invalid_request(protocol: Protocol, fields: &Fields) {
    let first = |name| Escaped(fields.first(name).unwrap_or_default());
    tracing::debug!("{} request {} {}", protocol.name(), first(Known::Method), first(Known::Path));
}

pub(super) fn refused(head: &RequestHead, reason: Reason) {
    if reason == Reason::NoRoute {
        let host = Host(head.authority());
        tracing::debug!("No route found for path: {} (host: {host})", Escaped(head.path()));
    }
}

pub(super) fn answered(status: u16, reason: Reason, request_id: &[u8]) {
    let details = reason.row().details;
    tracing::debug!("Answered by Spooky: status={status} reason={details:?} request_id={}", Escaped(request_id));
}

pub(super) fn cut_off(request_id: &[u8], reset: Reset) {
    tracing::debug!("Response cut off: reason={} request_id={}", reset.label(), Escaped(request_id));
}

pub(super) fn selected(exchange: &Exchange, backend: usize) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let Names { upstream, address, .. } = Names::of(exchange, Some(backend));
    let config = exchange.snapshot.config.upstreams.get(exchange.upstream);
    let algorithm = config.map_or("-", |config| config.load_balancing.algorithm.as_str());
    let (route, key) = (&exchange.route, exchange.attempt.key());
    let compiled = exchange.snapshot.upstreams.get(exchange.upstream);
    let is_keyed = compiled.is_some_and(|compiled| !matches!(compiled.key, KeySource::None));
    let (path_len, host_specific, reason) = (route.prefix_len, route.host_specific, route.reason.label());
    // Logs the hash because the key itself may be a secret, such as a cookie.
    let key = if is_keyed { format!(" request_hash_key={key:016x}") } else { String::new() };
    tracing::debug!(
        "Selected backend {address} via {algorithm} route={upstream} path_len={path_len} host_specific={host_specific} \
         reason={reason}{key}"
    );
}

pub(super) fn response(exchange: &Exchange, slot: SlotId, status: u16, now: Nanos) {
    let latency = || exchange.attempt.elapsed(slot, now).unwrap_or_default().as_millis();
    let upstream = || Names::of(exchange, None).upstream;
    tracing::debug!("Upstream {} status {status} latency_ms={}", upstream(), latency());
}

/// Logs a failed attempt. `stage` is `send` before the response head, `body` after it.
pub(super) fn failed(exchange: &Exchange, slot: SlotId, stage: &str, failure: &Failure, now: Instant) {
    let names = || Names::of(exchange, exchange.attempt.backend(slot));
    match failure.kind {
        FailureKind::GoAway => tracing::debug!("Transport error: {stage}: {}{}", failure.kind, names()),
        FailureKind::ConnectTimeout => limited!(WARN, now, "Backend timeout{} phase=connect", names()),
        kind => limited!(WARN, now, "Transport error: {stage}: {kind}{}", names()),
    }
}

/// Logs that the response timeout or the total timeout of an attempt has expired.
pub(super) fn late(exchange: &Exchange, backend: Option<usize>, now: Instant, nanos: Nanos) {
    let is_total = exchange.attempt.total_deadline() <= nanos;
    timeout(exchange, backend, if is_total { "total" } else { "response" }, now);
}

fn timeout(exchange: &Exchange, backend: Option<usize>, phase: &str, now: Instant) {
    limited!(WARN, now, "Backend timeout{} phase={phase}", Names::of(exchange, backend));
}

pub(super) fn expired(exchange: &Exchange, expiry: Expiry, now: Instant) {
    let phase = match expiry {
        Expiry::FirstByte => "first_byte",
        Expiry::BodyIdle => "body_idle",
        Expiry::TunnelIdle => "tunnel_idle",
        other => return tracing::debug!("Request ended: {}{}", other.reset().label(), Names::of(exchange, None)),
    };
    timeout(exchange, exchange.answering_backend(), phase, now);
}

pub(super) fn malformed_body(exchange: &Exchange, reason: &'static str) {
    let id = || Escaped(exchange.head.fields.first(Known::XRequestId).unwrap_or_default());
    tracing::debug!("Request malformed: {reason} request_id={}", id());
}

pub(super) fn aborted(request_id: &[u8], abort: Abort) {
    let id = || Escaped(request_id);
    match abort {
        Abort::Reset(code) => tracing::debug!("Request reset by the client: code={code:#x} request_id={}", id()),
        Abort::Stopped(code) => {
            tracing::debug!("Response stopped by the client: code={code:#x} request_id={}", id());
        }
        Abort::Malformed(reason) => {
            tracing::debug!("Request malformed: {reason} request_id={}", id());
        }
        Abort::Closed => tracing::debug!("Request reset at the end of the drain: request_id={}", id()),
        Abort::Lost => tracing::debug!("Request ended with the client's connection: request_id={}", id()),
    }
}

/// Formats the host of a request as an `Option`.
struct Host<'a>(&'a [u8]);

impl fmt::Display for Host<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { out.write_str("None") } else { write!(out, "Some(\"{}\")", Escaped(self.0)) }
    }
}

/// Backend and upstream as written in the configuration; `-` if unknown.
struct Names<'a> {
    upstream: &'a str,
    id: &'a str,
    address: &'a str,
}

impl<'a> Names<'a> {
    fn of(exchange: &'a Exchange, backend: Option<usize>) -> Self {
        let upstream = exchange.snapshot.config.upstreams.get(exchange.upstream);
        let backend = upstream.zip(backend).and_then(|(upstream, backend)| upstream.backends.get(backend));
        Self {
            upstream: upstream.map_or("-", |upstream| &upstream.name),
            id: backend.map_or("-", |backend| &backend.id),
            address: backend.map_or("-", |backend| &backend.address.written),
        }
    }
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, " backend={} upstream={} id={}", self.address, self.upstream, self.id)
    }
}
