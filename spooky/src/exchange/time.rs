//! Deadlines of exchanges (behaviour 6): one per exchange in the wheel, the nearest of those that run.

use super::{
    Exchanges, Sides,
    end::Outcome,
    log,
    state::{Exchange, Response},
    tag_of,
    wheel::Due,
};
use spooky_lb::{
    attempt::{Attempt, Deadlines, Expiry, PhaseOptions, SlotId, Step},
    time::Nanos,
};
use std::time::Instant;

/// What was waited for in vain.
enum Overdue {
    /// The attempt machine knows.
    Attempt,
    /// This.
    Phase(Expiry),
}

impl Exchanges {
    /// When [`Exchanges::on_time`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.wheel.next(), self.queue_deadline()].into_iter().flatten().min()
    }

    /// Enters the exchange into the wheel if its deadline is nearer than what was entered.
    pub(super) fn arm(&mut self, key: usize) {
        let Some(exchange) = self.table.get_mut(key) else { return };
        let Some((at, _)) = nearest(exchange, self.state.epoch) else { return };
        if exchange.entered.is_none_or(|entered| at < entered) {
            exchange.entered = Some(at);
            self.wheel.enter(at, tag_of(key, exchange.serial, SlotId::FIRST));
        }
    }

    /// Ends the phases whose time is over.
    pub(crate) fn on_time(&mut self, sides: &mut Sides<'_>) {
        let mut due = Vec::new();
        let (table, epoch, now) = (&mut self.table, self.state.epoch, sides.now);
        self.wheel.turn(now, |tag| {
            let key = tag as u32 as usize;
            let Some(exchange) = table.get_mut(key).filter(|found| tag_of(key, found.serial, SlotId::FIRST) == tag)
            else {
                return Due::Gone;
            };
            match nearest(exchange, epoch) {
                Some((at, _)) if at > now => {
                    exchange.entered = Some(at);
                    Due::Later(at)
                }
                Some(_) => {
                    exchange.entered = None;
                    due.push(key);
                    Due::Gone
                }
                None => {
                    exchange.entered = None;
                    Due::Gone
                }
            }
        });
        for key in due {
            self.on_overdue(sides, key);
        }
    }

    fn on_overdue(&mut self, sides: &mut Sides<'_>, key: usize) {
        let Some(exchange) = self.table.get_mut(key) else { return };
        let has_begun = !matches!(exchange.response, Response::Awaited);
        match nearest(exchange, self.state.epoch) {
            Some((at, overdue)) if at <= sides.now => match overdue {
                Overdue::Phase(Expiry::ClientStall) if !has_unsent(exchange, sides) => {
                    self.mark_time(sides, key, Deadlines::on_nothing_waits);
                    self.arm(key);
                }
                Overdue::Phase(expiry) => {
                    log::expired(exchange, expiry, sides.now);
                    let outcome = match expiry.reason().filter(|_| !has_begun) {
                        Some(reason) => Outcome::Answer(reason),
                        None => Outcome::overdue(expiry, self.silent_since(key, at, expiry)),
                    };
                    self.end(sides, key, outcome);
                }
                Overdue::Attempt => {
                    let running = exchange.running();
                    let step = self.ask(sides, key, Attempt::on_timer);
                    if let (Some(Step::Cancel { slot }), Some(exchange)) = (step, self.table.get(key)) {
                        log::late(exchange, running.get(slot.index()).copied().flatten(), sides.now, self.state.epoch);
                    }
                    self.perform(sides, key, step);
                }
            },
            _ => self.arm(key),
        }
    }

    /// Since when the backend has been silent, if it is its silence that has expired at `at`.
    fn silent_since(&self, key: usize, at: Instant, expiry: Expiry) -> Option<Nanos> {
        let exchange = self.table.get(key)?;
        let upstream = exchange.snapshot.upstreams.get(exchange.upstream)?;
        Some(self.nanos(at).earlier(expiry.silence(&upstream.phases)?))
    }

    /// Tells an exchange's deadlines that something has happened.
    pub(super) fn mark_time(
        &mut self,
        sides: &Sides<'_>,
        key: usize,
        mark: impl FnOnce(&mut Deadlines, &PhaseOptions, Nanos),
    ) {
        let now = self.nanos(sides.now);
        let Some(exchange) = self.table.get_mut(key) else { return };
        if let Some(upstream) = exchange.snapshot.upstreams.get(exchange.upstream) {
            mark(&mut exchange.deadlines, &upstream.phases, now);
        }
    }
}

/// Whether bytes of the response wait for the client.
fn has_unsent(exchange: &Exchange, sides: &mut Sides<'_>) -> bool {
    exchange.client.has_unsent(sides.listeners)
}

/// The nearest deadline and what it is for.
fn nearest(exchange: &Exchange, epoch: Instant) -> Option<(Instant, Overdue)> {
    let (phase, expiry) = exchange.deadlines.next(&exchange.snapshot.upstreams.get(exchange.upstream)?.phases);
    let attempt = match exchange.response {
        Response::Awaited => exchange.attempt.timer(&*exchange.snapshot.upstream(exchange.upstream)?),
        Response::Streaming { .. } | Response::Ending | Response::HalfClosed { .. } => Nanos::NEVER,
    };
    let overdue = if attempt <= phase { Overdue::Attempt } else { Overdue::Phase(expiry) };
    Some((attempt.min(phase).to_instant(epoch)?, overdue))
}
