//! The one end of requests: whatever ends one, [`Exchanges::finish`] returns what it held, gives the client what it gets, and
//! counts it. Requests that are refused before they have an exchange end there as well.

use super::{
    exchanges::Exchanges,
    io::{ClientSide, Io},
    local::{self, Asked},
    log,
    outcome::Outcome,
    state::{Context, Exchange},
    tag::Tag,
};
use spooky_bridge::message::local_reply::is_grpc;

/// A request that ends.
pub(super) enum Ended<'a> {
    /// Its exchange, which is out of the table.
    Exchange(&'a mut Exchange),
    /// It was refused before it had an exchange.
    Refused(ClientSide, Asked<'a>),
}

impl Exchanges {
    /// Ends an exchange.
    pub(super) fn end(&mut self, io: &mut impl Io, tag: Tag, outcome: Outcome) {
        let Some(mut exchange) = self.table.remove(tag.0) else { return };
        let outcome = outcome.after(exchange.response.has_begun());
        self.finish(io, Ended::Exchange(&mut exchange), outcome);
    }

    /// Ends a request: every request that was received comes here exactly once. The permit of an exchange returns when the
    /// caller drops it.
    pub(super) fn finish(&mut self, io: &mut impl Io, mut ended: Ended<'_>, outcome: Outcome) {
        let (client, status) = match &mut ended {
            Ended::Exchange(exchange) => {
                if let Some(ticket) = exchange.admission.ticket() {
                    self.waiting.leave(ticket);
                }
                let (now, epoch) = (io.now(), self.state.epoch);
                let (nanos, rng) = (self.nanos(now), self.clock.rng());
                exchange.on_finish(&mut Context { io, rng, now, nanos, epoch }, outcome);
                (exchange.client, exchange.status)
            }
            Ended::Refused(client, _) => (*client, None),
        };
        self.counts.on_end(outcome, status);
        match outcome {
            Outcome::Complete => {}
            Outcome::Answer(reason) => {
                let snapshot = match &ended {
                    Ended::Exchange(exchange) => &exchange.snapshot,
                    Ended::Refused(..) => &self.snapshot,
                };
                local::answer(io, client, reason, &ended.asked(), snapshot, &mut self.clock);
            }
            Outcome::Reset { reset, reason, .. } => {
                log::cut_off(ended.asked().request_id, reset);
                io.reset_client(client, reason);
            }
            Outcome::Aborted(abort) => log::aborted(ended.asked().request_id, abort),
        }
    }
}

impl Ended<'_> {
    /// How an answer to it must be given.
    fn asked(&self) -> Asked<'_> {
        match self {
            Self::Refused(_, asked) => *asked,
            Self::Exchange(exchange) => Asked {
                method: exchange.method,
                is_grpc: is_grpc(&exchange.head.fields),
                request_id: exchange.request_id(),
            },
        }
    }
}
