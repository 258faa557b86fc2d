//! The end of requests: [`Exchanges::finish`] releases resources, answers or resets the client's stream, and updates counters.
//! Every request ends there, also one that is refused before it has an exchange.

use super::{
    exchanges::Exchanges,
    io::Io,
    local::{self, RequestInfo},
    log,
    outcome::Outcome,
    state::{Context, Exchange},
    tag::Tag,
};
use crate::client_side::ClientSide;

pub(super) enum Ended<'a> {
    /// The exchange was removed from the table.
    Exchange(&'a mut Exchange),
    /// The request was refused before it had an exchange.
    Refused(ClientSide, RequestInfo<'a>),
}

impl Exchanges {
    pub(super) fn end(&mut self, io: &mut impl Io, tag: Tag, outcome: Outcome) {
        let Some(mut exchange) = self.table.remove(tag.0) else { return };
        let outcome = outcome.for_response(exchange.response.has_begun());
        self.finish(io, Ended::Exchange(&mut exchange), outcome);
    }

    /// Ends a request; called exactly once for every request. The permit is released when the caller drops the exchange.
    pub(super) fn finish(&mut self, io: &mut impl Io, mut ended: Ended<'_>, outcome: Outcome) {
        let (client, status) = match &mut ended {
            Ended::Exchange(exchange) => {
                if let Some(ticket) = exchange.admission.ticket() {
                    self.waiting.leave(ticket);
                }
                let now = io.now();
                let (nanos, rng) = (self.nanos(now), self.clock.rng());
                exchange.on_finish(&mut Context { io, rng, now, nanos }, outcome);
                (exchange.client, exchange.status)
            }
            Ended::Refused(client, _) => (*client, None),
        };
        self.counts.on_end(outcome, status);
        match outcome {
            Outcome::Complete => {}
            Outcome::Answer(reason) => {
                let exchange = match &ended {
                    Ended::Exchange(exchange) => Some(&**exchange),
                    Ended::Refused(..) => None,
                };
                let snapshot = exchange.map_or(&self.snapshot, |exchange| &exchange.snapshot);
                local::answer(io, client, reason, &ended.info(), exchange, snapshot, &mut self.clock);
            }
            Outcome::Reset { reset, reason, .. } => {
                log::cut_off(ended.info().request_id, reset);
                io.reset_client(client, reason);
            }
            Outcome::Aborted(abort) => log::aborted(ended.info().request_id, abort),
        }
    }
}

impl Ended<'_> {
    fn info(&self) -> RequestInfo<'_> {
        match self {
            Self::Refused(_, info) => *info,
            Self::Exchange(exchange) => RequestInfo::new(exchange.method, &exchange.head.fields),
        }
    }
}
