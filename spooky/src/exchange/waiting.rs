//! The exchanges that wait for a permit, a backend or the budget for request bodies.
//!
//! `lb::admit` decides who may go; here its tickets are bound to exchanges.

use super::tag::Tag;
use spooky_lb::{
    admit::{GlobalLimits, Queue, Ticket, Wake},
    time::Nanos,
};
use std::{
    collections::HashMap,
    task::Waker,
    time::{Duration, Instant},
};

/// How soon the budget for request bodies is looked at again while uploads wait for it.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The waiting exchanges of a worker.
pub(super) struct Waiting {
    pub(super) queue: Queue,
    /// The exchanges in the queue.
    tags: HashMap<Ticket, Tag>,
    /// Uploads that go on when the budget has room again.
    capped: Vec<Tag>,
    /// When to look whether it has.
    look_again: Option<Instant>,
    /// The waker of this worker that the others know.
    waker: Option<Waker>,
}

impl Waiting {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, tags: HashMap::new(), capped: Vec::new(), look_again: None, waker: None }
    }

    /// Tells the other workers how this one is woken when one of its waiting requests may go.
    pub(super) fn listen(&mut self, limits: &GlobalLimits, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            limits.set_waker(self.queue.worker(), waker.clone());
            self.waker = Some(waker.clone());
        }
    }

    /// When something has to be done although nothing else happens.
    pub(super) fn deadline(&self, epoch: Instant) -> Option<Instant> {
        [self.queue.due().to_instant(epoch), self.look_again].into_iter().flatten().min()
    }

    /// Binds a ticket of the queue to an exchange.
    pub(super) fn enter(&mut self, ticket: Ticket, tag: Tag) {
        self.tags.insert(ticket, tag);
    }

    /// Takes an exchange out of the queue. Does nothing if it has left it already.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if self.tags.remove(&ticket).is_some() {
            self.queue.leave(ticket);
        }
    }

    /// The next exchange that the queue has something for; call until there is none.
    pub(super) fn poll(&mut self, now: Nanos) -> Option<(Tag, Wake)> {
        loop {
            let wake = self.queue.poll(now)?;
            let tag = match &wake {
                Wake::TryBackend(ticket) => self.tags.get(ticket).copied(),
                Wake::Granted { ticket, .. } | Wake::Refused { ticket, .. } => self.tags.remove(ticket),
            };
            // A permit for an exchange that is gone returns by drop.
            if let Some(tag) = tag {
                return Some((tag, wake));
            }
        }
    }

    /// The upload of this exchange goes on when the budget has room.
    pub(super) fn wait_for_budget(&mut self, tag: Tag) {
        self.capped.push(tag);
    }

    /// Takes out the exchanges whose upload may go on, unless the budget `is_full`.
    pub(super) fn take_capped(&mut self, is_full: bool) -> Vec<Tag> {
        if is_full { Vec::new() } else { std::mem::take(&mut self.capped) }
    }

    /// Sets when the budget is looked at again, if uploads wait for it.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.look_again = (!self.capped.is_empty()).then(|| now + LOOK_AGAIN);
    }

    /// Frees memory that is not needed.
    pub(super) fn free_unused(&mut self) {
        self.capped.shrink_to_fit();
        self.tags.shrink_to_fit();
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.queue.len() == 0
    }
}
