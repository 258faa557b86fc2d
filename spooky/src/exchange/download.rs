//! The response on its way to the client: passed on as it comes, credit given back for what QUIC took.

use super::{
    Exchanges, Sides,
    state::{Exchange, Response},
};
use bytes::Bytes;
use spooky_bridge::{
    h2,
    message::{Fields, Protocol, ResponseHead, rewrite},
};
use spooky_edge::Body;
use spooky_lb::{
    attempt::SlotId,
    outcome::{Reason, Reset},
};

/// Backends are spoken to over HTTP/2; on HTTP/3 no `alt-svc` is needed.
const FROM_H2: rewrite::ResponseContext<'_> = rewrite::ResponseContext { protocol: Protocol::Http2, alt_svc: None };

impl Exchanges {
    pub(super) fn on_interim(&mut self, sides: &mut Sides<'_>, key: usize, mut head: ResponseHead) {
        let Some(exchange) = self.table.get(key).filter(|found| matches!(found.response, Response::Awaited)) else {
            return;
        };
        rewrite::to_client(&mut head, &FROM_H2);
        if let Some(edge) = sides.edge(exchange.client) {
            edge.interim(exchange.client.stream, &head);
        }
    }

    pub(super) fn on_head(
        &mut self,
        sides: &mut Sides<'_>,
        key: usize,
        slot: SlotId,
        mut head: ResponseHead,
        end: bool,
    ) {
        let limit = self.generation.snapshot.limits.max_response_body;
        let until = sides.now + self.timeouts(key).first_byte;
        let Some(exchange) = self.table.get_mut(key) else { return };
        let has_body = head.has_body(exchange.method);
        if has_body && head.content_length.is_some_and(|length| length > limit) {
            return self.fail(sides, key, Reason::ResponseBodyTooLarge);
        }
        let body = match head.content_length {
            _ if !has_body || end => Body::None,
            Some(length) => Body::Known(length),
            None => Body::Chunked,
        };
        exchange.upload.replay.forget();
        exchange.response = Response::Streaming { winner: slot, received: 0, unaccepted: 0, until };
        let (client, status) = (exchange.client, head.status);
        rewrite::to_client(&mut head, &FROM_H2);
        if let Some(edge) = sides.edge(client) {
            edge.respond(client.stream, &head, body);
        }
        let step = self.ask(sides, key, |attempt, cx| attempt.on_head(cx, slot, status));
        self.perform(sides, key, step);
        if end {
            self.on_end(sides, key, None);
        }
    }

    pub(super) fn on_data(&mut self, sides: &mut Sides<'_>, key: usize, data: Bytes, end: bool) {
        let limit = self.generation.snapshot.limits.max_response_body;
        let idle = self.timeouts(key).body_idle;
        let Some(exchange) = self.table.get_mut(key) else { return };
        let Response::Streaming { received, unaccepted, until, .. } = &mut exchange.response else { return };
        let length = data.len();
        *received += length as u64;
        if *received > limit {
            return self.cut(sides, key, Reset::ResponseBodyTooLarge);
        }
        let client = exchange.client;
        let Some(edge) = sides.listeners.get_mut(client.listener).map(|listener| &mut listener.edge) else { return };
        let accepted = edge.send_body(client.stream, data);
        *unaccepted += length - accepted.min(length);
        *until = sides.now + idle;
        if end {
            return self.on_end(sides, key, None);
        }
        exchange.give_credit(sides, accepted);
        self.arm(key);
    }

    /// The client's connection took bytes that had been waiting.
    pub(super) fn on_accepted(&mut self, sides: &mut Sides<'_>, key: usize, bytes: usize) {
        let idle = self.timeouts(key).body_idle;
        let Some(exchange) = self.table.get_mut(key) else { return };
        if let Response::Streaming { unaccepted, until, .. } = &mut exchange.response {
            *unaccepted = unaccepted.saturating_sub(bytes);
            *until = sides.now + idle;
            exchange.give_credit(sides, bytes);
        }
    }

    /// The backend has ended the response.
    pub(super) fn on_end(&mut self, sides: &mut Sides<'_>, key: usize, trailers: Option<&Fields>) {
        let Some(exchange) = self.table.get_mut(key) else { return };
        exchange.response = Response::Ending;
        let client = exchange.client;
        exchange.close_upstream(sides);
        if sides.edge(client).is_none_or(|edge| edge.finish(client.stream, trailers)) {
            self.complete(sides, key);
        }
    }
}

impl Exchange {
    fn give_credit(&self, sides: &mut Sides<'_>, bytes: usize) {
        if let Response::Streaming { winner, .. } = self.response
            && let Some(Some(handle)) = self.handles.get(winner.index())
            && bytes > 0
        {
            sides.transport.release(*handle, bytes);
        }
    }

    /// The response is complete; an upload that is not is given up without blame (RFC 9113 8.1).
    fn close_upstream(&mut self, sides: &mut Sides<'_>) {
        let is_sent = self.upload.is_sent;
        for handle in self.handles.iter_mut().filter_map(Option::take) {
            if !is_sent {
                sides.transport.reset(handle, h2::Code::NO_ERROR);
            }
        }
    }
}
