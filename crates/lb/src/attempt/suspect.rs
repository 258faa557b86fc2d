//! Attempts whose streams were reset with `INTERNAL_ERROR`: either the request or the backend can be the cause.
//!
//! A client that knows a request with which backends reset the stream must not be able to get a backend ejected. The retry
//! tells the causes apart: if another backend answers the same request, the failure counts against the first one.

use std::time::Duration;

use super::backends::BackendSet;
use super::failure::{ErrorCode, FailureKind};
use super::step::Cx;
use crate::pool::UnrecordedAttempt;
use crate::time::Nanos;

/// A reset does not count against a backend that completed a successful response less than this long ago.
const RESET_GRACE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Suspect {
    attempt: UnrecordedAttempt,
    /// When the request was sent.
    since: Nanos,
    elapsed: Duration,
}

/// Attempts of one request that ended so and were not recorded. At most as many as the request has attempts.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<Suspect>);

impl Suspects {
    /// Adds an attempt whose request was sent at `since`.
    pub(super) fn add(&mut self, attempt: UnrecordedAttempt, since: Nanos, now: Nanos) {
        self.0.push(Suspect { attempt, since, elapsed: now - since });
    }

    /// Records them as failed, because the backend `answering` has answered the same request. `blamed`: the backends that the
    /// request has counted against.
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
