//! Counts the end of requests.

use super::outcome::{Ending, Outcome};
use crate::counts::Counts;
use spooky_bridge::{
    h2::Code as H2Code,
    h3::Code as H3Code,
    message::{Protocol, ResetReason},
};
use spooky_edge::Abort;
use spooky_lb::outcome::{ErrorKind, Reason};
use spooky_telemetry::{
    RequestRecord,
    metrics::{Direction, RouteSeries, Side},
};

/// Counts the end of a request. `upstream` is its route.
pub(super) fn end(
    counts: &Counts,
    record: &RequestRecord<'_>,
    outcome: Outcome,
    upstream: Option<usize>,
    protocol: Protocol,
) {
    let (totals, route) = (counts.totals(), counts.route(upstream));
    route.count(record);
    match outcome.ending(record.status) {
        Ending::Success => {
            totals.success.increment();
            route.success.increment();
        }
        Ending::Failure => {
            totals.failure.increment();
            route.failure.increment();
        }
        Ending::Cancelled => totals.cancelled.increment(),
    }
    match outcome {
        Outcome::Complete | Outcome::Aborted(Abort::Lost | Abort::Closed) => {}
        Outcome::Answer(reason) => answer(counts, reason, record.status.unwrap_or_default(), route),
        Outcome::Reset { reason, .. } => totals.resets.increment(Side::Client, Direction::Sent, reason as usize),
        Outcome::Aborted(Abort::Reset(code) | Abort::Stopped(code)) => {
            totals.resets.increment(Side::Client, Direction::Received, reset_reason(code, protocol) as usize);
        }
        Outcome::Aborted(Abort::Malformed(_)) => {
            totals.resets.increment(Side::Client, Direction::Sent, ResetReason::Protocol as usize);
            if upstream.is_none() {
                totals.validation_rejects.increment();
            }
        }
    }
}

fn answer(counts: &Counts, reason: Reason, status: u16, route: &RouteSeries) {
    let totals = counts.totals();
    totals.count_answer(reason, status);
    match reason {
        Reason::MalformedRequest
        | Reason::AuthorityHostMismatch
        | Reason::InvalidAuthority
        | Reason::InvalidScheme
        | Reason::InvalidPath
        | Reason::AmbiguousPath
        | Reason::InvalidConnectTarget
        | Reason::ConflictingFraming
        | Reason::TooManyHeaders
        | Reason::HeadersTooLarge => totals.validation_rejects.increment(),
        Reason::PathDenied | Reason::ConnectDenied | Reason::MethodDenied => totals.policy_denied.increment(),
        Reason::EarlyDataDenied => {
            totals.policy_denied.increment();
            counts.on_early_data(false);
        }
        Reason::ResponseTimeout | Reason::TotalTimeout | Reason::UpstreamConnectTimeout | Reason::Lifetime => {
            route.timeout.increment();
        }
        other => match other.row().error {
            ErrorKind::Transport | ErrorKind::Tls | ErrorKind::Protocol | ErrorKind::Pool => {
                route.backend_error.increment();
            }
            ErrorKind::Overload => route.shed.increment(),
            _ => {}
        },
    }
}

/// Returns the reason that a client's code stands for.
fn reset_reason(code: u64, protocol: Protocol) -> ResetReason {
    if protocol == Protocol::Http3 {
        return match H3Code(code) {
            H3Code::NO_ERROR => ResetReason::NoError,
            H3Code::REQUEST_CANCELLED => ResetReason::Cancelled,
            H3Code::INTERNAL_ERROR => ResetReason::Internal,
            H3Code::GENERAL_PROTOCOL_ERROR | H3Code::MESSAGE_ERROR | H3Code::FRAME_UNEXPECTED | H3Code::FRAME_ERROR => {
                ResetReason::Protocol
            }
            H3Code::EXCESSIVE_LOAD => ResetReason::ExcessiveLoad,
            H3Code::VERSION_FALLBACK => ResetReason::VersionFallback,
            H3Code::REQUEST_REJECTED => ResetReason::Refused,
            _ => ResetReason::Other,
        };
    }
    u32::try_from(code).map_or(ResetReason::Other, |code| H2Code(code).into())
}
