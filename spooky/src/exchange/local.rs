//! Answers that Spooky makes itself (behaviour 7.1).

use super::{Exchanges, Sides, client::ClientSide};
use spooky_bridge::message::{
    Method,
    local::{self, Answer, AnswerContext},
    request_id,
};
use spooky_edge::Body;
use spooky_lb::outcome::Reason;

/// How an answer must be given.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) method: Method,
    pub(super) is_grpc: bool,
    /// The id of the request, the client's if it is acceptable; empty if there is none.
    pub(super) request_id: &'a [u8],
}

impl Exchanges {
    /// Answers a request that ends.
    pub(super) fn answer(&mut self, sides: &mut Sides<'_>, client: ClientSide, reason: Reason, asked: &Asked<'_>) {
        let generated = self.clock.request_id();
        let kept = Some(asked.request_id).filter(|id| request_id::is_acceptable(id));
        let (row, snapshot) = (reason.row(), &self.snapshot);
        let answer = Answer {
            status: reason.status_with(snapshot.timeout_status),
            text: reason.text(),
            error: row.proxy_error,
            details: row.details,
            retry_after: row.retry_after.then_some(snapshot.retry_after_seconds),
            allow: (reason == Reason::MethodDenied).then_some(snapshot.policy.allow()),
        };
        let context = AnswerContext {
            date: self.clock.http_date(),
            request_id: kept.unwrap_or(&generated),
            is_head: asked.method == Method::Head,
            is_grpc: asked.is_grpc,
        };
        super::log::answered(answer.status, reason, context.request_id);
        let (head, body) = local::answer(&answer, &context);
        let framing = if body.is_empty() { Body::None } else { Body::Known(body.len() as u64) };
        client.send_head(sides.listeners, &head, framing, false);
        client.send_body(sides.listeners, body);
        client.send_end(sides.listeners, None);
    }
}
