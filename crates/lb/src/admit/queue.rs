//! One worker's queues of requests that wait for a limit, first in, first out, each with a deadline
//! (docs/reference/behaviour.md#admission).
//!
//! The exchange calls [`Queue::admit`] and keeps the ticket if it must wait; the worker calls [`Queue::poll`] each turn
//! until it returns `None`. The caps count the requests of all workers; `waiters` keeps the order between workers.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::limit::{GlobalLimits, Limit, Permit, RouteLimits};
use super::share::ClientShare;
use crate::outcome::Reason;
use crate::time::Nanos;

/// Identifies one waiting request of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

/// When a request began to wait, and when it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitPeriod {
    /// When it was queued first.
    pub since: Nanos,
    /// When it is refused.
    pub until: Nanos,
}

/// Result of [`Queue::admit`].
#[derive(Debug)]
pub enum Admission {
    /// The request may proceed.
    Granted(Permit),
    /// The request must wait until [`Queue::poll`] returns this ticket.
    Queued(Ticket),
    /// The request must be answered with this.
    Refused(Reason),
}

/// What a waiting request can do now.
#[derive(Debug)]
pub enum Wake {
    /// It has its permit. The ticket is no longer valid.
    Granted {
        /// The request.
        ticket: Ticket,
        /// Its permit.
        permit: Permit,
        /// Must be passed to [`Queue::wait_backend`] if it has to wait for a backend.
        waited: WaitPeriod,
        /// The limit that it waited for.
        limit: Limit,
    },
    /// A backend may be free: call `Attempts::on_start`, then [`Queue::leave`] if that starts an attempt or answers.
    TryBackend(Ticket),
    /// It waited too long. The ticket is no longer valid.
    Refused {
        /// The request.
        ticket: Ticket,
        /// The answer.
        reason: Reason,
    },
}

impl Wake {
    /// The request that it is about.
    pub fn ticket(&self) -> Ticket {
        match self {
            Self::Granted { ticket, .. } | Self::Refused { ticket, .. } | Self::TryBackend(ticket) => *ticket,
        }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    ticket: Ticket,
    waited: WaitPeriod,
    client: Option<ClientShare>,
    /// It waits for a backend only because its client holds its share of those with capacity, or it waits for backends of an
    /// earlier configuration. Other requests overtake it.
    is_held_back: bool,
}

/// The waiting requests of one upstream on this worker.
#[derive(Debug)]
struct Local {
    limits: Arc<RouteLimits>,
    /// Requests without a permit, and the limit that the first of them waits for.
    permits: VecDeque<Entry>,
    blocked: Limit,
    /// Requests with a permit that wait for a backend.
    backends: VecDeque<Entry>,
}

impl Local {
    /// First request that may get the next permit: one whose client does not hold its share of the upstream.
    fn first_permit(&self) -> Option<(usize, &Entry)> {
        let may_go = |entry: &Entry| !entry.client.as_ref().is_some_and(|client| self.limits.is_held_by(client));
        self.permits.iter().enumerate().find(|(_, entry)| may_go(entry))
    }

    /// First request that waits for capacity on any backend.
    fn first_for_backend(&self) -> Option<&Entry> {
        self.backends.iter().find(|entry| !entry.is_held_back)
    }

    /// Returns whether no earlier request of the same client is held back.
    fn is_first_of_client(&self, at: usize, entry: &Entry) -> bool {
        let mut before = self.backends.iter().take(at).filter(|other| other.is_held_back);
        !before.any(|other| is_same_client(other.client.as_ref(), entry.client.as_ref()))
    }
}

fn is_same_client(one: Option<&ClientShare>, other: Option<&ClientShare>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one.is_same(other))
}

/// All queues of one worker.
#[derive(Debug)]
pub struct Queue {
    global: Arc<GlobalLimits>,
    worker: usize,
    locals: Vec<Local>,
    ready: VecDeque<Wake>,
    /// Something changed on this worker that may admit a waiting request.
    again: bool,
    /// The share of a client of this worker decreased, or a held-back request left: the next one may proceed.
    freed: Rc<Cell<bool>>,
    due: Nanos,
    next_ticket: u64,
}

impl Queue {
    /// Creates the queues of this worker.
    pub fn new(global: Arc<GlobalLimits>, worker: usize) -> Self {
        Self {
            global,
            worker,
            locals: Vec::new(),
            ready: VecDeque::new(),
            again: false,
            freed: Rc::default(),
            due: Nanos::NEVER,
            next_ticket: 0,
        }
    }

    /// Number of the worker.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Creates the share of a new client connection of this worker.
    pub fn new_client(&self) -> ClientShare {
        ClientShare::new(Rc::clone(&self.freed))
    }

    /// Checks brownout, the adaptive, global and upstream limit, in this order. The request waits if a limit or its client's
    /// share of the upstream is reached, at most until `deadline`, the total deadline. Without a client no share is counted.
    pub fn admit(
        &mut self,
        limits: &Arc<RouteLimits>,
        client: Option<&ClientShare>,
        deadline: Nanos,
        now: Nanos,
    ) -> Admission {
        limits.advance(now);
        if self.global.evaluate_brownout() && !limits.is_core() {
            return Admission::Refused(Reason::Brownout);
        }
        let is_over_share = client.is_some_and(|client| limits.is_held_by(client));
        let limit = match self.would_overtake(limits) {
            _ if is_over_share => Limit::Upstream,
            Some(limit) => limit,
            None => match limits.acquire() {
                Ok(permit) => {
                    limits.on_granted(self.worker);
                    return Admission::Granted(permit.for_client(client));
                }
                Err(limit) => limit,
            },
        };
        let waited = WaitPeriod { since: now, until: deadline.min(now + limits.max_wait()) };
        let entry = Entry { ticket: self.ticket(), waited, client: client.cloned(), is_held_back: false };
        match self.enter(limits, limit, entry, now) {
            Ok(ticket) => Admission::Queued(ticket),
            Err(reason) => Admission::Refused(reason),
        }
    }

    /// Queues a request that has its permit and waits for a backend, after `Step::Full`, or after `Step::ClientFull` with
    /// `is_held_back`. `waited` is that of an earlier wait. A request of an earlier configuration must be held back too,
    /// because its backends are not those that other requests wait for.
    pub fn wait_backend(
        &mut self,
        permit: &Permit,
        is_held_back: bool,
        waited: Option<WaitPeriod>,
        deadline: Nanos,
        now: Nanos,
    ) -> Result<Ticket, Reason> {
        let limits = permit.limits();
        let until = deadline.min(now + limits.max_wait());
        let waited = waited.unwrap_or(WaitPeriod { since: now, until });
        let entry = Entry { ticket: self.ticket(), waited, client: permit.client().cloned(), is_held_back };
        self.enter(limits, Limit::Backend, entry, now)
    }

    /// Keeps the position of a request that found no backend after [`Wake::TryBackend`]; `is_held_back` as for
    /// [`Queue::wait_backend`].
    pub fn keep_waiting(&mut self, ticket: Ticket, is_held_back: bool) {
        let mut entries = self.locals.iter_mut().flat_map(|local| &mut local.backends);
        if let Some(entry) = entries.find(|entry| entry.ticket == ticket)
            && std::mem::replace(&mut entry.is_held_back, is_held_back) != is_held_back
        {
            // Requests behind one that is held back may proceed.
            self.again |= is_held_back;
            self.publish();
        }
    }

    /// Handles a new configuration. Requests that wait for a backend of the earlier one go on waiting, but no longer block
    /// requests that may use other backends.
    pub fn on_reload(&mut self) {
        for entry in self.locals.iter_mut().flat_map(|local| &mut local.backends) {
            entry.is_held_back = true;
        }
        self.again = true;
        self.publish();
    }

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Removes a request that has found its backend or was aborted.
    pub fn leave(&mut self, ticket: Ticket) {
        self.ready.retain(|wake| wake.ticket() != ticket);
        let found = self.locals.iter_mut().position(|local| {
            let waiting = local.permits.len() + local.backends.len();
            if local.backends.iter().any(|entry| entry.ticket == ticket && entry.is_held_back) {
                self.freed.set(true); // the next request of its client may proceed as well
            }
            local.permits.retain(|entry| entry.ticket != ticket);
            local.backends.retain(|entry| entry.ticket != ticket);
            local.permits.len() + local.backends.len() < waiting
        });
        if let Some(local) = found.and_then(|at| self.locals.get(at)) {
            local.limits.leave_queue();
            self.again = true;
            self.publish();
        }
    }

    /// When [`Queue::poll`] must be called at the latest, [`Nanos::NEVER`] if no request waits; a wake of the worker may ask for it earlier.
    pub fn due(&self) -> Nanos {
        self.due
    }

    /// Returns what a waiting request can do now; must be called until `None`. Costs almost nothing while none is waiting.
    pub fn poll(&mut self, now: Nanos) -> Option<Wake> {
        if self.ready.is_empty() && !self.locals.is_empty() {
            self.global.advance(now);
            let woken = self.global.wakers.take_woken(self.worker) | self.freed.take();
            if now >= self.due {
                self.expire(now);
            }
            if woken || self.again {
                self.again = false;
                self.grant();
                self.publish();
                self.offer(woken);
                self.locals.retain(|local| !local.permits.is_empty() || !local.backends.is_empty());
                if self.locals.is_empty() {
                    self.due = Nanos::NEVER;
                }
            }
            if self.locals.iter().any(|local| local.blocked == Limit::Adaptive && !local.permits.is_empty()) {
                // The adaptive limit rises with time alone.
                self.due = self.due.min(GlobalLimits::next_rise(now));
            }
        }
        self.ready.pop_front()
    }

    /// The limit that a new request must wait for because others already do.
    fn would_overtake(&self, limits: &Arc<RouteLimits>) -> Option<Limit> {
        if self.global.queued() == 0 {
            return None;
        }
        let mut here = self.locals.iter().filter(|local| Arc::ptr_eq(&local.limits, limits));
        if let Some(local) = here.find(|local| local.first_permit().is_some()) {
            Some(local.blocked)
        } else if limits.permit_waiters.oldest().is_some() {
            Some(Limit::Upstream)
        } else if self.global.waiters.oldest().is_some() {
            Some(self.global.limit().1)
        } else {
            None
        }
    }

    fn enter(&mut self, limits: &Arc<RouteLimits>, limit: Limit, entry: Entry, now: Nanos) -> Result<Ticket, Reason> {
        let (ticket, waited) = (entry.ticket, entry.waited);
        if waited.until <= now {
            return Err(limit.reason());
        }
        limits.enter_queue()?;
        if entry.is_held_back {
            self.freed.set(true); // another worker may have released capacity before this was published
        }
        let at = self.locals.iter().position(|local| Arc::ptr_eq(&local.limits, limits));
        let at = at.unwrap_or_else(|| {
            let (permits, backends) = (VecDeque::new(), VecDeque::new());
            self.locals.push(Local { limits: Arc::clone(limits), permits, blocked: limit, backends });
            self.locals.len() - 1
        });
        if let Some(local) = self.locals.get_mut(at) {
            if limit == Limit::Backend {
                // A request that waited for its permit stays in front of later ones.
                let at = local.backends.partition_point(|other| other.waited.since <= waited.since);
                local.backends.insert(at, entry);
            } else {
                if local.permits.is_empty() {
                    local.blocked = limit;
                }
                local.permits.push_back(entry);
            }
        }
        self.due = self.due.min(waited.until);
        if limit == Limit::Adaptive {
            self.due = self.due.min(GlobalLimits::next_rise(now));
        }
        // Published first, then tried once more: see `waiters`.
        self.publish();
        self.again = true;
        Ok(ticket)
    }

    fn expire(&mut self, now: Nanos) {
        self.due = Nanos::NEVER;
        for Local { limits, permits, blocked, backends } in &mut self.locals {
            for (entries, limit) in [(permits, *blocked), (backends, Limit::Backend)] {
                entries.retain(|entry| {
                    let stays = entry.waited.until > now;
                    if stays {
                        self.due = self.due.min(entry.waited.until);
                    } else {
                        let is_over_share = entry.client.as_ref().is_some_and(|client| limits.is_held_by(client));
                        let limit = if is_over_share && limit.is_global() { Limit::Upstream } else { limit };
                        limits.leave_queue();
                        self.ready.push_back(Wake::Refused { ticket: entry.ticket, reason: limit.reason() });
                    }
                    stays
                });
            }
        }
        self.again = true;
    }

    /// Grants permits in order of arrival until every upstream has reached a limit.
    fn grant(&mut self) {
        let mut stuck = vec![false; self.locals.len()];
        loop {
            let waiting = self.locals.iter().zip(&stuck).enumerate().filter(|(_, (_, stuck))| !**stuck);
            let heads = waiting.filter_map(|(at, (local, _))| {
                let (first, entry) = local.first_permit()?;
                Some((entry.waited.since, at, first))
            });
            let Some((since, at, first)) = heads.min() else { return };
            let Some(local) = self.locals.get_mut(at) else { return };
            let waiters = if local.blocked.is_global() { &self.global.waiters } else { &local.limits.permit_waiters };
            let outcome =
                if waiters.has_older(self.worker, since) { Err(local.blocked) } else { local.limits.acquire() };
            match outcome {
                Ok(permit) => {
                    local.limits.leave_queue();
                    local.limits.on_granted(self.worker);
                    if let Some(Entry { ticket, waited, client, .. }) = local.permits.remove(first) {
                        let permit = permit.for_client(client.as_ref());
                        let limit = local.blocked;
                        self.ready.push_back(Wake::Granted { ticket, permit, waited, limit });
                    }
                }
                Err(limit) => {
                    local.blocked = limit;
                    if let Some(stuck) = stuck.get_mut(at) {
                        *stuck = true;
                    }
                }
            }
        }
    }

    /// Lets the first request that waits for a backend of each upstream try again; if `woken`, also the first held-back
    /// request of each client. Longer waits come first.
    fn offer(&mut self, woken: bool) {
        for local in &self.locals {
            let first = local.first_for_backend();
            let first = first.filter(|entry| !local.limits.backend_waiters.has_older(self.worker, entry.waited.since));
            let first = first.map(|entry| entry.ticket);
            let tries = local.backends.iter().enumerate().filter(|(at, entry)| {
                let is_next = woken && entry.is_held_back && local.is_first_of_client(*at, entry);
                is_next || first == Some(entry.ticket)
            });
            self.ready.extend(tries.map(|(_, entry)| Wake::TryBackend(entry.ticket)));
        }
    }

    /// Publishes the first waiting requests to the other workers, and wakes the next worker where they changed.
    fn publish(&self) {
        let mut first_global: Option<Nanos> = None;
        for local in &self.locals {
            let head = local.first_permit().map(|(_, entry)| entry.waited.since);
            let global = head.filter(|_| local.blocked.is_global());
            first_global = [first_global, global].into_iter().flatten().min();
            let own = head.filter(|_| !local.blocked.is_global());
            let backend = local.first_for_backend().map(|entry| entry.waited.since);
            let held_back = local.backends.iter().find(|entry| entry.is_held_back).map(|entry| entry.waited.since);
            local.limits.held_back_waiters.publish(self.worker, held_back);
            for (waiters, head) in [(&local.limits.permit_waiters, own), (&local.limits.backend_waiters, backend)] {
                if waiters.publish(self.worker, head) {
                    self.global.wake_oldest(waiters);
                }
            }
        }
        if self.global.waiters.publish(self.worker, first_global) {
            self.global.wake_oldest(&self.global.waiters);
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.ready.clear();
        for local in &mut self.locals {
            for _ in local.permits.drain(..).chain(local.backends.drain(..)) {
                local.limits.leave_queue();
            }
        }
        self.publish();
    }
}

#[cfg(test)]
mod tests;
