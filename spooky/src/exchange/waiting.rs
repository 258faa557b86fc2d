//! Exchanges that wait for a permit, a backend or the budget for request bodies. Maps the tickets of `lb::admit` to them.

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

/// Polling interval of the budget for request bodies while uploads wait for it.
const BUDGET_POLL_INTERVAL: Duration = Duration::from_millis(5);

pub(super) struct Waiting {
    pub(super) queue: Queue,
    tags: HashMap<Ticket, Tag>,
    /// Exchanges whose upload waits for the budget.
    capped: Vec<Tag>,
    /// When the budget is polled next.
    next_budget_poll: Option<Instant>,
    /// The waker that is registered with the other workers.
    waker: Option<Waker>,
}

impl Waiting {
    pub(super) fn new(queue: Queue) -> Self {
        Self { queue, tags: HashMap::new(), capped: Vec::new(), next_budget_poll: None, waker: None }
    }

    /// Registers the waker by which other workers wake this one.
    pub(super) fn register_waker(&mut self, limits: &GlobalLimits, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            limits.set_waker(self.queue.worker(), waker.clone());
            self.waker = Some(waker.clone());
        }
    }

    /// Returns when the queue or the budget must be polled next.
    pub(super) fn deadline(&self, epoch: Instant) -> Option<Instant> {
        [self.queue.due().to_instant(epoch), self.next_budget_poll].into_iter().flatten().min()
    }

    /// Maps a ticket to an exchange.
    pub(super) fn enter(&mut self, ticket: Ticket, tag: Tag) {
        self.tags.insert(ticket, tag);
    }

    /// Removes a ticket from the queue. Does nothing if it is not in the queue.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if self.tags.remove(&ticket).is_some() {
            self.queue.leave(ticket);
        }
    }

    /// Returns the next result of the queue with its exchange. To be called until it returns `None`.
    pub(super) fn poll(&mut self, now: Nanos) -> Option<(Tag, Wake)> {
        loop {
            let wake = self.queue.poll(now)?;
            let tag = match &wake {
                Wake::TryBackend(ticket) => self.tags.get(ticket).copied(),
                Wake::Granted { ticket, .. } | Wake::Refused { ticket, .. } => self.tags.remove(ticket),
            };
            // The permit of an exchange that has ended is released by dropping it.
            if let Some(tag) = tag {
                return Some((tag, wake));
            }
        }
    }

    pub(super) fn wait_for_budget(&mut self, tag: Tag) {
        self.capped.push(tag);
    }

    /// Removes and returns the exchanges that wait for the budget, unless it `is_full`.
    pub(super) fn take_capped(&mut self, is_full: bool) -> Vec<Tag> {
        if is_full { Vec::new() } else { std::mem::take(&mut self.capped) }
    }

    /// Schedules the next poll of the budget, if uploads wait for it.
    pub(super) fn schedule_budget_poll(&mut self, now: Instant) {
        self.next_budget_poll = (!self.capped.is_empty()).then(|| now + BUDGET_POLL_INTERVAL);
    }

    pub(super) fn free_unused(&mut self) {
        self.capped.shrink_to_fit();
        self.tags.shrink_to_fit();
    }

    /// Returns for how many entries memory is allocated.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.tags.capacity() + self.capped.capacity()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.tags.is_empty() && self.queue.due() == Nanos::NEVER
    }
}
