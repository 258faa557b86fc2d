//! How a request ends, and as what it then counts.

use super::failure;
use spooky_bridge::message::ResetReason;
use spooky_edge::Abort;
use spooky_lb::{
    attempt::{Expiry, FailureKind},
    outcome::{Reason, Reset},
    time::Nanos,
};
use spooky_transport::Failure;

/// How a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The client's connection has taken all of a backend's response.
    Complete,
    /// Spooky answers. Where the response has begun, the client's stream is reset instead.
    Answer(Reason),
    /// The client's stream is reset, so that the client sees that its response is not complete.
    Reset {
        /// Why.
        reset: Reset,
        /// What the client is told.
        reason: ResetReason,
        /// What the backend that was answering did, if it is to blame.
        fault: Option<BackendFault>,
    },
    /// The client's stream is gone already.
    Aborted(Abort),
}

/// What a backend did to a response after its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BackendFault {
    /// It failed, or broke the protocol.
    Failed(FailureKind),
    /// It sent nothing for longer than the operator allows.
    Silent { since: Nanos },
}

impl Outcome {
    /// The response is cut off, and no code says more about it.
    pub(super) const fn cut(reset: Reset) -> Self {
        Self::Reset { reset, reason: ResetReason::Internal, fault: None }
    }

    /// A deadline has passed; the backend has been silent since then, if that is why.
    pub(super) fn overdue(expiry: Expiry, silent_since: Option<Nanos>) -> Self {
        let fault = silent_since.map(|since| BackendFault::Silent { since });
        Self::Reset { reset: expiry.reset(), reason: ResetReason::Internal, fault }
    }

    /// A backend failed after the response head.
    pub(super) fn broken_off(failure: &Failure) -> Self {
        let fault = Some(BackendFault::Failed(failure::kind_of(failure)));
        Self::Reset { reset: failure::reset_of(failure), reason: failure::reset_reason(failure), fault }
    }

    /// The outcome for a request whose response has begun, or has not.
    pub(super) fn after(self, has_begun: bool) -> Self {
        match self {
            Self::Answer(reason) if has_begun => Self::cut(reset_of(reason)),
            other => other,
        }
    }

    /// As what it counts, if a backend has answered with this status.
    fn ending(self, status: Option<u16>) -> Ending {
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

/// The reset in place of an answer that comes too late.
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

/// As what an ended request counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// A backend's answer below 500 was delivered completely.
    Success,
    /// Everything else that the client did not cause.
    Failure,
    /// The client ended it.
    Cancelled,
}

/// The requests of a worker. `total` is the sum of the others and of the requests in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RequestCounts {
    /// Complete request heads received, refused ones included.
    pub(crate) total: u64,
    /// Answered by a backend with a status below 500, and delivered completely.
    pub(crate) success: u64,
    /// Ended in any other way, but not by the client.
    pub(crate) failure: u64,
    /// Ended by the client.
    pub(crate) cancelled: u64,
}

impl RequestCounts {
    /// A request head has arrived.
    pub(super) fn on_request(&mut self) {
        self.total += 1;
    }

    /// A request has ended, after a response head with this status if there was one.
    pub(super) fn on_end(&mut self, outcome: Outcome, status: Option<u16>) {
        let count = match outcome.ending(status) {
            Ending::Success => &mut self.success,
            Ending::Failure => &mut self.failure,
            Ending::Cancelled => &mut self.cancelled,
        };
        *count += 1;
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
            (Outcome::cut(Reset::Lifetime), Some(200), Ending::Failure),
            (Outcome::Aborted(Abort::Reset(0)), None, Ending::Cancelled),
            (Outcome::Aborted(Abort::Stopped(0)), Some(200), Ending::Cancelled),
            (Outcome::Aborted(Abort::Lost), Some(503), Ending::Cancelled),
            (Outcome::Aborted(Abort::Malformed("too short")), None, Ending::Failure),
            (Outcome::Aborted(Abort::Closed), Some(200), Ending::Failure),
        ];
        let mut counts = RequestCounts::default();
        for (outcome, status, ending) in cases {
            assert_eq!(outcome.ending(status), ending, "{outcome:?} {status:?}");
            counts.on_request();
            counts.on_end(outcome, status);
        }
        assert_eq!(counts, RequestCounts { total: 11, success: 3, failure: 5, cancelled: 3 });
    }

    #[test]
    fn an_answer_that_comes_too_late_is_a_reset() {
        let answer = Outcome::Answer(Reason::BodyIdle);
        assert_eq!(answer.after(false), answer);
        for (reason, reset) in [
            (Reason::BodyIdle, Reset::RequestBodyIdle),
            (Reason::BodyTooLarge, Reset::RequestBodyTooLarge),
            (Reason::RequestBufferCap, Reset::RequestBufferCap),
            (Reason::HeadersTooLarge, Reset::RequestTrailersTooLarge),
            (Reason::ResponseBodyTooLarge, Reset::ResponseBodyTooLarge),
            (Reason::Lifetime, Reset::Lifetime),
            (Reason::NoRoute, Reset::Internal),
        ] {
            assert_eq!(Outcome::Answer(reason).after(true), Outcome::cut(reset));
        }
        assert_eq!(Outcome::Complete.after(true), Outcome::Complete);
    }
}
