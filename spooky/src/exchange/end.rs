//! The end of requests: [`Exchanges::finish`] releases resources, answers or resets the client's stream, and reports.
//! Every request ends there, also one that is refused before it has an exchange.

use super::{
    exchanges::Exchanges,
    io::Io,
    local::{self, RequestInfo},
    log,
    outcome::Outcome,
    record::{EndedRequest, of_head},
    state::{Context, Exchange},
    tag::Tag,
    timeline::{Arrival, LocalAnswer},
};
use crate::client_side::ClientSide;
use spooky_bridge::message::Fields;
use spooky_lb::time::Nanos;

pub(super) enum Ended<'a> {
    /// The exchange was removed from the table.
    Exchange(&'a mut Exchange),
    /// The request was refused before it had an exchange.
    Refused(Refused<'a>),
}

/// A request that was refused before it had an exchange.
#[derive(Clone, Copy)]
pub(super) struct Refused<'a> {
    pub(super) client: ClientSide,
    pub(super) info: RequestInfo<'a>,
    pub(super) arrival: Arrival,
    pub(super) fields: &'a Fields,
    /// The upstream, if the request was routed.
    pub(super) upstream: Option<usize>,
}

impl Exchanges {
    pub(super) fn end(&mut self, io: &mut impl Io, tag: Tag, outcome: Outcome) {
        let Some(mut exchange) = self.table.remove(tag.0) else { return };
        let outcome = outcome.for_response(exchange.response.has_begun());
        self.finish(io, Ended::Exchange(&mut exchange), outcome);
    }

    /// Ends a request; called exactly once for every request. The permit is released when the caller drops the exchange.
    pub(super) fn finish(&mut self, io: &mut impl Io, mut ended: Ended<'_>, outcome: Outcome) {
        let now = io.now();
        let nanos = self.nanos(now);
        let client = match &mut ended {
            Ended::Exchange(exchange) => {
                if let Some(ticket) = exchange.admission.ticket() {
                    self.waiting.leave(ticket);
                }
                let rng = self.clock.rng();
                exchange.on_finish(&mut Context { io, rng, now, nanos }, outcome);
                exchange.client
            }
            Ended::Refused(refused) => refused.client,
        };
        let answer = self.answer_client(io, client, &ended, outcome);
        self.report(&ended.report(outcome, answer, nanos));
    }

    /// Answers or resets the client's stream. Returns the answer.
    fn answer_client(
        &mut self,
        io: &mut impl Io,
        client: ClientSide,
        ended: &Ended<'_>,
        outcome: Outcome,
    ) -> Option<LocalAnswer> {
        match outcome {
            Outcome::Complete => {}
            Outcome::Answer(reason) => {
                let exchange = match ended {
                    Ended::Exchange(exchange) => Some(&**exchange),
                    Ended::Refused(..) => None,
                };
                let snapshot = exchange.map_or(&self.snapshot, |exchange| &exchange.snapshot);
                return Some(local::answer(io, client, reason, &ended.info(), exchange, snapshot, &mut self.clock));
            }
            Outcome::Reset { reset, reason, .. } => {
                log::cut_off(ended.info().request_id, reset);
                io.reset_client(client, reason);
            }
            Outcome::Aborted(abort) => log::aborted(ended.info().request_id, abort),
        }
        None
    }
}

impl Ended<'_> {
    fn info(&self) -> RequestInfo<'_> {
        match self {
            Self::Refused(refused) => refused.info,
            Self::Exchange(exchange) => RequestInfo::new(exchange.method, &exchange.head.fields),
        }
    }

    /// Returns what is reported of the request.
    fn report(&self, outcome: Outcome, answer: Option<LocalAnswer>, now: Nanos) -> EndedRequest<'_> {
        match self {
            Self::Refused(refused) => EndedRequest {
                record: of_head(refused.fields, refused.arrival, outcome, answer, now),
                outcome,
                upstream: refused.upstream,
                protocol: refused.arrival.protocol,
                trace: refused.arrival.trace,
                now,
                exchange: None,
                snapshot: None,
            },
            Self::Exchange(exchange) => EndedRequest {
                record: exchange.record(outcome, answer, now),
                outcome,
                upstream: Some(exchange.upstream),
                protocol: exchange.timeline.arrival.protocol,
                trace: exchange.timeline.arrival.trace,
                now,
                exchange: Some(exchange),
                snapshot: Some(&exchange.snapshot),
            },
        }
    }
}
