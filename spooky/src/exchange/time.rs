//! Deadlines of an exchange (docs/reference/behaviour.md#timeouts).

use super::{
    io::Io,
    log,
    outcome::Outcome,
    state::{Context, Exchange, Next},
};
use spooky_lb::{
    attempt::{Attempts, Deadlines, Expiry, FailureKind, Step},
    time::Nanos,
};
use std::time::Instant;

/// The owner of a deadline.
enum Overdue {
    Attempt,
    Phase(Expiry),
}

impl Exchange {
    pub(super) fn deadline(&self, epoch: Instant) -> Option<Instant> {
        self.nearest()?.0.to_instant(epoch)
    }

    /// Handles an expired deadline. Does nothing if it was moved meanwhile.
    pub(super) fn on_deadline<I: Io>(&mut self, cx: &mut Context<'_, I>) -> Next {
        let Some((at, overdue)) = self.nearest().filter(|(at, _)| *at <= cx.nanos) else { return Next::Continue };
        match overdue {
            Overdue::Phase(Expiry::ClientStall) if !cx.io.has_unsent(self.client) => {
                self.update_deadlines(cx.nanos, Deadlines::on_nothing_waits);
                Next::Continue
            }
            Overdue::Phase(expiry) => {
                // An idle tunnel may be the client's doing.
                if matches!(expiry, Expiry::FirstByte | Expiry::BodyIdle) {
                    self.snapshot.counts.totals().upstream_timeouts.increment();
                }
                log::expired(self, expiry, cx.now);
                Next::End(match expiry.reason().filter(|_| !self.response.has_begun()) {
                    Some(reason) => Outcome::Answer(reason),
                    None => Outcome::overdue(expiry, self.silent_since(at, expiry)),
                })
            }
            Overdue::Attempt => {
                let running = self.running();
                let step = self.with_attempts(cx, Attempts::on_timer);
                if let Some(Step::Cancel { slot }) = step {
                    let backend = running.get(slot.index()).copied().flatten();
                    self.snapshot.counts.on_failure(self.upstream, backend, FailureKind::ResponseTimeout, false);
                    log::late(self, backend, cx.now, cx.nanos);
                }
                self.perform(cx, step)
            }
        }
    }

    /// Returns the nearest deadline and its owner.
    fn nearest(&self) -> Option<(Nanos, Overdue)> {
        let (phase, expiry) = self.deadlines.next(&self.snapshot.upstreams.get(self.upstream)?.deadline_options);
        let attempt = if self.response.has_begun() {
            Nanos::NEVER
        } else {
            self.attempt.timer(&*self.snapshot.upstream(self.upstream)?)
        };
        Some(if attempt <= phase { (attempt, Overdue::Attempt) } else { (phase, Overdue::Phase(expiry)) })
    }

    /// Returns since when the backend has been silent, if its silence has expired at `at`.
    fn silent_since(&self, at: Nanos, expiry: Expiry) -> Option<Nanos> {
        let upstream = self.snapshot.upstreams.get(self.upstream)?;
        Some(at.earlier(expiry.silence(&upstream.deadline_options)?))
    }
}
