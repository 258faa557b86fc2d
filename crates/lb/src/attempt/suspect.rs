//! Streams that backends reset with `INTERNAL_ERROR`: failures of which the request may be the cause as well as the backend.
//!
//! A client that knows a request which makes backends reset its stream must not take one out of service with it. What tells
//! the two causes apart is the retry: if another backend answers the same request, the first one is to blame. Used by `plan`.

use std::time::Duration;

use super::backends::BackendSet;
use super::failure::{ErrorCode, FailureKind};
use super::step::Cx;
use crate::pool::UnrecordedAttempt;
use crate::time::Nanos;

/// A backend that answered a request well less than this long ago is not to blame for a stream that it resets.
const RESET_GRACE: Duration = Duration::from_secs(1);

/// An attempt that ended so.
#[derive(Clone, Copy, Debug)]
struct Suspect {
    attempt: UnrecordedAttempt,
    /// When the request was sent.
    since: Nanos,
    elapsed: Duration,
}

/// The attempts of one request that ended so, none of them booked. There are no more of them than attempts.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<Suspect>);

impl Suspects {
    /// Adds an attempt whose request was sent at `since`.
    pub(super) fn add(&mut self, attempt: UnrecordedAttempt, since: Nanos, now: Nanos) {
        self.0.push(Suspect { attempt, since, elapsed: now - since });
    }

    /// Books them: the backend `answering` has answered the same request. `booked` are the backends that the request has
    /// counted against.
    pub(super) fn record(&mut self, cx: &mut Cx<'_>, answering: usize, blamed: &mut BackendSet) {
        let Some(blame) = FailureKind::Reset(ErrorCode::Internal).blame() else { return };
        for Suspect { attempt, since, elapsed } in std::mem::take(&mut self.0) {
            let backend = attempt.index();
            let Some(state) = cx.upstream.pool().members().get(backend).map(|member| &member.state) else { continue };
            let serves_others = !state.is_failing_since(since) || state.succeeded_within(RESET_GRACE, cx.now);
            if backend == answering || serves_others || !blamed.insert(backend) {
                continue;
            }
            state.latency.observe(elapsed.max(cx.upstream.options().attempt.response_timeout), cx.now);
            let transitions = attempt.fail(cx.upstream.pool(), blame, cx.now);
            cx.upstream.queue_transitions(backend, transitions);
        }
    }
}
