//! The beginning of an exchange: route, limits, and the request as backends will see it.

use super::{
    Exchanges, SERIALS, Sides,
    local::Asked,
    state::{Client, Exchange, Response, Upload},
    tag_of,
};
use spooky_bridge::message::{
    Fields, Known, Method, Protocol, RequestHead,
    check::{CheckError, Details, Refused},
    forwarded::Client as ForwardedClient,
    local, request_id,
    rewrite::{self, RequestContext},
};
use spooky_lb::{
    attempt::{Attempt, Request, SlotId},
    outcome::Reason,
    time::Nanos,
};
use std::net::SocketAddr;

impl Exchanges {
    /// Takes a new request.
    pub(super) fn start(
        &mut self,
        sides: &mut Sides<'_>,
        client: Client,
        head: RequestHead,
        end: bool,
        peer: SocketAddr,
    ) {
        let upstream = match self.judge(&head) {
            Ok(upstream) => upstream,
            Err(reason) => {
                return self.answer(sides, client, reason, asked(head.method, &head.fields));
            }
        };
        let Some(key) = self.enter(sides, client, upstream, head, end, peer) else { return };
        let step = self.ask(sides, key, Attempt::on_start);
        self.perform(sides, key, step);
    }

    /// The upstream for a request, or the reason why there is none.
    fn judge(&mut self, head: &RequestHead) -> Result<usize, Reason> {
        let snapshot = &self.generation.snapshot;
        if head.method == Method::Connect {
            return Err(Reason::MethodDenied);
        }
        let matched = snapshot
            .routes
            .lookup(head.authority(), head.path(), head.method_bytes(), &mut self.scratch)
            .ok_or(Reason::NoRoute)?;
        if head.content_length.is_some_and(|length| length > snapshot.limits.max_request_body) {
            return Err(Reason::BodyTooLarge);
        }
        Ok(matched.upstream)
    }

    /// Makes the exchange.
    fn enter(
        &mut self,
        sides: &mut Sides<'_>,
        client: Client,
        number: usize,
        mut head: RequestHead,
        end: bool,
        peer: SocketAddr,
    ) -> Option<usize> {
        let snapshot = self.generation.snapshot.clone();
        let compiled = snapshot.upstreams.get(number)?;
        let request = Request { method: head.method_bytes(), has_body: !end, key: 0 };
        let now = Nanos::since(snapshot.epoch, sides.now);
        let attempt = Attempt::new(&request, self.generation.upstream(number)?, now);
        let from = ForwardedClient::new(peer.ip(), sides.listeners.get(client.listener)?.port);
        let new_id = request_id::accepted(&head.fields).is_none().then(|| self.clock.request_id());
        let context = RequestContext {
            protocol: Protocol::Http3,
            client: &from,
            forwarded: compiled.forwarded,
            request_id: new_id.as_ref().map(<[u8; 36]>::as_slice),
            is_early: false,
            subject: None,
        };
        rewrite::to_backend(&mut head, &context);
        self.serial = (self.serial + 1) % SERIALS;
        let exchange = Exchange {
            serial: self.serial,
            client,
            upstream: number,
            method: head.method,
            head,
            attempt,
            handles: [None, None],
            upload: Upload::new(!end),
            response: Response::Awaited,
            entered: None,
        };
        let key = self.table.insert(exchange);
        if let Some(edge) = sides.edge(client) {
            edge.bind(client.stream, tag_of(key, self.serial, SlotId::FIRST));
        }
        Some(key)
    }

    /// Answers a request whose head broke a rule that has an answer.
    pub(super) fn refuse(&mut self, sides: &mut Sides<'_>, client: Client, refused: &Refused) {
        let method = Method::from_bytes(refused.fields.first(Known::Method).unwrap_or_default());
        self.answer(sides, client, reason_of(&refused.error), asked(method, &refused.fields));
    }
}

fn asked(method: Method, fields: &Fields) -> Asked<'_> {
    let request_id = fields.first(Known::XRequestId).unwrap_or_default();
    Asked { method, is_grpc: local::is_grpc(fields), request_id }
}

fn reason_of(refusal: &CheckError) -> Reason {
    match refusal {
        CheckError::TooManyFields => Reason::TooManyHeaders,
        CheckError::TooLarge => Reason::HeadersTooLarge,
        CheckError::Malformed { .. } => Reason::MalformedRequest,
        CheckError::Invalid(details) => match details {
            Details::AuthorityHostMismatch => Reason::AuthorityHostMismatch,
            Details::InvalidAuthority => Reason::InvalidAuthority,
            Details::InvalidScheme => Reason::InvalidScheme,
            Details::InvalidPath => Reason::InvalidPath,
            Details::AmbiguousPath => Reason::AmbiguousPath,
            Details::InvalidConnectTarget => Reason::InvalidConnectTarget,
            Details::ConflictingFraming => Reason::ConflictingFraming,
        },
    }
}

impl Exchange {
    /// The id of the request, as sent to the backend.
    pub(super) fn request_id(&self) -> &[u8] {
        self.head.fields.first(Known::XRequestId).unwrap_or_default()
    }
}
