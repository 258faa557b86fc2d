//! What an exchange remembers for the report about its request: who asked, when each step happened, how many bytes passed.

use super::{
    outcome::Outcome,
    state::{Admission, Exchange},
};
use crate::snapshot::HostPolicy;
use spooky_bridge::message::{Fields, Known, Protocol, RequestHead};
use spooky_edge::Abort;
use spooky_lb::{attempt::SlotId, time::Nanos};
use spooky_telemetry::{ClientProtocol, RequestRecord};
use std::{net::SocketAddr, time::Duration};

/// Who sent a request, and when its head arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) protocol: Protocol,
    pub(super) peer: SocketAddr,
    pub(super) at: Nanos,
}

/// The answer that Spooky has sent: its status, and the length of its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalAnswer {
    pub(super) status: u16,
    pub(super) length: u64,
}

pub(super) struct Timeline {
    pub(super) arrival: Arrival,
    /// Time spent in queues that the request has left.
    queue: Duration,
    /// When it entered the queue in which it is.
    queued_at: Option<Nanos>,
    /// Connect time and response time of the attempt that has answered.
    answered: Option<(Duration, Duration)>,
    head_sent: Option<Nanos>,
    /// Body bytes that the client's connection has taken.
    bytes_out: u64,
    /// The backend of the last attempt.
    backend: Option<usize>,
    /// Slot and start of the hedge.
    hedge: Option<(SlotId, Nanos)>,
    /// The authority that the client asked for, if backends get another one.
    host: Option<Box<[u8]>>,
}

impl Timeline {
    /// Starts the timeline of a request that was admitted or is in the queue.
    pub(super) fn new(arrival: Arrival, head: &RequestHead, policy: &HostPolicy, admission: Admission) -> Self {
        let is_kept = matches!(policy, HostPolicy::PassThrough);
        Self {
            arrival,
            queue: Duration::ZERO,
            queued_at: admission.ticket().map(|_| arrival.at),
            answered: None,
            head_sent: None,
            bytes_out: 0,
            backend: None,
            hedge: None,
            host: (!is_kept).then(|| head.authority().into()),
        }
    }

    pub(super) fn on_queued(&mut self, now: Nanos) {
        self.queued_at.get_or_insert(now);
    }

    pub(super) fn on_unqueued(&mut self, now: Nanos) {
        self.queue += self.queued_at.take().map_or(Duration::ZERO, |since| now - since);
    }

    pub(super) fn on_attempt(&mut self, backend: usize) {
        self.backend = Some(backend);
    }

    pub(super) fn on_hedge(&mut self, slot: SlotId, now: Nanos) {
        self.hedge = Some((slot, now));
    }

    /// Returns the slot and the start of the hedge, if there was one.
    pub(super) fn hedge(&self) -> Option<(SlotId, Nanos)> {
        self.hedge
    }

    /// Notes that the response head was sent to the client.
    pub(super) fn on_head(&mut self, backend: Option<usize>, times: Option<(Duration, Duration)>, now: Nanos) {
        self.backend = backend.or(self.backend);
        (self.answered, self.head_sent) = (times, Some(now));
    }

    /// Notes body bytes that the client's connection has taken.
    pub(super) fn on_taken(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    /// Returns the time in queues until `now`.
    pub(super) fn queue(&self, now: Nanos) -> Duration {
        self.queue + self.queued_at.map_or(Duration::ZERO, |since| now - since)
    }
}

impl Exchange {
    /// Returns how long the attempt waited for a connection and, after that, for its response head.
    pub(super) fn attempt_times(&self, slot: SlotId, now: Nanos) -> Option<(Duration, Duration)> {
        let (started, sent) = self.attempt.times(slot)?;
        let sent = sent.unwrap_or(started);
        Some((sent - started, now - sent))
    }

    /// Returns the report about the request, which ends now.
    pub(super) fn record(&self, outcome: Outcome, answer: Option<LocalAnswer>, now: Nanos) -> RequestRecord<'_> {
        let Timeline { arrival, ref host, backend, .. } = self.timeline;
        let upstream = self.snapshot.config.upstreams.get(self.upstream);
        let backend = upstream.zip(backend).and_then(|(upstream, backend)| upstream.backends.get(backend));
        let of_head = of_head(&self.head.fields, arrival, outcome, answer, now);
        RequestRecord {
            host: host.as_deref().unwrap_or(of_head.host),
            status: of_head.status.or(self.status),
            upstream: upstream.map(|upstream| upstream.name.as_str()),
            backend: backend.map(|backend| backend.address.written.as_str()),
            queue: self.timeline.queue(now),
            connect: self.timeline.answered.map(|(connect, _)| connect),
            upstream_time: self.timeline.answered.map(|(_, response)| response),
            first_byte: of_head.first_byte.or(self.timeline.head_sent.map(|sent| sent - arrival.at)),
            bytes_in: self.upload.received(),
            bytes_out: self.timeline.bytes_out + of_head.bytes_out,
            attempts: self.attempt.started(),
            is_hedged: self.timeline.hedge.is_some(),
            ..of_head
        }
    }
}

/// Returns the report about a request that was refused before it had an exchange. `fields` are those of its head.
pub(super) fn of_head<'a>(
    fields: &'a Fields,
    arrival: Arrival,
    outcome: Outcome,
    answer: Option<LocalAnswer>,
    now: Nanos,
) -> RequestRecord<'a> {
    let first = |name| fields.first(name).unwrap_or_default();
    let latency = now - arrival.at;
    RequestRecord {
        request_id: first(Known::XRequestId),
        trace: None,
        method: first(Known::Method),
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
