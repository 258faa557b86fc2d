//! Answers made by Spooky (docs/reference/behaviour.md#status-codes).

use super::{
    clock::Clock,
    io::{ClientSide, Io},
};
use crate::snapshot::Snapshot;
use spooky_bridge::message::{
    Method,
    local_reply::{self, LocalReply, LocalReplyContext},
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

/// Answers a request that ends, under the snapshot that it began with.
pub(super) fn answer(
    io: &mut impl Io,
    client: ClientSide,
    reason: Reason,
    asked: &Asked<'_>,
    snapshot: &Snapshot,
    clock: &mut Clock,
) {
    let generated = clock.request_id();
    let kept = Some(asked.request_id).filter(|id| request_id::is_acceptable(id));
    let row = reason.row();
    let reply = LocalReply {
        status: reason.status_with(snapshot.timeout_status),
        text: reason.text(),
        error: row.proxy_error,
        details: row.details,
        retry_after: row.retry_after.then_some(snapshot.retry_after_seconds),
        allow: (reason == Reason::MethodDenied).then_some(snapshot.policy.allow()),
    };
    let context = LocalReplyContext {
        date: clock.http_date(),
        request_id: kept.unwrap_or(&generated),
        is_head: asked.method == Method::Head,
        is_grpc: asked.is_grpc,
    };
    super::log::answered(reply.status, reason, context.request_id);
    let (head, body) = local_reply::build(&reply, &context);
    let framing = if body.is_empty() { Body::None } else { Body::Known(body.len() as u64) };
    io.send_head(client, &head, framing, false);
    io.send_body(client, body);
    io.send_end(client, None);
}
