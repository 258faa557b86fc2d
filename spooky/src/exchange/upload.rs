//! Events of the request body.

use super::{
    body::{Pump, PumpResult},
    io::Io,
    log,
    outcome::Outcome,
    response::Response,
    state::{Context, Exchange, Next},
};
use spooky_lb::{
    attempt::{Attempts, SlotId, UploadWait},
    outcome::Reason,
};
use spooky_transport::RequestHandle;

impl Exchange {
    /// Moves body data, after the client has sent more or the backend can take more.
    pub(super) fn on_upload<I: Io>(&mut self, cx: &mut Context<'_, I>) -> Next {
        if self.upload.is_sent() {
            return Next::Continue;
        }
        let Some((slot, handle)) = self.upload_handle().filter(|(_, handle)| !cx.io.is_waiting(*handle)) else {
            self.pause_upload(cx);
            return self.count_unread(cx, Next::Continue);
        };
        let pumped = self.pump(cx, slot, handle);
        let next = match pumped {
            PumpResult::Failed(abort) => Next::End(Outcome::Aborted(abort)),
            PumpResult::Malformed(reason) => {
                log::malformed_body(self, reason);
                Next::End(Outcome::Answer(Reason::MalformedRequest))
            }
            PumpResult::TooLarge => Next::End(Outcome::Answer(Reason::BodyTooLarge)),
            PumpResult::TrailersTooLarge => Next::End(Outcome::Answer(Reason::HeadersTooLarge)),
            PumpResult::OverBudget => Next::End(Outcome::Answer(Reason::RequestBufferCap)),
            PumpResult::Capped if self.upload.on_capped() => Next::WaitForBudget,
            PumpResult::Done => self.on_tunnel_upload_end(cx),
            PumpResult::Capped | PumpResult::Blocked | PumpResult::Starved => Next::Continue,
        };
        self.count_unread(cx, next)
    }

    /// Continues an upload that was waiting for the budget.
    pub(super) fn on_budget<I: Io>(&mut self, cx: &mut Context<'_, I>) -> Next {
        self.upload.on_uncapped();
        self.on_upload(cx)
    }

    /// Moves bytes to the stream in this slot, and updates the deadlines and the attempts.
    fn pump<I: Io>(&mut self, cx: &mut Context<'_, I>, slot: SlotId, handle: RequestHandle) -> PumpResult {
        let (received, taken) = (self.upload.received(), self.upload.taken());
        let pumped = self.upload.pump(
            cx.io,
            &Pump {
                client: self.client,
                to: handle,
                max_length: (!self.response.is_tunnel()).then_some(self.snapshot.limits.max_request_body),
                is_kept: !self.response.has_begun(),
            },
        );
        let (received, has_taken) = (self.upload.received() - received, self.upload.taken() > taken);
        let is_gone = self.upload.is_gone();
        if is_gone {
            self.free_large_head();
        }
        let is_empty = self.upload.find_absent();
        let wait = pumped.waits_for();
        self.update_deadlines(cx.nanos, |deadlines, options, now| deadlines.on_upload(options, wait, received, now));
        self.with_attempts(cx, |attempt, cx| {
            attempt.on_upload(slot, wait, has_taken, cx.now);
            if is_gone {
                attempt.on_body_gone();
            }
            if pumped == PumpResult::Done {
                if is_empty {
                    attempt.on_empty_body();
                }
                attempt.on_upload_end(cx);
            }
        });
        pumped
    }

    /// Handles the end of the upload. A tunnel ends if the backend has ended it too and the client's connection has taken
    /// everything.
    fn on_tunnel_upload_end<I>(&mut self, cx: &mut Context<'_, I>) -> Next {
        let Response::HalfClosed { is_sent } = self.response else { return Next::Continue };
        self.with_attempts(cx, Attempts::on_complete);
        if is_sent { Next::End(Outcome::Complete) } else { Next::Continue }
    }

    /// Pauses the client's body timeout while no backend can take data.
    pub(super) fn pause_upload<I: Io>(&mut self, cx: &mut Context<'_, I>) {
        if !self.upload.is_sent() && self.upload_handle().is_none_or(|(_, handle)| cx.io.is_waiting(handle)) {
            self.update_deadlines(cx.nanos, |deadlines, options, now| {
                deadlines.on_upload(options, UploadWait::Proxy, 0, now);
            });
        }
    }

    /// Counts received but unread bytes against the budget for request bodies (docs/reference/behaviour.md#bodies). Returns
    /// `next`, or the end if they exceed the budget.
    pub(super) fn count_unread<I: Io>(&mut self, cx: &mut Context<'_, I>, next: Next) -> Next {
        if matches!(next, Next::End(_)) {
            return next;
        }
        let unread = cx.io.unread(self.client);
        if self.upload.set_unread(unread) { next } else { Next::End(Outcome::Answer(Reason::RequestBufferCap)) }
    }
}
