//! Events of the response: forwards it, and returns credit to the backend for what the client's connection has taken.

use super::{
    io::Io,
    log,
    outcome::Outcome,
    response::Response,
    state::{Context, Exchange, Next},
};
use bytes::Bytes;
use spooky_bridge::message::{
    Fields, Known, Protocol, ResetReason, ResponseHead,
    rewrite::{self, ResponseContext},
};
use spooky_edge::Body;
use spooky_lb::{
    attempt::{Attempts, BodyKind, SlotId, UploadWait},
    outcome::{Reason, Reset},
    time::Nanos,
};

impl Exchange {
    /// Forwards an interim response.
    pub(super) fn on_interim<I: Io>(
        &self,
        cx: &mut Context<'_, I>,
        protocol: Protocol,
        mut head: ResponseHead,
    ) -> Next {
        if !self.response.has_begun() {
            rewrite::to_client(&mut head, &ResponseContext { protocol, method: self.method, alt_svc: None });
            cx.io.send_interim(self.client, &head);
        }
        Next::Continue
    }

    /// Forwards the head of the response.
    pub(super) fn on_head<I: Io>(
        &mut self,
        cx: &mut Context<'_, I>,
        slot: SlotId,
        protocol: Protocol,
        mut head: ResponseHead,
        end: bool,
    ) -> Next {
        if self.response.has_begun() {
            return Next::Continue;
        }
        let limit = self.snapshot.limits.max_response_body;
        rewrite::to_client(&mut head, &ResponseContext { protocol, method: self.method, alt_svc: None });
        let (has_body, is_tunnel) = (head.has_body(self.method), head.opens_tunnel(self.method));
        if has_body && head.content_length.zip(limit).is_some_and(|(length, limit)| length > limit) {
            return Next::End(Outcome::Answer(Reason::ResponseBodyTooLarge));
        }
        let body = if !has_body || end { Body::None } else { Body::of(head.content_length) };
        self.upload.discard_replay();
        self.free_large_head();
        self.response = Response::Streaming { winner: slot, received: 0, unaccepted: 0, is_tunnel };
        let (kind, status) = (if is_tunnel { BodyKind::Tunnel } else { kind_of(&head) }, head.status);
        self.status = Some(status);
        self.answer_span(slot, protocol, status);
        log::response(self, slot, status, cx.nanos);
        self.store_sticky_backend(cx.io, slot);
        self.update_deadlines(cx.nanos, |deadlines, options, now| deadlines.on_head(options, kind, now));
        if let Some(alt_svc) = cx.io.alt_svc(self.client) {
            head.fields.push(Known::AltSvc, alt_svc);
        }
        self.show_decision(&mut head.fields);
        let (backend, times) = (self.attempt.backend(slot), self.attempt_times(slot, cx.nanos));
        self.timeline.on_head(backend, times, cx.nanos);
        self.count_head(slot, status, cx.nanos);
        cx.io.send_head(self.client, &head, body, is_tunnel);
        let step = self.with_attempts(cx, |attempt, cx| attempt.on_head(cx, slot, status));
        match self.perform(cx, step) {
            Next::Continue if end => self.on_end(cx, None),
            next => next,
        }
    }

    /// Counts the response head, and whether a hedge was of use.
    fn count_head(&self, slot: SlotId, status: u16, now: Nanos) {
        let counts = &self.snapshot.counts;
        if let Some((_, response)) = self.attempt_times(slot, now) {
            counts.on_head(self.upstream, self.attempt.backend(slot), status, response);
        }
        let hedges = &counts.totals().hedges;
        match self.timeline.hedge() {
            Some((hedge, _)) if hedge == slot => hedges.won.increment(),
            Some((_, started)) => {
                hedges.wasted.increment();
                hedges.primary_won.increment();
                hedges.primary_late.add_time(now - started);
            }
            None => {}
        }
    }

    /// With sticky-cid, stores the answering backend in the client's connection.
    fn store_sticky_backend(&self, io: &mut impl Io, slot: SlotId) {
        let upstream = self.snapshot.upstreams.get(self.upstream);
        if let Some(sticky) = upstream.and_then(|upstream| upstream.sticky.as_ref())
            && let Some(backend) = self.attempt.backend(slot)
            && let Some(&backend) = sticky.backends.get(backend)
        {
            io.set_sticky_backend(self.client, sticky.name, backend);
        }
    }

    /// Forwards a part of the response body.
    pub(super) fn on_data<I: Io>(&mut self, cx: &mut Context<'_, I>, data: Bytes, end: bool) -> Next {
        let limit = self.snapshot.limits.max_response_body;
        let Response::Streaming { received, is_tunnel, .. } = &mut self.response else { return Next::Continue };
        let length = data.len();
        *received += length as u64;
        if limit.is_some_and(|limit| *received > limit) && !*is_tunnel {
            return Next::End(Outcome::cut_off(Reset::ResponseBodyTooLarge));
        }
        let accepted = cx.io.send_body(self.client, data);
        self.timeline.on_taken(accepted);
        let is_full = self.response.on_forwarded(length, accepted);
        if !end {
            self.give_credit(cx.io, accepted);
        }
        self.update_deadlines(cx.nanos, |deadlines, options, now| {
            if length > 0 {
                deadlines.on_body(options, now);
            }
            deadlines.on_client(options, accepted > 0, accepted as u64, is_full, now);
        });
        if end { self.on_end(cx, None) } else { Next::Continue }
    }

    /// Handles waiting bytes that the client's connection has taken, `bytes` of them of the body.
    pub(super) fn on_accepted<I: Io>(&mut self, cx: &mut Context<'_, I>, bytes: usize) -> Next {
        let is_full = self.response.on_accepted(bytes);
        self.timeline.on_taken(bytes);
        self.give_credit(cx.io, bytes);
        self.update_deadlines(cx.nanos, |deadlines, options, now| {
            deadlines.on_client(options, true, bytes as u64, is_full, now);
        });
        Next::Continue
    }

    /// Ends the response with trailers.
    pub(super) fn on_trailers<I: Io>(&mut self, cx: &mut Context<'_, I>, mut fields: Fields) -> Next {
        rewrite::response_trailers(&mut fields);
        self.on_end(cx, Some(&fields))
    }

    /// Handles the end of the response.
    fn on_end<I: Io>(&mut self, cx: &mut Context<'_, I>, trailers: Option<&Fields>) -> Next {
        let Response::Streaming { is_tunnel, .. } = self.response else { return Next::Continue };
        // A tunnel consists of DATA only (RFC 9114 section 4.4).
        let trailers = trailers.filter(|fields| !fields.is_empty() && !is_tunnel);
        let is_sent = cx.io.send_end(self.client, trailers);
        if is_tunnel && !self.upload.is_sent() {
            self.response = Response::HalfClosed { is_sent };
            return Next::Continue;
        }
        if let Some(winner) = self.response.winner() {
            self.end_span(winner, cx.nanos, None);
        }
        self.response = Response::Ending;
        self.deadlines.on_body_end();
        if self.upload.is_sent() {
            self.handles = [None, None];
        } else {
            // The response is complete; the rest of the upload is not needed (RFC 9113 section 8.1).
            self.close_upstream(cx.io, ResetReason::NoError);
        }
        // Releases the backend. While the client reads the rest, the exchange holds only its permit.
        self.with_attempts(cx, Attempts::on_complete);
        if is_sent {
            return Next::End(Outcome::Complete);
        }
        self.update_deadlines(cx.nanos, |deadlines, options, now| {
            deadlines.on_upload(options, UploadWait::Proxy, 0, now);
            deadlines.on_client(options, false, 0, true, now);
        });
        Next::Continue
    }

    /// Handles that the client's connection has taken the whole response. A tunnel may continue in the other direction.
    pub(super) fn on_all_sent(&mut self) -> Next {
        match &mut self.response {
            Response::HalfClosed { is_sent } if !self.upload.is_sent() => {
                *is_sent = true;
                Next::Continue
            }
            Response::Ending | Response::HalfClosed { .. } => Next::End(Outcome::Complete),
            Response::Awaited | Response::Streaming { .. } => Next::Continue,
        }
    }

    /// Adjusts the window of the response, and returns credit for bytes that the client's connection has taken.
    fn give_credit(&self, io: &mut impl Io, bytes: usize) {
        if let Some(winner) = self.response.winner()
            && let Some(Some(handle)) = self.handles.get(winner.index())
            && bytes > 0
        {
            self.resize_window(io, *handle);
            io.release(*handle, bytes);
        }
    }
}

/// Returns which idle timeout applies to a response (docs/reference/behaviour.md#timeouts).
fn kind_of(head: &ResponseHead) -> BodyKind {
    let content = head.fields.first(Known::ContentType).unwrap_or_default();
    if content.starts_with(b"text/event-stream") || content.starts_with(b"application/grpc") {
        BodyKind::LongLived
    } else {
        BodyKind::Ordinary
    }
}
