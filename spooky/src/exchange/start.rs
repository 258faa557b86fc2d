//! The start of an exchange: routing, admission, and the rewriting of the request head.

use super::{
    body::Upload,
    end::{Ended, Refused},
    exchanges::Exchanges,
    io::Io,
    local::RequestInfo,
    log,
    outcome::Outcome,
    response::Response,
    state::{Admission, Exchange, compact_large_head},
    tag::Tag,
    timeline::{Arrival, Timeline},
    trace::Trace,
};
use crate::{client_side::ClientSide, snapshot::HostPolicy};
use spooky_bridge::message::{
    Fields, Known, Method, Protocol, RequestHead,
    check::{CheckError, InvalidReason, RejectedRequest},
    forwarded::{ForwardedClient, ForwardedMode},
    local_reply, request_id,
    rewrite::{self, RequestContext},
};
use spooky_edge::Abort;
use spooky_lb::{
    admit::{self, BodyShare, Permit},
    attempt::{Attempts, Deadlines, Request},
    outcome::Reason,
    route::Match,
};
use std::{net::SocketAddr, time::Duration};

/// A request that was not refused: admitted, or in the queue.
struct AdmittedRequest {
    route: Match,
    attempt: Attempts,
    admission: Admission,
    permit: Option<Permit>,
    body: Option<BodyShare>,
    deadlines: Deadlines,
    forwarded: ForwardedMode,
    port: u16,
}

impl Exchanges {
    /// Handles a new request.
    pub(super) fn start(
        &mut self,
        io: &mut impl Io,
        client: ClientSide,
        protocol: Protocol,
        head: RequestHead,
        end: bool,
        peer: SocketAddr,
    ) {
        log::request(protocol, &head);
        self.snapshot.counts.totals().requests.increment();
        let arrival = self.arrival(io, protocol, peer, &head.fields);
        let routed = self.route(io, client, &head);
        let upstream = routed.as_ref().ok().map(|route| route.upstream);
        self.snapshot.counts.on_routed(upstream);
        let admitted = match routed.and_then(|route| self.admit(io, client, &head, end, peer, route)) {
            Ok(admitted) => admitted,
            Err(reason) => {
                log::refused(&head, reason);
                let info = RequestInfo::new(head.method, &head.fields);
                let refused = Refused { client, info, arrival, fields: &head.fields, upstream };
                return self.finish(io, Ended::Refused(refused), Outcome::Answer(reason));
            }
        };
        let ticket = admitted.admission.ticket();
        let tag = self.enter(io, client, arrival, admitted, head);
        if let Some(ticket) = ticket {
            self.waiting.enter(ticket, tag);
        }
        self.dispatch(io, tag, Exchange::on_begin);
    }

    /// Admits a request that was routed, or returns why it is refused.
    fn admit(
        &mut self,
        io: &mut impl Io,
        client: ClientSide,
        head: &RequestHead,
        end: bool,
        peer: SocketAddr,
        route: Match,
    ) -> Result<AdmittedRequest, Reason> {
        if head.content_length.is_some_and(|length| length > self.snapshot.limits.max_request_body) {
            return Err(Reason::BodyTooLarge);
        }
        let number = route.upstream;
        let now = self.nanos(io.now());
        let share = self.shares.of(client, &self.waiting.queue);
        let attempt = self.attempt(io, client, number, head, end, peer).ok_or(Reason::Internal)?;
        let attempt = attempt.for_client(share.clone());
        let port = io.port(client).ok_or(Reason::Internal)?;
        let compiled = self.snapshot.upstreams.get(number).ok_or(Reason::Internal)?;
        let (deadlines, forwarded) = (Deadlines::new(&compiled.deadline_options, now), compiled.forwarded);
        let body = if end { None } else { Some(self.state.bodies.open().ok_or(Reason::RequestBufferCap)?) };
        let queue = &mut self.waiting.queue;
        let (admission, permit) = match queue.admit(&compiled.route_limits, Some(&share), attempt.total_deadline(), now)
        {
            admit::Admission::Granted(permit) => (Admission::Admitted(None), Some(permit)),
            admit::Admission::Queued(ticket) => (Admission::Queued(ticket), None),
            admit::Admission::Refused(reason) => return Err(reason),
        };
        Ok(AdmittedRequest { route, attempt, admission, permit, body, deadlines, forwarded, port })
    }

    /// Checks the policy and returns the route.
    fn route(&mut self, io: &mut impl Io, client: ClientSide, head: &RequestHead) -> Result<Match, Reason> {
        // The authority of plain CONNECT is the tunnel's target, not a host of this proxy.
        let has_own_host = head.method != Method::Connect || head.is_extended_connect();
        if has_own_host && io.is_misdirected(client, head.authority(), &mut self.scratch) {
            return Err(Reason::Misdirected);
        }
        if io.is_early(client) {
            self.snapshot.policy.check_early_data(head.method_bytes())?;
            self.snapshot.counts.on_early_data(true);
        }
        let snapshot = &self.snapshot;
        let (is_extended, method) = (head.is_extended_connect(), head.routed_method());
        if is_extended && !head.is_websocket() {
            return Err(Reason::MethodDenied); // WebSocket is the only protocol that is supported
        }
        snapshot.policy.check_method(method)?;
        if head.method == Method::Connect && !is_extended {
            snapshot.policy.check_connect(head.authority())?;
        } else {
            snapshot.policy.check_path(head.path(), &mut self.path_depths)?;
        }
        snapshot.routes.lookup(head.authority(), head.path(), method, &mut self.scratch).ok_or(Reason::NoRoute)
    }

    /// Creates the attempts of a request.
    fn attempt(
        &mut self,
        io: &mut impl Io,
        client: ClientSide,
        number: usize,
        head: &RequestHead,
        end: bool,
        peer: SocketAddr,
    ) -> Option<Attempts> {
        let now = self.nanos(io.now());
        let compiled = self.snapshot.upstreams.get(number)?;
        let connection = io.connection_id(client);
        let key = compiled.key.key(head, peer.ip(), connection, &mut self.scratch);
        let kept = compiled.sticky.as_ref().and_then(|sticky| {
            let backend = io.sticky_backend(client, sticky.name)?;
            sticky.backends.iter().position(|other| *other == backend)
        });
        let request = Request { method: head.method_bytes(), has_body: !end, key };
        let mut attempt = Attempts::new(&request, &*self.snapshot.upstream(number)?, now).with_sticky_backend(kept);
        // gRPC requests are POST; other methods skip the check.
        if head.method == Method::Post
            && local_reply::is_grpc(&head.fields)
            && let Some(timeout) = head.fields.first(Known::GrpcTimeout).and_then(grpc_timeout)
        {
            attempt.limit_total(now + timeout);
        }
        Some(attempt)
    }

    /// Creates the exchange and adds it to the table.
    fn enter(
        &mut self,
        io: &mut impl Io,
        client: ClientSide,
        arrival: Arrival,
        admitted: AdmittedRequest,
        mut head: RequestHead,
    ) -> Tag {
        let from = ForwardedClient::new(arrival.peer.ip(), admitted.port);
        let new_id = request_id::accepted(&head.fields).is_none().then(|| self.clock.request_id());
        let context = RequestContext {
            protocol: arrival.protocol,
            client: &from,
            forwarded: admitted.forwarded,
            request_id: new_id.as_ref().map(<[u8; 36]>::as_slice),
            is_early: io.is_early(client),
            subject: io.subject(client),
        };
        let is_exempt = head.method == Method::Connect || local_reply::is_grpc(&head.fields);
        let host =
            self.snapshot.upstreams.get(admitted.route.upstream).map_or(&HostPolicy::PassThrough, |one| &one.host);
        let timeline = Timeline::new(arrival, &head, host, admitted.admission.ticket().is_some());
        rewrite::to_backend(&mut head, &context);
        compact_large_head(&mut head);
        let handle = self.table.insert_with(|handle| Exchange {
            tag: Tag(handle),
            client,
            upstream: admitted.route.upstream,
            route: admitted.route,
            method: head.method,
            head,
            attempt: admitted.attempt,
            admission: admitted.admission,
            permit: admitted.permit,
            deadlines: admitted.deadlines.without_rate(is_exempt),
            snapshot: self.snapshot.clone(),
            handles: [None, None],
            upload: Upload::new(admitted.body),
            response: Response::Awaited,
            status: None,
            timeline,
            armed: None,
        });
        if let Some(exchange) = self.table.get(handle) {
            exchange.log_decision(&mut self.access);
        }
        let tag = Tag(handle);
        io.set_tag(client, tag.number());
        tag
    }

    /// Answers a request with an invalid head.
    pub(super) fn refuse(
        &mut self,
        io: &mut impl Io,
        client: ClientSide,
        protocol: Protocol,
        refused: &RejectedRequest,
        peer: SocketAddr,
    ) {
        let outcome = Outcome::Answer(reason_of(&refused.error));
        log::invalid_request(protocol, &refused.fields);
        let arrival = self.arrival(io, protocol, peer, &refused.fields);
        self.refuse_head(io, client, arrival, &refused.fields, outcome);
    }

    /// Answers a client whose request head was not complete in time.
    pub(super) fn refuse_late(&mut self, io: &mut impl Io, client: ClientSide, protocol: Protocol, peer: SocketAddr) {
        let fields = Fields::new();
        log::invalid_request(protocol, &fields);
        let arrival = self.arrival(io, protocol, peer, &fields);
        self.refuse_head(io, client, arrival, &fields, Outcome::Answer(Reason::HeadTimeout));
    }

    /// Counts a request whose stream was reset because its head is malformed.
    pub(super) fn refuse_malformed(
        &mut self,
        io: &mut impl Io,
        client: ClientSide,
        protocol: Protocol,
        fields: &Fields,
        reason: &'static str,
        peer: SocketAddr,
    ) {
        log::invalid_request(protocol, fields);
        let arrival = self.arrival(io, protocol, peer, fields);
        self.refuse_head(io, client, arrival, fields, Outcome::Aborted(Abort::Malformed(reason)));
    }

    fn refuse_head(
        &mut self,
        io: &mut impl Io,
        client: ClientSide,
        arrival: Arrival,
        fields: &Fields,
        outcome: Outcome,
    ) {
        self.snapshot.counts.totals().requests.increment();
        self.snapshot.counts.on_routed(None);
        let method = Method::from_bytes(fields.first(Known::Method).unwrap_or_default());
        let info = RequestInfo::new(method, fields);
        let refused = Refused { client, info, arrival, fields, upstream: None };
        self.finish(io, Ended::Refused(refused), outcome);
    }

    fn arrival(&mut self, io: &impl Io, protocol: Protocol, peer: SocketAddr, fields: &Fields) -> Arrival {
        let trace = Trace::begin(fields, &self.snapshot.config.observability.tracing, self.clock.rng());
        Arrival { protocol, peer, at: self.nanos(io.now()), trace }
    }
}

fn reason_of(refusal: &CheckError) -> Reason {
    match refusal {
        CheckError::TooManyFields => Reason::TooManyHeaders,
        CheckError::TooLarge => Reason::HeadersTooLarge,
        CheckError::Malformed { .. } => Reason::MalformedRequest,
        CheckError::Invalid(details) => match details {
            InvalidReason::AuthorityHostMismatch => Reason::AuthorityHostMismatch,
            InvalidReason::InvalidAuthority => Reason::InvalidAuthority,
            InvalidReason::InvalidScheme => Reason::InvalidScheme,
            InvalidReason::InvalidPath => Reason::InvalidPath,
            InvalidReason::AmbiguousPath => Reason::AmbiguousPath,
            InvalidReason::InvalidConnectTarget => Reason::InvalidConnectTarget,
            InvalidReason::ConflictingFraming => Reason::ConflictingFraming,
        },
    }
}

/// Parses `grpc-timeout`: up to eight digits and a unit.
fn grpc_timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = digits.iter().fold(0, |number: u64, digit| number * 10 + u64::from(digit - b'0'));
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_of_grpc_have_a_unit() {
        for (value, expected) in [
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
            ("90M", Duration::from_secs(5400)),
            ("7S", Duration::from_secs(7)),
            ("250m", Duration::from_millis(250)),
            ("30u", Duration::from_micros(30)),
            ("12345678n", Duration::from_nanos(12_345_678)),
        ] {
            assert_eq!(grpc_timeout(value.as_bytes()), Some(expected), "{value}");
        }
        for bad in ["", "m", "5", "5x", "-5S", "123456789S", " 5S"] {
            assert_eq!(grpc_timeout(bad.as_bytes()), None, "{bad}");
        }
    }
}
