//! Passes an event to its exchange, and executes the [`Next`] that the exchange returns.

use super::{
    exchanges::Exchanges,
    io::Io,
    outcome::Outcome,
    state::{Admission, Context, Exchange, Next},
    tag::Tag,
};
use std::rc::Rc;

impl Exchanges {
    /// Passes an event to the exchange with this tag, unless it has ended.
    pub(super) fn dispatch<I: Io>(
        &mut self,
        io: &mut I,
        tag: Tag,
        event: impl FnOnce(&mut Exchange, &mut Context<'_, I>) -> Next,
    ) {
        let now = io.now();
        let nanos = self.nanos(now);
        let Self { table, clock, .. } = self;
        let Some(exchange) = table.get_mut(tag.0) else { return };
        match event(exchange, &mut Context { io, rng: clock.rng(), now, nanos }) {
            Next::Continue => self.arm(tag),
            Next::WaitForBudget => {
                self.waiting.wait_for_budget(tag);
                self.arm(tag);
            }
            Next::WaitForBackend { is_held_back } => self.wait_for_backend(io, tag, is_held_back),
            Next::End(outcome) => self.end(io, tag, outcome),
        }
    }

    /// Sets the timer of the exchange if its deadline is earlier than the current timer.
    fn arm(&mut self, tag: Tag) {
        let Some(exchange) = self.table.get_mut(tag.0) else { return };
        if let Some(at) = exchange.deadline(self.state.epoch) {
            self.wheel.arm(tag, at, &mut exchange.armed);
        }
    }

    /// Adds the exchange, which has its permit, to the queue for a backend, or keeps it there.
    fn wait_for_backend(&mut self, io: &mut impl Io, tag: Tag, is_held_back: bool) {
        let now = self.nanos(io.now());
        let Some(exchange) = self.table.get_mut(tag.0) else { return };
        // An exchange of an earlier snapshot waits for other backends than the rest of the queue.
        let is_held_back = is_held_back || !Rc::ptr_eq(&exchange.snapshot, &self.snapshot);
        let queue = &mut self.waiting.queue;
        let waited = match exchange.admission {
            Admission::WaitingForBackend(ticket) => return queue.keep_waiting(ticket, is_held_back),
            Admission::Admitted(waited) => waited,
            Admission::Queued(_) => None,
        };
        let Some(permit) = &exchange.permit else { return };
        match queue.wait_backend(permit, is_held_back, waited, exchange.attempt.total_deadline(), now) {
            Ok(ticket) => {
                exchange.on_queued(ticket, now);
                self.waiting.enter(ticket, tag);
                self.arm(tag);
            }
            Err(reason) => self.end(io, tag, Outcome::Answer(reason)),
        }
    }
}
