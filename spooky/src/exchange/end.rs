//! The one end of requests: whatever ends one, [`Exchanges::finish`] returns what it held, gives the client what it gets, and
//! counts it. Requests that are refused before they have an exchange end there as well.

use super::{
    Exchanges, Sides,
    attempt::kind_of,
    client::ClientSide,
    local::Asked,
    log,
    state::{Exchange, Response},
};
use spooky_bridge::message::{ResetReason, local};
use spooky_edge::Abort;
use spooky_lb::{
    attempt::{Expiry, FailureKind},
    outcome::{Reason, Reset},
    time::Nanos,
};
use spooky_transport::{self as transport, Failure};

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
        let reset = match failure.kind {
            transport::FailureKind::Malformed(_) => Reset::UpstreamProtocol,
            transport::FailureKind::ResponseHeadersTooLarge => Reset::ResponseTrailersTooLarge,
            _ => Reset::UpstreamReset,
        };
        Self::Reset { reset, reason: reset_reason(failure), fault: Some(BackendFault::Failed(kind_of(failure))) }
    }

    /// What it is where the response has begun, or has not.
    fn after(self, response: &Response) -> Self {
        match self {
            Self::Answer(reason) if !matches!(response, Response::Awaited) => Self::cut(reset_of(reason)),
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

/// As what an ended request counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// A backend's answer below 500 was delivered completely.
    Success,
    /// Everything else that was not the client's wish.
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

    fn on_end(&mut self, ending: Ending) {
        let count = match ending {
            Ending::Success => &mut self.success,
            Ending::Failure => &mut self.failure,
            Ending::Cancelled => &mut self.cancelled,
        };
        *count += 1;
    }
}

/// A request that ends.
pub(super) enum Ended<'a> {
    /// Its exchange, which is out of the table.
    Exchange(&'a mut Exchange),
    /// It was refused before it had an exchange.
    Refused(ClientSide, Asked<'a>),
}

impl Exchanges {
    /// Ends an exchange.
    pub(super) fn end(&mut self, sides: &mut Sides<'_>, key: usize, outcome: Outcome) {
        let Some(mut exchange) = self.table.try_remove(key) else { return };
        let outcome = outcome.after(&exchange.response);
        self.finish(sides, Ended::Exchange(&mut exchange), outcome);
    }

    /// Ends a request: every request that was received comes here exactly once.
    pub(super) fn finish(&mut self, sides: &mut Sides<'_>, mut ended: Ended<'_>, outcome: Outcome) {
        let (client, status) = match &mut ended {
            Ended::Exchange(exchange) => {
                self.give_back(sides, exchange, outcome);
                (exchange.client, exchange.status)
            }
            Ended::Refused(client, _) => (*client, None),
        };
        self.counts.on_end(outcome.ending(status));
        match outcome {
            Outcome::Complete => {}
            Outcome::Answer(reason) => self.answer(sides, client, reason, &ended.asked()),
            Outcome::Reset { reset, reason, .. } => {
                log::cut_off(ended.asked().request_id, reset);
                client.reset(sides.listeners, reason);
            }
            Outcome::Aborted(abort) => {
                log::aborted(ended.asked().request_id, abort);
            }
        }
    }

    /// Takes an exchange out of all that it waits for. Its permits return when it is dropped; backend streams that are still
    /// open are reset.
    fn give_back(&mut self, sides: &mut Sides<'_>, exchange: &mut Exchange, outcome: Outcome) {
        if let Outcome::Reset { fault: Some(fault), .. } = outcome {
            let now = self.nanos(sides.now);
            exchange.ask(now, self.clock.rng(), |attempt, cx| match fault {
                BackendFault::Failed(kind) => attempt.on_broken(cx, kind),
                BackendFault::Silent { since } => attempt.on_silence(cx, since),
            });
        }
        self.leave_queue(exchange);
        for handle in exchange.handles.iter_mut().filter_map(Option::take) {
            sides.transport.reset(handle, ResetReason::Cancelled);
        }
    }
}

impl Ended<'_> {
    /// How an answer to it must be given.
    fn asked(&self) -> Asked<'_> {
        match self {
            Self::Refused(_, asked) => *asked,
            Self::Exchange(exchange) => Asked {
                method: exchange.method,
                is_grpc: local::is_grpc(&exchange.head.fields),
                request_id: exchange.request_id(),
            },
        }
    }
}

/// What a refusal that comes too late for an answer is called.
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

/// What the client sees when a response breaks off.
fn reset_reason(failure: &Failure) -> ResetReason {
    match (failure.kind, failure.reset_reason()) {
        (
            transport::FailureKind::Reset(_),
            Some(reason @ (ResetReason::Cancelled | ResetReason::ExcessiveLoad | ResetReason::VersionFallback)),
        ) => reason,
        _ => ResetReason::Internal,
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
            counts.on_end(outcome.ending(status));
        }
        assert_eq!(counts, RequestCounts { total: 11, success: 3, failure: 5, cancelled: 3 });
    }

    #[test]
    fn an_answer_that_comes_too_late_is_a_reset() {
        let streaming = Response::Ending;
        let answer = Outcome::Answer(Reason::BodyIdle);
        assert_eq!(answer.after(&Response::Awaited), answer);
        assert_eq!(answer.after(&streaming), Outcome::cut(Reset::RequestBodyIdle));
        assert_eq!(Outcome::Answer(Reason::NoRoute).after(&streaming), Outcome::cut(Reset::Internal));
        assert_eq!(Outcome::Complete.after(&streaming), Outcome::Complete);
    }
}
