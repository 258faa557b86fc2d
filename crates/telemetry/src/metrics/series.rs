//! What one worker counts: in total, for each route and for each backend.
//!
//! Every field has one writer, its worker. Readers add up the workers.

use super::{
    counter::Counter,
    histogram::{Distribution, Histogram},
    method,
    sparse::SparseCounts,
    upstreams::ConnectionGauge,
};
use crate::record::{ClientProtocol, RequestRecord};
use spooky_lb::{attempt::FailureKind, outcome::Reason};
use std::{sync::Arc, time::Duration};

/// Totals of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerSeries {
    /// Request heads received.
    pub requests: Counter,
    /// Answered by a backend below 500, and delivered completely.
    pub success: Counter,
    /// Ended in any other way, but not by the client.
    pub failure: Counter,
    /// Ended by the client.
    pub cancelled: Counter,
    /// Heads that break a rule.
    pub validation_rejects: Counter,
    /// Requests that a policy denies.
    pub policy_denied: Counter,
    /// Requests in early data that were accepted, and that were not.
    pub early_data: [Counter; 2],
    /// Failures of attempts: timeouts, and all others.
    pub backend_failures: [Counter; 2],
    /// Timeouts that backends have caused, for the watchdog. Deadlines of clients do not count.
    pub upstream_timeouts: Counter,
    /// Connection attempts whose TLS handshake failed.
    pub upstream_tls_failures: Counter,
    /// Passive failures by [`PASSIVE_REASONS`].
    pub passive_failures: [Counter; 4],
    /// Answers by [`Reason`] (upper half) and status (lower half).
    answers: SparseCounts,
    /// Retries by [`RETRY_REASONS`].
    pub retries: [Counter; 3],
    /// Retries that were not made, by [`DENIAL_REASONS`].
    pub retry_denied: [Counter; 3],
    /// Hedges.
    pub hedges: HedgeCounts,
    /// Requests that waited for a permit: for one of the process, of an upstream.
    pub waited: [Counter; 2],
    /// Resets of streams.
    pub resets: ResetCounts,
    /// Active health checks that succeeded, and that failed.
    pub probes: [Counter; 2],
}

/// Labels of passive failures.
pub const PASSIVE_REASONS: [&str; 4] = ["5xx", "timeout", "transport", "tls"];
/// Labels of retries.
pub const RETRY_REASONS: [&str; 3] = ["timeout", "transport", "pool"];
/// Labels of denied retries.
pub const DENIAL_REASONS: [&str; 3] = ["budget", "no_bodyless", "no_alternate"];

/// Counts of hedges.
#[derive(Debug, Default)]
pub struct HedgeCounts {
    /// Hedges started.
    pub triggered: Counter,
    /// Hedges that answered first.
    pub won: Counter,
    /// Hedges that did not.
    pub wasted: Counter,
    /// Requests that the first attempt answered after the hedge had started.
    pub primary_won: Counter,
    /// Time between the start of the hedge and that answer, in nanoseconds.
    pub primary_late: Counter,
}

/// Counts of stream resets by side, direction and code.
#[derive(Debug, Default)]
pub struct ResetCounts(SparseCounts);

/// The side of a reset stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// A client's stream.
    Client,
    /// A backend's stream.
    Upstream,
}

/// Who reset a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Spooky.
    Sent,
    /// The peer.
    Received,
}

/// Names of the codes, in the order of their numbers.
pub const RESET_CODES: [&str; 8] =
    ["no_error", "cancelled", "internal", "protocol", "excessive_load", "version_fallback", "refused", "other"];

impl ResetCounts {
    /// Counts a reset. `code` is an index of [`RESET_CODES`].
    pub fn increment(&self, side: Side, direction: Direction, code: usize) {
        self.0.increment(((side as u32) << 9) | ((direction as u32) << 8) | (code.min(RESET_CODES.len() - 1) as u32));
    }

    /// Calls `read` with side, direction, code and count.
    pub fn for_each(&self, mut read: impl FnMut(&'static str, &'static str, &'static str, u64)) {
        self.0.for_each(|number, count| {
            let side = if number & 0x200 == 0 { "client" } else { "upstream" };
            let direction = if number & 0x100 == 0 { "sent" } else { "received" };
            let code = RESET_CODES.get((number & 0xFF) as usize).copied().unwrap_or("other");
            read(side, direction, code, count);
        });
    }
}

impl WorkerSeries {
    /// Counts an answer made by Spooky.
    pub fn count_answer(&self, reason: Reason, status: u16) {
        self.answers.increment(u32::from(reason.number()) << 16 | u32::from(status));
    }

    /// Calls `read` with each reason, status and number of answers.
    pub fn for_each_answer(&self, mut read: impl FnMut(Reason, u16, u64)) {
        self.answers.for_each(|number, count| {
            if let Some(reason) = Reason::from_number((number >> 16) as u16) {
                read(reason, number as u16, count);
            }
        });
    }
}

/// Counts of one route (an upstream, or the unrouted requests) of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RouteSeries {
    /// Requests.
    pub requests: Counter,
    /// Successes, as in [`WorkerSeries`].
    pub success: Counter,
    /// Failures, as in [`WorkerSeries`].
    pub failure: Counter,
    /// Answers because of a timeout of the upstream.
    pub timeout: Counter,
    /// Answers because of another failure of the upstream.
    pub backend_error: Counter,
    /// Requests refused because of overload.
    pub shed: Counter,
    /// Requests that have ended; the others are in flight.
    pub ended: Counter,
    /// Requests by method, status and protocol.
    statuses: SparseCounts,
    /// From the request head to the end of the response, by protocol.
    pub duration: [Histogram; 3],
    /// From the request head to the response head, by protocol.
    pub response_start: [Histogram; 3],
    /// Time in queues of the requests that had to wait.
    pub queue_wait: Histogram,
    /// Body bytes received.
    pub request_bytes: Counter,
    /// Body bytes sent.
    pub response_bytes: Counter,
}

impl RouteSeries {
    /// Counts a request that has ended, as `route` saw it.
    pub fn count(&self, record: &RequestRecord<'_>) {
        self.ended.increment();
        let protocol = record.protocol.index();
        let status = record.status.unwrap_or(0).min(999);
        self.statuses.increment(method::number(record.method) << 16 | (protocol as u32) << 10 | u32::from(status));
        observe(&self.duration, protocol, record.latency);
        if let Some(first_byte) = record.first_byte {
            observe(&self.response_start, protocol, first_byte);
        }
        if !record.queue.is_zero() {
            self.queue_wait.observe(record.queue);
        }
        self.request_bytes.add(record.bytes_in);
        self.response_bytes.add(record.bytes_out);
    }

    /// Calls `read` with method, status (0 without a response), protocol and number of requests.
    pub fn for_each_status(&self, mut read: impl FnMut(&'static str, u32, ClientProtocol, u64)) {
        self.statuses.for_each(|number, count| {
            if let Some(protocol) = ClientProtocol::ALL.get((number >> 10 & 0b11) as usize) {
                read(method::label(number >> 16), number & 0x3FF, *protocol, count);
            }
        });
    }

    /// Returns the durations of all protocols.
    pub fn durations(&self) -> Distribution {
        let mut sum = Distribution::default();
        self.duration.iter().for_each(|histogram| sum.add(histogram));
        sum
    }
}

fn observe(histograms: &[Histogram; 3], protocol: usize, duration: Duration) {
    if let Some(histogram) = histograms.get(protocol) {
        histogram.observe(duration);
    }
}

/// Counts of one backend of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct BackendSeries {
    /// Attempts by [`CODES`].
    pub attempts: [Counter; 6],
    /// Failed attempts by [`FAILURES`].
    pub failures: [Counter; 6],
    /// Failed health checks by [`PROBE_FAILURES`].
    pub probe_failures: [Counter; 7],
    /// From the request sent to the response head.
    pub response: Histogram,
    /// Time that attempts waited for a new connection.
    pub connect: Histogram,
    /// Changes of health: to healthy, to unhealthy.
    pub transitions: [Counter; 2],
    /// Open connections.
    pub connections: Arc<ConnectionGauge>,
}

/// Labels of attempts: the class of the status, or `error` without one.
pub const CODES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "error"];
/// Labels of failed attempts.
pub const FAILURES: [&str; 6] = ["dns", "connect", "tls", "reset", "timeout", "protocol"];
/// Names of failed health checks: as [`FAILURES`], then an unexpected status.
pub const PROBE_FAILURES: [&str; 7] =
    ["probe_dns", "probe_connect", "probe_tls", "probe_reset", "probe_timeout", "probe_protocol", "probe_status"];

impl BackendSeries {
    /// Counts a response head, and how long it took.
    pub fn count_head(&self, status: u16, response: Duration) {
        let class = usize::from(status / 100).saturating_sub(1).min(4);
        if let Some(count) = self.attempts.get(class) {
            count.increment();
        }
        self.response.observe(response);
    }

    /// Counts a change of health.
    pub fn count_transition(&self, is_healthy: bool) {
        let [healthy, unhealthy] = &self.transitions;
        if is_healthy { healthy } else { unhealthy }.increment();
    }

    /// Counts a failed attempt. `has_head` means that it was counted by [`BackendSeries::count_head`].
    pub fn count_failure(&self, kind: FailureKind, has_head: bool) {
        if !has_head && let Some(errors) = self.attempts.last() {
            errors.increment();
        }
        if let Some(count) = failure_class(kind).and_then(|class| self.failures.get(class)) {
            count.increment();
        }
    }

    /// Counts a failed health check. `kind` is `None` after a response with another status than expected.
    pub fn count_probe_failure(&self, kind: Option<FailureKind>) {
        let class = kind.map_or(Some(FAILURES.len()), failure_class);
        if let Some(count) = class.and_then(|class| self.probe_failures.get(class)) {
            count.increment();
        }
    }
}

/// Returns an index of [`FAILURES`], or `None` for what is not a failure of the backend.
fn failure_class(kind: FailureKind) -> Option<usize> {
    Some(match kind {
        FailureKind::Dns => 0,
        FailureKind::ConnectRefused | FailureKind::ConnectTimeout | FailureKind::Unreachable => 1,
        FailureKind::Tls | FailureKind::Certificate => 2,
        FailureKind::Unprocessed
        | FailureKind::RefusedStream
        | FailureKind::Reset(_)
        | FailureKind::ConnectionLost(_)
        | FailureKind::ConnectionRejected => 3,
        FailureKind::ResponseTimeout => 4,
        FailureKind::Malformed | FailureKind::HeadersTooLarge => 5,
        FailureKind::Local(_) => return None,
    })
}
