//! One worker's queues: requests that wait for a limit, first in, first out, each with a deadline
//! (docs/reference/behaviour.md#admission).
//!
//! The exchange asks [`Queue::admit`] and keeps the ticket if it must wait; the worker calls [`Queue::poll`] each turn
//! until it yields nothing. Caps count over all workers; `waiters` keeps the order over workers.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::limit::{GlobalLimits, Limit, Permit, RouteLimits};
use super::share::ClientShare;
use crate::outcome::Reason;
use crate::time::Nanos;

/// Names one waiting request of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ticket(u64);

/// Since when a request has been waiting, and until when it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitPeriod {
    /// When it came to the queue first.
    pub since: Nanos,
    /// When it is refused.
    pub until: Nanos,
}

/// The answer to a request for admission.
#[derive(Debug)]
pub enum Admission {
    /// Go on.
    Granted(Permit),
    /// Wait for [`Queue::poll`] to name this ticket.
    Queued(Ticket),
    /// Answer the client with this.
    Refused(Reason),
}

/// What a waiting request can do now.
#[derive(Debug)]
pub enum Wake {
    /// It has its permit; the ticket is void.
    Granted {
        /// Which request.
        ticket: Ticket,
        /// Its permit.
        permit: Permit,
        /// For [`Queue::wait_backend`], should it have to wait on.
        waited: WaitPeriod,
    },
    /// A backend may be free: call `Attempts::on_start`; if that starts or answers, [`Queue::leave`], else do nothing.
    TryBackend(Ticket),
    /// It waited in vain; the ticket is void.
    Refused {
        /// Which request.
        ticket: Ticket,
        /// The answer.
        reason: Reason,
    },
}

impl Wake {
    /// Which request it is for.
    pub fn ticket(&self) -> Ticket {
        match self {
            Self::Granted { ticket, .. } | Self::Refused { ticket, .. } | Self::TryBackend(ticket) => *ticket,
        }
    }
}

/// One waiting request.
#[derive(Clone, Debug)]
struct Entry {
    ticket: Ticket,
    waited: WaitPeriod,
    client: Option<ClientShare>,
    /// It waits for a backend only because its client holds its share of those that have room, or it waits for those of an
    /// earlier configuration: others pass it.
    is_held_back: bool,
}

/// The waiting requests of one upstream on this worker.
#[derive(Debug)]
struct Local {
    limits: Arc<RouteLimits>,
    /// Without permit, and the limit that turned the first of them away.
    permits: VecDeque<Entry>,
    blocked: Limit,
    /// With permit, waiting for a backend.
    backends: VecDeque<Entry>,
}

impl Local {
    /// The first request that may have the next permit: those whose client holds its share are passed.
    fn first_permit(&self) -> Option<(usize, &Entry)> {
        let may_go = |entry: &Entry| !entry.client.as_ref().is_some_and(|client| self.limits.is_held_by(client));
        self.permits.iter().enumerate().find(|(_, entry)| may_go(entry))
    }

    /// The first request that waits for any backend to have room.
    fn first_for_backend(&self) -> Option<&Entry> {
        self.backends.iter().find(|entry| !entry.is_held_back)
    }

    /// Whether no request before `at` is held back with the same client.
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
    /// Something changed here that may let a waiter go.
    again: bool,
    /// A client of this worker gave a place back, or one that others pass went on: the next of them may go.
    freed: Rc<Cell<bool>>,
    due: Nanos,
    next_ticket: u64,
}

impl Queue {
    /// The queues of worker number `worker`.
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

    /// The number of the worker.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// What a new client connection of this worker holds: nothing yet.
    pub fn new_client(&self) -> ClientShare {
        ClientShare::new(Rc::clone(&self.freed))
    }

    /// Brownout, adaptive, global and upstream limit, in this order; a client that holds its share of the upstream waits as
    /// if its limit were full. `deadline` is the total one of the request. Without a client no share is counted.
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

    /// Every usable backend is full (`Step::Full`), or the client holds its share of those that are not
    /// (`Step::ClientFull`, `is_held_back`): wait with the permit in hand. `waited` is that of an earlier wait. A request of
    /// an earlier configuration is held back in any case: nobody else knows when its backends have room.
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

    /// A request that was called by [`Wake::TryBackend`] found none and keeps its place; `is_held_back` as for
    /// [`Queue::wait_backend`].
    pub fn keep_waiting(&mut self, ticket: Ticket, is_held_back: bool) {
        let mut entries = self.locals.iter_mut().flat_map(|local| &mut local.backends);
        if let Some(entry) = entries.find(|entry| entry.ticket == ticket)
            && std::mem::replace(&mut entry.is_held_back, is_held_back) != is_held_back
        {
            // Those behind one that is held back have their turn.
            self.again |= is_held_back;
            self.publish();
        }
    }

    /// A new configuration is in effect. What waits for a backend of the earlier one goes on waiting, but no longer stands
    /// before requests that may have other backends.
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

    /// A waiting request goes away: it has found its backend, or its client left.
    pub fn leave(&mut self, ticket: Ticket) {
        self.ready.retain(|wake| wake.ticket() != ticket);
        let found = self.locals.iter_mut().position(|local| {
            let waiting = local.permits.len() + local.backends.len();
            if local.backends.iter().any(|entry| entry.ticket == ticket && entry.is_held_back) {
                self.freed.set(true); // there may be room for the next of its client as well
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

    /// Requests waiting on this worker.
    pub fn len(&self) -> usize {
        self.locals.iter().map(|local| local.permits.len() + local.backends.len()).sum()
    }

    /// Whether none is waiting.
    pub fn is_empty(&self) -> bool {
        self.locals.is_empty()
    }

    /// When [`Queue::poll`] must be called at the latest; the bell may call for it earlier.
    pub fn due(&self) -> Nanos {
        self.due
    }

    /// The next piece of news; call until there is none. Nearly free while nobody waits.
    pub fn poll(&mut self, now: Nanos) -> Option<Wake> {
        if self.ready.is_empty() && !self.locals.is_empty() {
            self.global.advance(now);
            let called = self.global.wakers.take_woken(self.worker) | self.freed.take();
            if now >= self.due {
                self.expire(now);
            }
            if called || self.again {
                self.again = false;
                self.grant();
                self.publish();
                self.offer(called);
                self.locals.retain(|local| !local.permits.is_empty() || !local.backends.is_empty());
                if self.locals.is_empty() {
                    self.due = Nanos::NEVER;
                }
            }
            if self.locals.iter().any(|local| local.blocked == Limit::Adaptive && !local.permits.is_empty()) {
                // That limit rises by itself.
                self.due = self.due.min(GlobalLimits::next_rise(now));
            }
        }
        self.ready.pop_front()
    }

    /// The limit that a newcomer must wait for because others already do.
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
            self.freed.set(true); // for what became free elsewhere before this was shown
        }
        let at = self.locals.iter().position(|local| Arc::ptr_eq(&local.limits, limits));
        let at = at.unwrap_or_else(|| {
            let (permits, backends) = (VecDeque::new(), VecDeque::new());
            self.locals.push(Local { limits: Arc::clone(limits), permits, blocked: limit, backends });
            self.locals.len() - 1
        });
        if let Some(local) = self.locals.get_mut(at) {
            if limit == Limit::Backend {
                // One that waited for its permit before keeps its place in front of later ones.
                let place = local.backends.partition_point(|other| other.waited.since <= waited.since);
                local.backends.insert(place, entry);
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
        // Shown first, then tried once more: see `waiters`.
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

    /// Gives permits to the longest waiting, until a limit is full for each.
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
                        self.ready.push_back(Wake::Granted { ticket, permit, waited });
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

    /// Lets the first that waits for a backend of each upstream try again; if `called`, also the first of each client that
    /// others pass. Whoever waits longer comes first.
    fn offer(&mut self, called: bool) {
        for local in &self.locals {
            let first = local.first_for_backend();
            let first = first.filter(|entry| !local.limits.backend_waiters.has_older(self.worker, entry.waited.since));
            let first = first.map(|entry| entry.ticket);
            let tries = local.backends.iter().enumerate().filter(|(at, entry)| {
                let is_next = called && entry.is_held_back && local.is_first_of_client(*at, entry);
                is_next || first == Some(entry.ticket)
            });
            self.ready.extend(tries.map(|(_, entry)| Wake::TryBackend(entry.ticket)));
        }
    }

    /// Shows the first waiters to the other workers; where they changed, those behind may have their turn.
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
