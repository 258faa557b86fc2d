//! The response on its way to the client: passed on as it comes, credit given back for what QUIC took.

use super::{
    Exchanges, Sides,
    end::Outcome,
    log,
    state::{Exchange, Response},
};
use bytes::Bytes;
use spooky_bridge::message::{
    Fields, Known, Protocol, ResetReason, ResponseHead,
    rewrite::{self, ResponseContext},
};
use spooky_edge::Body;
use spooky_lb::{
    attempt::{Attempt, BodyKind, SlotId, UploadWait},
    outcome::{Reason, Reset},
    time::Nanos,
};
use spooky_transport::RequestHandle;

impl Exchanges {
    pub(super) fn on_interim(&mut self, sides: &mut Sides<'_>, key: usize, protocol: Protocol, mut head: ResponseHead) {
        let Some(exchange) = self.table.get(key).filter(|found| matches!(found.response, Response::Awaited)) else {
            return;
        };
        rewrite::to_client(&mut head, &ResponseContext { protocol, method: exchange.method, alt_svc: None });
        exchange.client.send_interim(sides.listeners, &head);
    }

    pub(super) fn on_head(
        &mut self,
        sides: &mut Sides<'_>,
        key: usize,
        slot: SlotId,
        protocol: Protocol,
        mut head: ResponseHead,
        end: bool,
    ) {
        let Some(exchange) = self.table.get_mut(key) else { return };
        let limit = exchange.snapshot.limits.max_response_body;
        rewrite::to_client(&mut head, &ResponseContext { protocol, method: exchange.method, alt_svc: None });
        let (has_body, is_tunnel) = (head.has_body(exchange.method), head.opens_tunnel(exchange.method));
        if has_body && head.content_length.zip(limit).is_some_and(|(length, limit)| length > limit) {
            return self.end(sides, key, Outcome::Answer(Reason::ResponseBodyTooLarge));
        }
        let body = if !has_body || end { Body::None } else { Body::of(head.content_length) };
        exchange.upload.forget_replay();
        exchange.forget_large_head();
        exchange.response = Response::Streaming { winner: slot, received: 0, unaccepted: 0, is_tunnel };
        let kind = if is_tunnel { BodyKind::Tunnel } else { kind_of(&head) };
        let (client, status) = (exchange.client, head.status);
        exchange.status = Some(status);
        log::response(exchange, slot, status, Nanos::since(self.state.epoch, sides.now));
        self.stick(sides, key, slot);
        self.mark_time(sides, key, |deadlines, phases, now| deadlines.on_head(phases, kind, now));
        client.send_head(sides.listeners, &head, body, is_tunnel);
        let step = self.ask(sides, key, |attempt, cx| attempt.on_head(cx, slot, status));
        self.perform(sides, key, step);
        if end {
            self.on_end(sides, key, None);
        }
    }

    /// The client's connection keeps the backend that answers, where the algorithm says so.
    fn stick(&self, sides: &mut Sides<'_>, key: usize, slot: SlotId) {
        let Some(exchange) = self.table.get(key) else { return };
        let upstream = exchange.snapshot.upstreams.get(exchange.upstream);
        if let Some(sticky) = upstream.and_then(|upstream| upstream.sticky.as_ref())
            && let Some(backend) = exchange.attempt.backend(slot)
            && let Some(&backend) = sticky.backends.get(backend)
        {
            exchange.client.set_sticky_backend(sides.listeners, sticky.name, backend);
        }
    }

    pub(super) fn on_data(&mut self, sides: &mut Sides<'_>, key: usize, data: Bytes, end: bool) {
        let Some(exchange) = self.table.get_mut(key) else { return };
        let limit = exchange.snapshot.limits.max_response_body;
        let Response::Streaming { received, unaccepted, is_tunnel, .. } = &mut exchange.response else { return };
        let length = data.len();
        *received += length as u64;
        if limit.is_some_and(|limit| *received > limit) && !*is_tunnel {
            return self.end(sides, key, Outcome::cut(Reset::ResponseBodyTooLarge));
        }
        let accepted = exchange.client.send_body(sides.listeners, data);
        *unaccepted = (*unaccepted + length).saturating_sub(accepted);
        let is_full = *unaccepted > 0;
        if !end {
            exchange.give_credit(sides, accepted);
        }
        self.mark_time(sides, key, |deadlines, phases, now| {
            if length > 0 {
                deadlines.on_body(phases, now);
            }
            deadlines.on_client(phases, accepted > 0, accepted as u64, is_full, now);
        });
        if end {
            return self.on_end(sides, key, None);
        }
        self.arm(key);
    }

    /// The client made room: its connection took bytes that had been waiting, so many of them of the body.
    pub(super) fn on_accepted(&mut self, sides: &mut Sides<'_>, key: usize, bytes: usize) {
        let Some(exchange) = self.table.get_mut(key) else { return };
        if let Response::Streaming { unaccepted, .. } = &mut exchange.response {
            *unaccepted = unaccepted.saturating_sub(bytes);
        }
        let is_full = match exchange.response {
            Response::Streaming { unaccepted, .. } => unaccepted > 0,
            Response::Ending | Response::HalfClosed { .. } => true,
            Response::Awaited => false,
        };
        exchange.give_credit(sides, bytes);
        self.mark_time(sides, key, |deadlines, phases, now| {
            deadlines.on_client(phases, true, bytes as u64, is_full, now);
        });
        self.arm(key);
    }

    /// The backend has ended the response.
    pub(super) fn on_end(&mut self, sides: &mut Sides<'_>, key: usize, trailers: Option<&Fields>) {
        let Some(exchange) = self.table.get_mut(key) else { return };
        let client = exchange.client;
        let is_tunnel = exchange.response.is_tunnel();
        let is_open_tunnel = is_tunnel && !exchange.upload.is_sent;
        // A tunnel has nothing but DATA (RFC 9114 4.4).
        let trailers = trailers.filter(|fields| !fields.is_empty() && !is_tunnel);
        let is_sent = client.send_end(sides.listeners, trailers);
        if is_open_tunnel {
            exchange.response = Response::HalfClosed { is_sent };
            return;
        }
        exchange.response = Response::Ending;
        exchange.deadlines.on_body_end();
        exchange.close_upstream(sides);
        // The backend's place is free for others; what the client still has to read holds only the other permits.
        self.ask(sides, key, Attempt::on_complete);
        if is_sent {
            return self.end(sides, key, Outcome::Complete);
        }
        self.mark_time(sides, key, |deadlines, phases, now| {
            deadlines.on_upload(phases, UploadWait::Proxy, 0, now);
            deadlines.on_client(phases, false, 0, true, now);
        });
        self.arm(key);
    }

    /// The whole response is with the client's connection; only a tunnel may still go on in the other direction.
    pub(super) fn on_all_sent(&mut self, sides: &mut Sides<'_>, key: usize) {
        let Some(exchange) = self.table.get_mut(key) else { return };
        match &mut exchange.response {
            Response::HalfClosed { is_sent } if !exchange.upload.is_sent => *is_sent = true,
            _ => self.end(sides, key, Outcome::Complete),
        }
    }
}

/// Which silences of a response are allowed (behaviour 6).
fn kind_of(head: &ResponseHead) -> BodyKind {
    let content = head.fields.first(Known::ContentType).unwrap_or_default();
    if content.starts_with(b"text/event-stream") || content.starts_with(b"application/grpc") {
        BodyKind::LongLived
    } else {
        BodyKind::Ordinary
    }
}

impl Exchange {
    /// The client's connection took bytes: the backend may send as many more, or as the connection has come to take.
    fn give_credit(&self, sides: &mut Sides<'_>, bytes: usize) {
        if let Response::Streaming { winner, .. } = self.response
            && let Some(Some(handle)) = self.handles.get(winner.index())
            && bytes > 0
        {
            self.size_window(sides, *handle);
            sides.transport.release(*handle, bytes);
        }
    }

    /// The backend may send ahead what the client's connection has room for.
    pub(super) fn size_window(&self, sides: &mut Sides<'_>, handle: RequestHandle) {
        if let Some(share) = self.client.stream_share(sides.listeners) {
            sides.transport.resize(handle, share);
        }
    }

    /// The response is complete; an upload that is not is given up without blame (RFC 9113 8.1).
    fn close_upstream(&mut self, sides: &mut Sides<'_>) {
        let is_sent = self.upload.is_sent;
        for handle in self.handles.iter_mut().filter_map(Option::take) {
            if !is_sent {
                sides.transport.reset(handle, ResetReason::NoError);
            }
        }
    }
}
