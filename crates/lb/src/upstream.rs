//! One worker's state for one upstream: the shared pool, and the worker's own balancer, connect back-off and queue of
//! transitions to log.
//!
//! Created with the snapshot, one per worker and upstream; `attempt` picks backends through it. Not shared, no lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::admit::{ClientShare, RouteLimits};
use crate::attempt::breaker::Circuit;
use crate::attempt::{AttemptOptions, Budget, HedgeOptions};
use crate::balance::{Algorithm, Backoff, Balancer, Order, View};
use crate::health::Transition;
use crate::outcome::Reason;
use crate::pool::{Lease, Pool, Transitions, Unavailable};
use crate::rng::Rng;
use crate::time::Nanos;

/// First back-off after a failed connect; doubles with each further failure.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// Maximum back-off after a failed connect.
const BACKOFF_LONGEST: Duration = Duration::from_secs(10);
/// Random variation of a back-off, percent.
const BACKOFF_JITTER_PERCENT: u32 = 10;
/// Doublings that reach the maximum.
const BACKOFF_DOUBLINGS: u32 = 6;
/// Picks that are retried because another worker took the last slot of the backend first.
const MAX_RACES: usize = 4;
/// Maximum number of queued transitions; the oldest is dropped.
const MAX_TRANSITIONS: usize = 64;

/// Options of an upstream.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// Load balancing algorithm.
    pub algorithm: Algorithm,
    /// Load bound of a backend for consistent-hash; 0 disables it.
    pub load_factor: f64,
    /// Limits of retries and deadlines.
    pub attempt: AttemptOptions,
    /// `None` if the route is not hedged.
    pub hedge: Option<HedgeOptions>,
}

impl Default for UpstreamOptions {
    fn default() -> Self {
        Self { algorithm: Algorithm::RoundRobin, load_factor: 1.25, attempt: AttemptOptions::default(), hedge: None }
    }
}

/// A change of one backend's state, to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendTransition {
    /// Index of the backend in the pool.
    pub backend: usize,
    /// The change.
    pub change: Change,
}

/// A change of health or circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Healthy or unhealthy.
    Health(Transition),
    /// The circuit opened or closed.
    Circuit(Circuit),
}

/// One worker's state for one upstream.
#[derive(Debug)]
pub struct Upstream {
    pool: Arc<Pool>,
    balancer: Balancer,
    backoff: Box<[Backoff]>,
    /// Last connection of each backend whose loss was counted.
    lost: Box<[Option<u64>]>,
    worker: usize,
    options: UpstreamOptions,
    transitions: VecDeque<BackendTransition>,
    /// Reasons of failures that counted for passive health.
    passive_failures: Vec<&'static str>,
    budgets: Option<Budgets>,
    /// Timeouts since [`Upstream::take_timeouts`].
    timeouts: u64,
}

/// The retry budgets that allow or deny a further attempt; both must allow it.
#[derive(Debug)]
struct Budgets {
    route: Arc<Budget>,
    global: Arc<Budget>,
}

#[derive(Debug)]
pub(crate) enum Pick {
    Lease(Lease),
    /// Every usable backend is at its limit.
    Full,
    /// Some backends have capacity, but the client's connection holds its share of each of them.
    ClientFull,
    /// Every usable backend was tried already.
    Exhausted,
    /// No backend is usable.
    Refused(Reason),
}

impl Upstream {
    /// Creates the state for worker 0, with nothing picked yet.
    pub fn new(pool: Arc<Pool>, options: UpstreamOptions) -> Self {
        Self {
            balancer: Balancer::new(options.algorithm, options.load_factor, &pool),
            backoff: vec![Backoff::default(); pool.members().len()].into_boxed_slice(),
            lost: vec![None; pool.members().len()].into_boxed_slice(),
            worker: 0,
            options,
            pool,
            transitions: VecDeque::new(),
            passive_failures: Vec::new(),
            budgets: None,
            timeouts: 0,
        }
    }

    /// Sets the number of the worker.
    #[must_use]
    pub fn on_worker(self, worker: usize) -> Self {
        Self { worker, ..self }
    }

    /// Limits retries and hedges by these budgets in addition to `max_retries`.
    #[must_use]
    pub fn with_budgets(self, route: Arc<Budget>, global: Arc<Budget>) -> Self {
        Self { budgets: Some(Budgets { route, global }), ..self }
    }

    /// The pool that all workers share.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Options that it was created with.
    pub fn options(&self) -> &UpstreamOptions {
        &self.options
    }

    /// Takes the oldest transition that this worker caused and that was not logged yet.
    pub fn take_transition(&mut self) -> Option<BackendTransition> {
        self.transitions.pop_front()
    }

    pub(crate) fn queue_transitions(&mut self, backend: usize, transitions: Transitions) {
        if self.passive_failures.len() < MAX_TRANSITIONS {
            self.passive_failures.extend(transitions.passive_failure);
        }
        let changes = [transitions.health.map(Change::Health), transitions.circuit.map(Change::Circuit)];
        for change in changes.into_iter().flatten() {
            if matches!(change, Change::Health(Transition { healthy: true, .. }) | Change::Circuit(Circuit::Closed)) {
                self.pool.on_recovery();
            }
            if self.transitions.len() >= MAX_TRANSITIONS {
                self.transitions.pop_front();
            }
            self.transitions.push_back(BackendTransition { backend, change });
        }
    }

    /// Removes and returns the reason of a failure that counted for a backend's passive health.
    pub fn take_passive_failure(&mut self) -> Option<&'static str> {
        self.passive_failures.pop()
    }

    /// Returns whether requests wait for a backend of this upstream.
    pub(crate) fn has_waiters(&self) -> bool {
        self.limits().is_some_and(RouteLimits::has_backend_waiters)
    }

    pub(crate) fn in_brownout(&self) -> bool {
        self.limits().is_some_and(|limits| limits.global().in_brownout())
    }

    /// Reports a response head to the adaptive limit.
    pub(crate) fn on_latency(&self, latency: Duration, now: Nanos) {
        if let Some(limits) = self.limits() {
            limits.on_head(self.worker, latency, now);
        }
    }

    /// Takes the number of attempts that have timed out since the last call. Deadlines of clients do not count.
    pub fn take_timeouts(&mut self) -> u64 {
        std::mem::take(&mut self.timeouts)
    }

    /// Reports a response timeout to the adaptive limit.
    pub(crate) fn on_timeout(&mut self, now: Nanos) {
        self.timeouts += 1;
        if let Some(limits) = self.limits() {
            limits.on_timeout(self.worker, now);
        }
    }

    fn limits(&self) -> Option<&RouteLimits> {
        self.pool.limits().map(|limits| &**limits)
    }

    /// Counts the first attempt of a request in the retry budgets.
    pub(crate) fn on_first(&self, now: Nanos) {
        if let Some(budgets) = &self.budgets {
            budgets.route.on_first(self.worker, now);
            budgets.global.on_first(self.worker, now);
        }
    }

    /// Takes one further attempt from both budgets. Returns false, taking nothing, if either is used up.
    pub(crate) fn take_budget(&self, now: Nanos) -> bool {
        let Some(budgets) = &self.budgets else { return true };
        if !budgets.route.take(now) {
            return false;
        }
        let taken = budgets.global.take(now);
        if !taken {
            budgets.route.give_back(now);
        }
        taken
    }

    /// Returns the attempt that [`Upstream::take_budget`] took, because it did not start.
    pub(crate) fn give_back_budget(&self, now: Nanos) {
        if let Some(budgets) = &self.budgets {
            budgets.route.give_back(now);
            budgets.global.give_back(now);
        }
    }

    /// Takes a lease of the next candidate and excludes it from `order`.
    pub(crate) fn pick(&mut self, order: &mut Order, client: Option<&ClientShare>, now: Nanos, rng: &mut Rng) -> Pick {
        let panic = self.pool.in_panic();
        let limit = self.pool.options().client_limit;
        let bounded = client.filter(|client| client.may_be_at(limit));
        let mut hidden = *order;
        // Backends in connect back-off are used only if no other is left.
        for rested in [true, false] {
            for _ in 0..MAX_RACES {
                let backoff: &[Backoff] = if rested { &self.backoff } else { &[] };
                let view = View { pool: &self.pool, order: &hidden, backoff, now, panic, client: bounded };
                let Some(index) = self.balancer.pick(&view, rng) else { break };
                hidden.exclude(index);
                if let Ok(lease) = self.pool.lease(index, now, panic) {
                    order.exclude(index);
                    return Pick::Lease(lease.for_client(client));
                }
            }
        }
        self.explain(order, bounded, now, panic)
    }

    /// Returns why no backend could be picked.
    fn explain(&self, order: &Order, client: Option<&ClientShare>, now: Nanos, panic: bool) -> Pick {
        if self.pool.members().is_empty() {
            return Pick::Refused(Reason::NoBackend);
        }
        let (mut full, mut held, mut open, mut usable) = (false, false, false, false);
        for index in 0..self.pool.members().len() {
            let unavailable = self.pool.check(index, now, panic).err();
            let tried = order.is_tried(index);
            let is_held = unavailable.is_none() && client.is_some_and(|client| self.pool.is_held_by(client, index));
            held |= is_held && !tried;
            // A backend that is available by now was freed since the pick: treat it as full, the queue tries again.
            full |= matches!(unavailable, None | Some(Unavailable::Full)) && !is_held && !tried;
            open |= unavailable == Some(Unavailable::CircuitOpen);
            usable |= unavailable.is_none() || unavailable == Some(Unavailable::Full);
        }
        match (full, usable, open) {
            _ if held => Pick::ClientFull,
            (true, _, _) => Pick::Full,
            (_, true, _) => Pick::Exhausted,
            (_, _, true) => Pick::Refused(Reason::CircuitOpen),
            _ => Pick::Refused(Reason::NoHealthyBackend),
        }
    }

    /// Notes the loss of a connection. Returns false if it was counted before.
    pub(crate) fn on_connection_lost(&mut self, backend: usize, connection: u64) -> bool {
        self.lost.get_mut(backend).is_none_or(|last| last.replace(connection) != Some(connection))
    }

    /// Starts or extends the back-off after a failed connect. Returns false if the failure was counted before: several
    /// requests can wait for one connect.
    pub(crate) fn on_connect_failure(&mut self, backend: usize, now: Nanos, rng: &mut Rng) -> bool {
        let revived = self.pool.members().get(backend).map_or(0, |member| member.state.health.revived());
        if let Some(backoff) = self.backoff.get_mut(backend) {
            if backoff.until > now && backoff.revived == revived {
                return false;
            }
            if backoff.revived != revived {
                backoff.failures = 0;
            }
            let rest = (BACKOFF_FIRST * (1 << backoff.failures.min(BACKOFF_DOUBLINGS))).min(BACKOFF_LONGEST);
            backoff.failures = backoff.failures.saturating_add(1);
            backoff.revived = revived;
            backoff.until = now + rng.jitter(rest, BACKOFF_JITTER_PERCENT);
        }
        true
    }

    /// Ends the back-off of a backend.
    pub(crate) fn on_connected(&mut self, backend: usize) {
        if let Some(backoff) = self.backoff.get_mut(backend) {
            *backoff = Backoff::default();
        }
    }
}

#[cfg(test)]
mod tests;
