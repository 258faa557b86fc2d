//! The ends of an exchange: complete, answered by us, cut off, or abandoned by the client. Each settles it exactly once.

use super::{Exchanges, Sides, attempt::kind_of, local::Asked, log, state::Response};
use spooky_bridge::{h2, h3::Code, message::local};
use spooky_edge::Abort;
use spooky_lb::outcome::{Reason, Reset};
use spooky_transport::{Failure, FailureKind};

impl Exchanges {
    /// The client's side is gone: the backend hears of it at once (behaviour 5.4).
    pub(super) fn abandon(&mut self, sides: &mut Sides<'_>, key: usize, abort: Abort) {
        if let Some(exchange) = self.table.get(key) {
            log::aborted(exchange, abort);
        }
        let client = self.table.get(key).map(|exchange| exchange.client);
        self.settle(sides, key);
        if let Some(client) = client
            && let Some(edge) = sides.edge(client)
        {
            edge.release(client.stream);
        }
    }

    /// Ends the exchange with an answer of ours, or with a reset where the response has begun.
    pub(super) fn fail(&mut self, sides: &mut Sides<'_>, key: usize, reason: Reason) {
        let Some(exchange) = self.table.get(key) else { return };
        if !matches!(exchange.response, Response::Awaited) {
            return self.cut(sides, key, reset_of(reason));
        }
        let (client, method) = (exchange.client, exchange.method);
        let (request_id, is_grpc) = (exchange.request_id().to_vec(), local::is_grpc(&exchange.head.fields));
        self.settle(sides, key);
        self.answer(sides, client, reason, Asked { method, is_grpc, request_id: &request_id });
    }

    /// Ends an exchange whose response has begun: the client must see that it is not complete.
    pub(super) fn cut(&mut self, sides: &mut Sides<'_>, key: usize, reset: Reset) {
        self.end_with(sides, key, reset, Code::INTERNAL_ERROR);
    }

    /// The backend failed after the response head.
    pub(super) fn break_off(&mut self, sides: &mut Sides<'_>, key: usize, failure: &Failure) {
        let reset = match failure.kind {
            FailureKind::Malformed(_) => Reset::UpstreamProtocol,
            FailureKind::ResponseHeadersTooLarge => Reset::ResponseTrailersTooLarge,
            _ => Reset::UpstreamReset,
        };
        let kind = kind_of(failure);
        self.ask(sides, key, |attempt, cx| attempt.on_broken(cx, kind));
        self.end_with(sides, key, reset, reset_code(failure));
    }

    fn end_with(&mut self, sides: &mut Sides<'_>, key: usize, reset: Reset, code: Code) {
        let Some(exchange) = self.table.get(key) else { return };
        let client = exchange.client;
        log::cut_off(exchange, reset);
        self.settle(sides, key);
        if let Some(edge) = sides.edge(client) {
            edge.reset(client.stream, code);
        }
    }

    /// Removes the exchange; what it held returns, and backend streams that are still open are of no more use.
    pub(super) fn settle(&mut self, sides: &mut Sides<'_>, key: usize) {
        let Some(exchange) = self.table.try_remove(key) else { return };
        self.leave_queue(&exchange);
        for handle in exchange.handles.into_iter().flatten() {
            sides.transport.reset(handle, h2::Code::CANCEL);
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

/// What the client sees when a response breaks off (behaviour 5.4).
fn reset_code(failure: &Failure) -> Code {
    match failure.kind {
        FailureKind::Reset(h2::Code::CANCEL) => Code::REQUEST_CANCELLED,
        FailureKind::Reset(h2::Code::ENHANCE_YOUR_CALM) => Code::EXCESSIVE_LOAD,
        FailureKind::Reset(h2::Code::HTTP_1_1_REQUIRED) => Code::VERSION_FALLBACK,
        _ => Code::INTERNAL_ERROR,
    }
}
