//! The beginning of an exchange: route, limits, and the request as backends will see it.

use super::{
    Exchanges, SERIALS, Sides,
    client::ClientSide,
    end::{Ended, Outcome},
    local::Asked,
    log,
    state::{Exchange, Place, Response, Seat, Upload, compact_large_head},
    tag_of,
};
use spooky_bridge::message::{
    Fields, Known, Method, Protocol, RequestHead,
    check::{CheckError, Details, Refused},
    forwarded::{Client as ForwardedClient, ForwardedMode},
    local, request_id,
    rewrite::{self, RequestContext},
};
use spooky_edge::Abort;
use spooky_lb::{
    admit::{Admission, BodyShare},
    attempt::{Attempt, Deadlines, Request, SlotId},
    outcome::Reason,
    route::Match,
};
use std::{net::SocketAddr, time::Duration};

/// A request that may be served, now or when it is called.
struct Admitted {
    route: Match,
    attempt: Attempt,
    seat: Seat,
    body: Option<BodyShare>,
    deadlines: Deadlines,
    forwarded: ForwardedMode,
    /// The listener's.
    port: u16,
}

impl Exchanges {
    /// Takes a new request.
    pub(super) fn start(
        &mut self,
        sides: &mut Sides<'_>,
        client: ClientSide,
        protocol: Protocol,
        head: RequestHead,
        end: bool,
        peer: SocketAddr,
    ) {
        log::request(protocol, &head);
        self.counts.on_request();
        let admitted = match self.admit(sides, client, &head, end, peer) {
            Ok(admitted) => admitted,
            Err(reason) => {
                log::refused(&head, reason);
                let asked = asked(head.method, &head.fields);
                return self.finish(sides, Ended::Refused(client, asked), Outcome::Answer(reason));
            }
        };
        let ticket = admitted.seat.ticket();
        let key = self.enter(sides, client, protocol, admitted, head, peer);
        if let Some(ticket) = ticket {
            self.waiting.insert(ticket, tag_of(key, self.serial, SlotId::FIRST));
            self.arm(key);
            self.count_unread(sides, key);
        } else {
            let step = self.ask(sides, key, Attempt::on_start);
            self.perform(sides, key, step);
            if !end {
                self.count_unread(sides, key);
            }
        }
    }

    /// A place for the request, or the reason why there is none.
    fn admit(
        &mut self,
        sides: &mut Sides<'_>,
        client: ClientSide,
        head: &RequestHead,
        end: bool,
        peer: SocketAddr,
    ) -> Result<Admitted, Reason> {
        // A tunnel's target is no host of ours.
        if head.method != Method::Connect && client.is_misdirected(sides.listeners, head.authority(), &mut self.scratch)
        {
            return Err(Reason::Misdirected);
        }
        let route = self.judge(head)?;
        let number = route.upstream;
        let now = self.nanos(sides.now);
        let share = self.client_share(client);
        let attempt = self.attempt(sides, client, number, head, end, peer).ok_or(Reason::Internal)?;
        let attempt = attempt.for_client(share.clone());
        let port = client.port(sides.listeners).ok_or(Reason::Internal)?;
        let compiled = self.snapshot.upstreams.get(number).ok_or(Reason::Internal)?;
        let (deadlines, forwarded) = (Deadlines::new(&compiled.phases, now), compiled.forwarded);
        let body = if end { None } else { Some(self.state.bodies.open().ok_or(Reason::RequestBufferCap)?) };
        let seat = match self.queue.admit(&compiled.scope, Some(&share), attempt.total_deadline(), now) {
            Admission::Granted(permit) => Seat::Held { permit, place: Place::Seated(None) },
            Admission::Queued(ticket) => Seat::Queued(ticket),
            Admission::Refused(reason) => return Err(reason),
        };
        Ok(Admitted { route, attempt, seat, body, deadlines, forwarded, port })
    }

    /// The route of a request, or the reason why there is none.
    fn judge(&mut self, head: &RequestHead) -> Result<Match, Reason> {
        let snapshot = &self.snapshot;
        snapshot.policy.check_method(head.method_bytes())?;
        if head.method == Method::Connect {
            snapshot.policy.check_connect(head.authority())?;
        } else {
            snapshot.policy.check_path(head.path(), &mut self.path_depths)?;
        }
        let matched = snapshot
            .routes
            .lookup(head.authority(), head.path(), head.method_bytes(), &mut self.scratch)
            .ok_or(Reason::NoRoute)?;
        if head.content_length.is_some_and(|length| length > snapshot.limits.max_request_body) {
            return Err(Reason::BodyTooLarge);
        }
        Ok(matched)
    }

    /// The attempts of a request, which have not begun.
    fn attempt(
        &mut self,
        sides: &mut Sides<'_>,
        client: ClientSide,
        number: usize,
        head: &RequestHead,
        end: bool,
        peer: SocketAddr,
    ) -> Option<Attempt> {
        let now = self.nanos(sides.now);
        let compiled = self.snapshot.upstreams.get(number)?;
        let connection = client.connection_id(sides.listeners);
        let key = compiled.key.key(head, peer.ip(), connection, &mut self.scratch);
        let kept = compiled.sticky.as_ref().and_then(|sticky| {
            let backend = client.sticky_backend(sides.listeners, sticky.name)?;
            sticky.backends.iter().position(|other| *other == backend)
        });
        let request = Request { method: head.method_bytes(), has_body: !end, key };
        let mut attempt = Attempt::new(&request, &*self.snapshot.upstream(number)?, now).keeping(kept);
        // gRPC is POST; nothing else is searched for its fields.
        if head.method == Method::Post
            && local::is_grpc(&head.fields)
            && let Some(timeout) = head.fields.first(Known::GrpcTimeout).and_then(grpc_timeout)
        {
            attempt.limit_total(now + timeout);
        }
        Some(attempt)
    }

    /// Makes the exchange.
    fn enter(
        &mut self,
        sides: &mut Sides<'_>,
        client: ClientSide,
        protocol: Protocol,
        admitted: Admitted,
        mut head: RequestHead,
        peer: SocketAddr,
    ) -> usize {
        let from = ForwardedClient::new(peer.ip(), admitted.port);
        let new_id = request_id::accepted(&head.fields).is_none().then(|| self.clock.request_id());
        let context = RequestContext {
            protocol,
            client: &from,
            forwarded: admitted.forwarded,
            request_id: new_id.as_ref().map(<[u8; 36]>::as_slice),
            is_early: false,
            subject: client.subject(sides.listeners),
        };
        let is_exempt = head.method == Method::Connect || local::is_grpc(&head.fields);
        rewrite::to_backend(&mut head, &context);
        compact_large_head(&mut head);
        self.serial = (self.serial + 1) % SERIALS;
        let exchange = Exchange {
            serial: self.serial,
            client,
            upstream: admitted.route.upstream,
            route: admitted.route,
            method: head.method,
            head,
            attempt: admitted.attempt,
            seat: admitted.seat,
            deadlines: admitted.deadlines.without_rate(is_exempt),
            snapshot: self.snapshot.clone(),
            handles: [None, None],
            upload: Upload::new(admitted.body),
            response: Response::Awaited,
            status: None,
            entered: None,
        };
        let key = self.table.insert(exchange);
        client.set_tag(sides.listeners, tag_of(key, self.serial, SlotId::FIRST));
        key
    }

    /// Answers a request whose head broke a rule that has an answer.
    pub(super) fn refuse(&mut self, sides: &mut Sides<'_>, client: ClientSide, protocol: Protocol, refused: &Refused) {
        let outcome = Outcome::Answer(reason_of(&refused.error));
        log::invalid_request(protocol, &refused.fields);
        self.refuse_head(sides, client, &refused.fields, outcome);
    }

    /// Takes note of a request whose stream was reset because its head is malformed.
    pub(super) fn refuse_malformed(
        &mut self,
        sides: &mut Sides<'_>,
        client: ClientSide,
        protocol: Protocol,
        fields: &Fields,
        reason: &'static str,
    ) {
        log::invalid_request(protocol, fields);
        self.refuse_head(sides, client, fields, Outcome::Aborted(Abort::Malformed(reason)));
    }

    fn refuse_head(&mut self, sides: &mut Sides<'_>, client: ClientSide, fields: &Fields, outcome: Outcome) {
        self.counts.on_request();
        let method = Method::from_bytes(fields.first(Known::Method).unwrap_or_default());
        self.finish(sides, Ended::Refused(client, asked(method, fields)), outcome);
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

/// The value of `grpc-timeout`: up to eight digits and a unit.
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
        assert_eq!(grpc_timeout(b"250m"), Some(Duration::from_millis(250)));
        assert_eq!(grpc_timeout(b"99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for bad in ["", "m", "5", "5x", "-5S", "123456789S", " 5S"] {
            assert_eq!(grpc_timeout(bad.as_bytes()), None, "{bad}");
        }
    }
}
