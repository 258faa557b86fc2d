//! A request that has ended, and its record.

use super::{
    outcome::Outcome,
    state::Exchange,
    timeline::{Arrival, LocalAnswer},
    trace::Trace,
};
use crate::snapshot::WorkerSnapshot;
use spooky_bridge::message::{Fields, Known, Protocol};
use spooky_edge::Abort;
use spooky_lb::{attempt::SlotId, time::Nanos};
use spooky_telemetry::{ClientProtocol, RequestRecord};
use std::{rc::Rc, time::Duration};

/// A request that has ended.
pub(super) struct EndedRequest<'a> {
    pub(super) record: RequestRecord<'a>,
    pub(super) outcome: Outcome,
    /// The upstream, if the request was routed.
    pub(super) upstream: Option<usize>,
    pub(super) protocol: Protocol,
    pub(super) trace: Option<Trace>,
    pub(super) now: Nanos,
    /// Its exchange; `None` if it was refused at once.
    pub(super) exchange: Option<&'a Exchange>,
    /// The snapshot with which the request started; `None` if it was refused at once.
    pub(super) snapshot: Option<&'a Rc<WorkerSnapshot>>,
}

impl Exchange {
    /// Returns how long the attempt waited for a connection and, after that, for its response head.
    pub(super) fn attempt_times(&self, slot: SlotId, now: Nanos) -> Option<(Duration, Duration)> {
        let (started, sent) = self.attempt.times(slot)?;
        let sent = sent.unwrap_or(started);
        Some((sent - started, now - sent))
    }

    /// Returns the record of the request, which ends now.
    pub(super) fn record(&self, outcome: Outcome, answer: Option<LocalAnswer>, now: Nanos) -> RequestRecord<'_> {
        let timeline = &self.timeline;
        let arrival = timeline.arrival;
        let upstream = self.snapshot.config.upstreams.get(self.upstream);
        let backend = upstream.zip(timeline.backend()).and_then(|(upstream, backend)| upstream.backends.get(backend));
        let of_head = of_head(&self.head.fields, arrival, outcome, answer, now);
        RequestRecord {
            host: timeline.host().unwrap_or(of_head.host),
            status: of_head.status.or(self.status.map(|status| status_sent(&self.head.fields, arrival, status))),
            upstream: upstream.map(|upstream| upstream.name.as_str()),
            backend: backend.map(|backend| backend.address.written.as_str()),
            queue: timeline.queue(now),
            connect: timeline.answered().map(|(connect, _)| connect),
            upstream_time: timeline.answered().map(|(_, response)| response),
            first_byte: of_head.first_byte.or(timeline.first_byte()),
            bytes_in: self.upload.received(),
            bytes_out: timeline.bytes_out() + of_head.bytes_out,
            attempts: self.attempt.started(),
            is_hedged: timeline.hedge().is_some(),
            ..of_head
        }
    }
}

/// Returns the record of a request that was refused before it had an exchange. `fields` are those of its head.
pub(super) fn of_head(
    fields: &Fields,
    arrival: Arrival,
    outcome: Outcome,
    answer: Option<LocalAnswer>,
    now: Nanos,
) -> RequestRecord<'_> {
    let first = |name| fields.first(name).unwrap_or_default();
    let latency = now - arrival.at;
    RequestRecord {
        request_id: first(Known::XRequestId),
        trace: arrival.trace.map(|trace| trace.ids),
        method: if is_upgrade(fields, arrival) { b"GET" } else { first(Known::Method) },
        path: first(Known::Path),
        host: fields.first(Known::Authority).unwrap_or_else(|| first(Known::Host)),
        user_agent: first(Known::UserAgent),
        protocol: client_protocol(arrival.protocol),
        client: arrival.peer,
        status: answer.map(|answer| answer.status),
        upstream: None,
        backend: None,
        latency,
        queue: Duration::ZERO,
        connect: None,
        upstream_time: None,
        first_byte: answer.map(|_| latency),
        bytes_in: 0,
        bytes_out: answer.map_or(0, |answer| answer.length),
        attempts: 0,
        is_hedged: false,
        reason: reason_of(outcome),
        error: error_of(outcome),
    }
}

/// Returns whether the client has asked for an upgrade by HTTP/1.1, which is handled as an extended CONNECT.
fn is_upgrade(fields: &Fields, arrival: Arrival) -> bool {
    arrival.protocol == Protocol::Http1 && fields.first(Known::Protocol).is_some()
}

/// Returns the status that the client got for this one.
fn status_sent(fields: &Fields, arrival: Arrival, status: u16) -> u16 {
    if status == 200 && is_upgrade(fields, arrival) { 101 } else { status }
}

pub(super) fn client_protocol(protocol: Protocol) -> ClientProtocol {
    match protocol {
        Protocol::Http1 => ClientProtocol::Http1,
        Protocol::Http2 => ClientProtocol::Http2,
        Protocol::Http3 => ClientProtocol::Http3,
    }
}

fn reason_of(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Complete => None,
        Outcome::Answer(reason) => Some(reason.row().label),
        Outcome::Reset { reset, .. } => Some(reset.label()),
        Outcome::Aborted(Abort::Malformed(reason)) if reason.contains("content-length") => {
            Some("content_length_mismatch")
        }
        Outcome::Aborted(Abort::Malformed(_)) => Some("malformed_request"),
        Outcome::Aborted(Abort::Closed) => Some("drain"),
        Outcome::Aborted(Abort::Reset(_) | Abort::Stopped(_) | Abort::Lost) => Some("client_abort"),
    }
}

fn error_of(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Complete => None,
        Outcome::Answer(reason) => Some(reason.row().error.label()),
        Outcome::Reset { reset, .. } => Some(reset.error().label()),
        Outcome::Aborted(Abort::Closed) => Some("bridge"),
        Outcome::Aborted(_) => Some("client"),
    }
}
