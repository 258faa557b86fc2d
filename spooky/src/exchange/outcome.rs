//! The outcomes of requests and how they are counted.

use super::failure;
use spooky_bridge::message::ResetReason;
use spooky_edge::Abort;
use spooky_lb::{
    attempt::{Expiry, FailureKind},
    outcome::{Reason, Reset},
    time::Nanos,
};
use spooky_telemetry::metrics::WorkerSeries;
use spooky_transport::Failure;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The client's connection has taken the backend's whole response.
    Complete,
    /// Spooky answers. If the response has already begun, the client's stream is reset instead.
    Answer(Reason),
    /// The client's stream is reset, so that the response is visibly incomplete.
    Reset {
        reset: Reset,
        reason: ResetReason,
        /// The fault of the answering backend, if it is the cause.
        fault: Option<BackendFault>,
    },
    /// The client's stream has ended.
    Aborted(Abort),
}

/// A fault of a backend after the response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BackendFault {
    Failed(FailureKind),
    /// The idle timeout has expired.
    Silent {
        since: Nanos,
    },
}

impl Outcome {
    /// Cuts off the response with the code for internal errors.
    pub(super) const fn cut_off(reset: Reset) -> Self {
        Self::Reset { reset, reason: ResetReason::Internal, fault: None }
    }

    /// Returns the outcome of an expired deadline. `silent_since` is set if the backend has caused it.
    pub(super) fn overdue(expiry: Expiry, silent_since: Option<Nanos>) -> Self {
        let fault = silent_since.map(|since| BackendFault::Silent { since });
        Self::Reset { reset: expiry.reset(), reason: ResetReason::Internal, fault }
    }

    /// Returns the outcome of a backend failure after the response head.
    pub(super) fn backend_failed(failure: &Failure) -> Self {
        let fault = Some(BackendFault::Failed(failure::kind_of(failure)));
        Self::Reset { reset: failure::reset_of(failure), reason: failure::reset_reason(failure), fault }
    }

    /// Replaces an answer by a reset if the response has begun.
    pub(super) fn for_response(self, has_begun: bool) -> Self {
        match self {
            Self::Answer(reason) if has_begun => Self::cut_off(reset_of(reason)),
            other => other,
        }
    }

    /// Returns how the request is counted, given the backend's status.
    pub(super) fn ending(self, status: Option<u16>) -> Ending {
        match self {
            Self::Complete if status.is_some_and(|status| status < 500) => Ending::Success,
            Self::Aborted(Abort::Reset(_) | Abort::Stopped(_) | Abort::Lost) => Ending::Cancelled,
            Self::Complete
            | Self::Answer(_)
            | Self::Reset { .. }
            | Self::Aborted(Abort::Malformed(_) | Abort::Closed) => Ending::Failure,
        }
    }
}

/// Returns the reset that replaces an answer.
fn reset_of(reason: Reason) -> Reset {
    match reason {
        Reason::BodyTooLarge => Reset::RequestBodyTooLarge,
        Reason::BodyIdle => Reset::RequestBodyIdle,
        Reason::RequestBufferCap => Reset::RequestBufferCap,
        Reason::HeadersTooLarge => Reset::RequestTrailersTooLarge,
        Reason::ResponseBodyTooLarge => Reset::ResponseBodyTooLarge,
        Reason::Lifetime => Reset::Lifetime,
        _ => Reset::Internal,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// A backend's response below 500 was delivered completely.
    Success,
    /// Any other end that the client did not cause.
    Failure,
    /// The client ended it.
    Cancelled,
}

/// Request counters of a worker. `total` is the sum of the others and of the requests in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestCounts {
    /// Request heads received, including refused ones.
    pub(crate) total: u64,
    /// Answered by a backend with a status below 500, and delivered completely.
    pub(crate) success: u64,
    /// Ended in any other way, but not by the client.
    pub(crate) failure: u64,
    /// Ended by the client.
    pub(crate) cancelled: u64,
}

impl RequestCounts {
    pub(super) fn of(totals: &WorkerSeries) -> Self {
        Self {
            total: totals.requests.get(),
            success: totals.success.get(),
            failure: totals.failure.get(),
            cancelled: totals.cancelled.get(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_as_what_the_client_got() {
        let cases = [
            (Outcome::Complete, Some(200), Ending::Success),
            (Outcome::Complete, Some(404), Ending::Success),
            (Outcome::Complete, Some(499), Ending::Success),
            (Outcome::Complete, Some(500), Ending::Failure),
            (Outcome::Answer(Reason::NoRoute), None, Ending::Failure),
            (Outcome::cut_off(Reset::Lifetime), Some(200), Ending::Failure),
            (Outcome::Aborted(Abort::Reset(0)), None, Ending::Cancelled),
            (Outcome::Aborted(Abort::Stopped(0)), Some(200), Ending::Cancelled),
            (Outcome::Aborted(Abort::Lost), Some(503), Ending::Cancelled),
            (Outcome::Aborted(Abort::Malformed("too short")), None, Ending::Failure),
            (Outcome::Aborted(Abort::Closed), Some(200), Ending::Failure),
        ];
        for (outcome, status, ending) in cases {
            assert_eq!(outcome.ending(status), ending, "{outcome:?} {status:?}");
        }
    }

    #[test]
    fn an_answer_that_comes_too_late_is_a_reset() {
        let answer = Outcome::Answer(Reason::BodyIdle);
        assert_eq!(answer.for_response(false), answer);
        for (reason, reset) in [
            (Reason::BodyIdle, Reset::RequestBodyIdle),
            (Reason::BodyTooLarge, Reset::RequestBodyTooLarge),
            (Reason::RequestBufferCap, Reset::RequestBufferCap),
            (Reason::HeadersTooLarge, Reset::RequestTrailersTooLarge),
            (Reason::ResponseBodyTooLarge, Reset::ResponseBodyTooLarge),
            (Reason::Lifetime, Reset::Lifetime),
            (Reason::NoRoute, Reset::Internal),
        ] {
            assert_eq!(Outcome::Answer(reason).for_response(true), Outcome::cut_off(reset));
        }
        assert_eq!(Outcome::Complete.for_response(true), Outcome::Complete);
    }
}
