//! Deadlines of exchanges (behaviour 6): one per exchange in the wheel, the nearest of those that run.

use super::{
    Exchanges, Sides,
    state::{Exchange, Response},
    tag_of,
    wheel::Due,
};
use crate::generation::Generation;
use spooky_lb::{
    attempt::{Attempt, SlotId},
    outcome::{Reason, Reset},
};
use std::time::Instant;

/// What was waited for in vain.
enum Overdue {
    /// The attempt machine knows.
    Attempt,
    /// More of the upload.
    Upload,
    /// The next byte of the response.
    Body { is_first: bool },
}

impl Exchanges {
    /// When [`Exchanges::on_time`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// Enters the exchange into the wheel if its deadline is nearer than what was entered.
    pub(super) fn arm(&mut self, key: usize) {
        let Some(exchange) = self.table.get_mut(key) else { return };
        let Some((at, _)) = nearest(exchange, &mut self.generation) else { return };
        if exchange.entered.is_none_or(|entered| at < entered) {
            exchange.entered = Some(at);
            self.wheel.enter(at, tag_of(key, exchange.serial, SlotId::FIRST));
        }
    }

    /// Ends the phases whose time is over.
    pub(crate) fn on_time(&mut self, sides: &mut Sides<'_>) {
        let mut due = Vec::new();
        let (table, generation, now) = (&mut self.table, &mut self.generation, sides.now);
        self.wheel.turn(now, |tag| {
            let key = tag as u32 as usize;
            let Some(exchange) = table.get_mut(key).filter(|found| tag_of(key, found.serial, SlotId::FIRST) == tag)
            else {
                return Due::Gone;
            };
            match nearest(exchange, generation) {
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
        match nearest(exchange, &mut self.generation) {
            Some((at, overdue)) if at <= sides.now => match overdue {
                Overdue::Upload => self.fail(sides, key, Reason::BodyIdle),
                Overdue::Body { is_first } => self.on_body_silent(sides, key, is_first),
                Overdue::Attempt => {
                    let step = self.ask(sides, key, Attempt::on_timer);
                    self.perform(sides, key, step);
                }
            },
            _ => self.arm(key),
        }
    }

    fn on_body_silent(&mut self, sides: &mut Sides<'_>, key: usize, is_first: bool) {
        let body_idle = self.timeouts(key).body_idle;
        let Some(exchange) = self.table.get_mut(key) else { return };
        // A pause that the client causes never counts (behaviour 6).
        if let Response::Streaming { unaccepted, until, .. } = &mut exchange.response
            && *unaccepted > 0
        {
            *until = sides.now + body_idle;
            return self.arm(key);
        }
        self.cut(sides, key, if is_first { Reset::FirstByteTimeout } else { Reset::BodyIdleTimeout });
    }

    /// The timeouts of an exchange's upstream.
    pub(super) fn timeouts(&self, key: usize) -> crate::snapshot::Timeouts {
        let upstream = self.table.get(key).map(|exchange| exchange.upstream);
        let found = upstream.and_then(|upstream| self.generation.snapshot.upstreams.get(upstream));
        found.map(|upstream| upstream.timeouts).unwrap_or_default()
    }
}

/// The nearest deadline and what it is for.
fn nearest(exchange: &Exchange, generation: &mut Generation) -> Option<(Instant, Overdue)> {
    let epoch = generation.snapshot.epoch;
    match &exchange.response {
        Response::Streaming { received, until, .. } => Some((*until, Overdue::Body { is_first: *received == 0 })),
        Response::Ending => None,
        Response::Awaited => {
            if let Some(until) = exchange.upload.until {
                // The backend cannot answer before the client has sent: its time does not run.
                return Some((until, Overdue::Upload));
            }
            let timer = exchange.attempt.timer(generation.upstream(exchange.upstream)?);
            Some((timer.to_instant(epoch)?, Overdue::Attempt))
        }
    }
}
