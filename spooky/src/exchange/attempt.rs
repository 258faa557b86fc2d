//! Events before the response head. Executes the steps that `lb::attempt` decides and reports their results back to it.

use super::{
    failure,
    io::Io,
    log,
    outcome::{BackendFault, Outcome},
    state::{Admission, Context, Exchange, Next},
};
use spooky_bridge::message::{ResetReason, rewrite};
use spooky_lb::{
    admit::{Permit, Ticket, WaitPeriod},
    attempt::{Attempts, FailureKind as LbFailure, SlotId, Step},
    outcome::Reason,
    time::Nanos,
};
use spooky_transport::{Failure, FailureKind, Unsent};
use std::{ops::ControlFlow, time::Duration};

impl Exchange {
    /// Starts the exchange, which has its permit or waits for one.
    pub(super) fn on_begin<I: Io>(&mut self, cx: &mut Context<'_, I>) -> Next {
        let next = match self.admission {
            Admission::Queued(_) => Next::Continue,
            Admission::Admitted(_) | Admission::WaitingForBackend(_) => self.start(cx),
        };
        if self.upload.is_absent() { next } else { self.count_unread(cx, next) }
    }

    /// Continues with the permit for which the exchange was waiting.
    pub(super) fn on_permit<I: Io>(&mut self, cx: &mut Context<'_, I>, permit: Permit, waited: WaitPeriod) -> Next {
        self.permit = Some(permit);
        self.timeline.on_unqueued(cx.nanos);
        self.admission = Admission::Admitted(Some(waited));
        self.start(cx)
    }

    /// Records that the exchange is in the queue for a backend.
    pub(super) fn on_queued(&mut self, ticket: Ticket, now: Nanos) {
        self.timeline.on_queued(now);
        self.admission = Admission::WaitingForBackend(ticket);
    }

    /// Tries again to get a backend. Returns `WaitForBackend`, keeping the ticket, if none has capacity.
    pub(super) fn on_backend_room<I: Io>(&mut self, cx: &mut Context<'_, I>) -> Next {
        let next = self.start(cx);
        if !matches!(next, Next::WaitForBackend { .. }) {
            self.admission = Admission::Admitted(None);
            self.timeline.on_unqueued(cx.nanos);
        }
        next
    }

    fn start<I: Io>(&mut self, cx: &mut Context<'_, I>) -> Next {
        let step = self.with_attempts(cx, Attempts::on_start);
        self.perform(cx, step)
    }

    /// Executes steps until the exchange must wait for an event.
    pub(super) fn perform<I: Io>(&mut self, cx: &mut Context<'_, I>, first: Option<Step>) -> Next {
        let mut next = first;
        while let Some(step) = next {
            next = match step {
                Step::Start { slot, backend } | Step::Hedge { slot, backend } | Step::Resend { slot, backend } => {
                    let is_hedge = matches!(step, Step::Hedge { .. });
                    self.timeline.on_attempt(backend);
                    self.count_start(step, cx.nanos);
                    self.begin_span(cx, slot, backend, is_hedge);
                    match self.send_to(cx, slot, backend) {
                        ControlFlow::Continue(step) => step,
                        ControlFlow::Break(next) => return next,
                    }
                }
                Step::Cancel { slot } => {
                    self.cancel(cx.io, slot);
                    let error = if self.response.has_begun() { "cancelled" } else { "timeout" };
                    self.end_span(slot, cx.nanos, Some(error));
                    self.with_attempts(cx, Attempts::next)
                }
                Step::Full => return Next::WaitForBackend { is_held_back: false },
                Step::ClientFull => return Next::WaitForBackend { is_held_back: true },
                Step::Answer(reason) => {
                    if reason == Reason::NoHealthyBackend {
                        self.snapshot.log_unhealthy(self.upstream, cx.now);
                    }
                    return Next::End(Outcome::Answer(reason));
                }
                Step::Wait | Step::Done => None,
            };
        }
        self.pause_upload(cx);
        Next::Continue
    }

    /// Sends the request to a backend. Continues with the next step if that fails or if the request waits for a connection.
    fn send_to<I: Io>(
        &mut self,
        cx: &mut Context<'_, I>,
        slot: SlotId,
        backend: usize,
    ) -> ControlFlow<Next, Option<Step>> {
        let id = self.snapshot.backend_id(self.upstream, backend);
        let Some(compiled) = self.snapshot.upstreams.get(self.upstream) else { return ControlFlow::Continue(None) };
        rewrite::retarget(&mut self.head, compiled.scheme(backend).as_bytes(), compiled.authority(backend));
        self.upload.rewind();
        let request = match id {
            Some(id) => cx.io.request(id, &self.head, self.upload.is_absent(), self.tag.with_slot(slot)),
            None => Err(Unsent::UnknownBackend),
        };
        match request {
            Ok(handle) => {
                log::selected(self, backend);
                if let Some(of_slot) = self.handle(slot) {
                    *of_slot = Some(handle);
                }
                if cx.io.is_waiting(handle) {
                    ControlFlow::Continue(None)
                } else {
                    ControlFlow::Break(self.on_sent(cx, slot))
                }
            }
            Err(unsent) => {
                let (kind, sent) = (failure::kind_of_unsent(unsent), self.upload.sent());
                self.end_span(slot, cx.nanos, Some("not_sent"));
                ControlFlow::Continue(self.with_attempts(cx, |attempt, cx| attempt.on_failure(cx, slot, kind, sent)))
            }
        }
    }

    /// Handles that the request was sent after it had `waited` for its connection.
    pub(super) fn on_connected<I: Io>(&mut self, cx: &mut Context<'_, I>, slot: SlotId, waited: Duration) -> Next {
        self.snapshot.counts.on_connected(self.upstream, self.attempt.backend(slot), waited);
        self.on_sent(cx, slot)
    }

    pub(super) fn on_sent<I: Io>(&mut self, cx: &mut Context<'_, I>, slot: SlotId) -> Next {
        if let Some(handle) = self.handle(slot).and_then(|handle| *handle) {
            self.resize_window(cx.io, handle);
        }
        self.with_attempts(cx, |attempt, cx| attempt.on_sent(cx, slot));
        self.on_upload(cx)
    }

    pub(super) fn on_failed<I: Io>(&mut self, cx: &mut Context<'_, I>, slot: SlotId, failed: &Failure) -> Next {
        if let Some(handle) = self.handle(slot) {
            *handle = None;
        }
        if let FailureKind::Reset(_) = failed.kind
            && let Some(reason) = failed.reset_reason()
        {
            self.snapshot.counts.on_reset_by_upstream(reason);
        }
        if failed.kind == FailureKind::ConnectTimeout {
            self.snapshot.counts.totals().upstream_timeouts.increment();
        }
        self.end_span(slot, cx.nanos, Some(failure::error_type(failed.kind)));
        if self.response.has_begun() {
            log::failed(self, slot, "body", failed, cx.now);
            return Next::End(Outcome::backend_failed(failed));
        }
        log::failed(self, slot, "send", failed, cx.now);
        let (kind, sent) = (failure::kind_of(failed), self.upload.sent());
        self.snapshot.counts.on_failure(self.upstream, self.attempt.backend(slot), kind, false);
        let step = self.with_attempts(cx, |attempt, cx| attempt.on_failure(cx, slot, kind, sent));
        self.perform(cx, step)
    }

    /// Reports a fault of the backend to its health, and resets the streams that are still open.
    pub(super) fn on_finish<I: Io>(&mut self, cx: &mut Context<'_, I>, outcome: Outcome) {
        if let Outcome::Reset { fault: Some(fault), .. } = outcome {
            let kind = match fault {
                BackendFault::Failed(kind) => kind,
                BackendFault::Silent { .. } => LbFailure::ResponseTimeout,
            };
            self.snapshot.counts.on_failure(self.upstream, self.answering_backend(), kind, true);
            self.with_attempts(cx, |attempt, cx| match fault {
                BackendFault::Failed(kind) => attempt.on_broken(cx, kind),
                BackendFault::Silent { since } => attempt.on_silence(cx, since),
            });
        }
        if let Some(denial) = self.attempt.retry_denial() {
            self.snapshot.counts.on_denial(denial);
        }
        self.close_upstream(cx.io, ResetReason::Cancelled);
    }

    /// Counts the start of an attempt.
    fn count_start(&mut self, step: Step, now: Nanos) {
        match step {
            Step::Hedge { slot, .. } => {
                self.timeline.on_hedge(slot, now);
                self.snapshot.counts.totals().hedges.triggered.increment();
            }
            Step::Start { .. } if self.attempt.started() > 1 => {
                self.snapshot.counts.on_retry(self.attempt.last_failure());
            }
            _ => {}
        }
    }
}
