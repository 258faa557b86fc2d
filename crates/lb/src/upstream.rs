//! One upstream as one worker sees it: the shared pool, and the worker's own balancer, connect back-off and news.
//!
//! Built with the snapshot, one per worker and upstream; `attempt` picks through it. It holds no lock and is not shared.

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

/// First rest after a failed connect, which doubles with each further one.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
/// Longest rest after a failed connect.
const BACKOFF_LONGEST: Duration = Duration::from_secs(10);
/// Percent by which a rest varies.
const BACKOFF_JITTER_PERCENT: u32 = 10;
/// Doublings after which the longest rest is reached.
const BACKOFF_DOUBLINGS: u32 = 6;
/// How often a pick is tried again when another worker took the last place first.
const MAX_RACES: usize = 4;
/// Transitions kept for a worker that does not collect them; older ones are dropped.
const MAX_TRANSITIONS: usize = 64;

/// What differs between upstreams.
#[derive(Clone, Debug)]
pub struct UpstreamOptions {
    /// How backends are chosen.
    pub algorithm: Algorithm,
    /// Bound on the load of a backend for consistent-hash; 0 for none.
    pub load_factor: f64,
    /// Retries and deadlines.
    pub attempt: AttemptOptions,
    /// `None` where hedging is off or the route does not allow it.
    pub hedge: Option<HedgeOptions>,
}

impl Default for UpstreamOptions {
    fn default() -> Self {
        Self { algorithm: Algorithm::RoundRobin, load_factor: 1.25, attempt: AttemptOptions::default(), hedge: None }
    }
}

/// What changed about one backend, to be logged and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendTransition {
    /// Index of the backend.
    pub backend: usize,
    /// What changed.
    pub change: Change,
}

/// A change of the state of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It became healthy or unhealthy.
    Health(Transition),
    /// Its circuit opened or closed.
    Circuit(Circuit),
}

/// One upstream of one worker.
#[derive(Debug)]
pub struct Upstream {
    pool: Arc<Pool>,
    balancer: Balancer,
    backoff: Box<[Backoff]>,
    /// The last connection of each backend whose loss was counted.
    lost: Box<[Option<u64>]>,
    /// The number of the worker.
    worker: usize,
    options: UpstreamOptions,
    transitions: VecDeque<BackendTransition>,
    budgets: Option<Budgets>,
}

/// The retry budgets that a further attempt needs a place in.
#[derive(Debug)]
struct Budgets {
    route: Arc<Budget>,
    global: Arc<Budget>,
}

/// What a pick came to.
#[derive(Debug)]
pub(crate) enum Pick {
    /// A place on a backend.
    Lease(Lease),
    /// Every backend that could take it is at its limit.
    Full,
    /// Some could, but of those its client holds its share.
    ClientFull,
    /// None but those already tried.
    Exhausted,
    /// None at all.
    Refused(Reason),
}

impl Upstream {
    /// A fresh view of `pool`.
    pub fn new(pool: Arc<Pool>, options: UpstreamOptions) -> Self {
        Self {
            balancer: Balancer::new(options.algorithm, options.load_factor, &pool),
            backoff: vec![Backoff::default(); pool.members().len()].into_boxed_slice(),
            lost: vec![None; pool.members().len()].into_boxed_slice(),
            worker: 0,
            options,
            pool,
            transitions: VecDeque::new(),
            budgets: None,
        }
    }

    /// Says which worker's view this is; without it, the first one's.
    #[must_use]
    pub fn on_worker(self, worker: usize) -> Self {
        Self { worker, ..self }
    }

    /// Bounds retries and hedges by the budgets of this upstream and of the process; without them only by `max_retries`.
    #[must_use]
    pub fn with_budgets(self, route: Arc<Budget>, global: Arc<Budget>) -> Self {
        Self { budgets: Some(Budgets { route, global }), ..self }
    }

    /// The shared pool.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// What it was built with.
    pub fn options(&self) -> &UpstreamOptions {
        &self.options
    }

    /// The oldest transition that this worker caused and nobody has logged yet.
    pub fn take_transition(&mut self) -> Option<BackendTransition> {
        self.transitions.pop_front()
    }

    pub(crate) fn queue_transitions(&mut self, backend: usize, transitions: Transitions) {
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

    /// Whether others wait for a backend of this upstream.
    pub(crate) fn has_waiters(&self) -> bool {
        self.limits().is_some_and(RouteLimits::has_backend_waiters)
    }

    pub(crate) fn in_brownout(&self) -> bool {
        self.limits().is_some_and(|limits| limits.global().in_brownout())
    }

    /// A response head came after `latency`: for the adaptive limit.
    pub(crate) fn on_latency(&self, latency: Duration, now: Nanos) {
        if let Some(limits) = self.limits() {
            limits.on_head(self.worker, latency, now);
        }
    }

    /// No response head came in time: for the adaptive limit.
    pub(crate) fn on_timeout(&self, now: Nanos) {
        if let Some(limits) = self.limits() {
            limits.on_timeout(self.worker, now);
        }
    }

    fn limits(&self) -> Option<&RouteLimits> {
        self.pool.limits().map(|limits| &**limits)
    }

    /// A request started its first attempt: for the retry budgets.
    pub(crate) fn on_first(&self, now: Nanos) {
        if let Some(budgets) = &self.budgets {
            budgets.route.on_first(self.worker, now);
            budgets.global.on_first(self.worker, now);
        }
    }

    /// A place for one further attempt in both budgets.
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

    /// The further attempt did not start after all.
    pub(crate) fn give_back_budget(&self, now: Nanos) {
        if let Some(budgets) = &self.budgets {
            budgets.route.give_back(now);
            budgets.global.give_back(now);
        }
    }

    /// The next candidate of `order`, with a place on it. The candidate is then excluded from the order.
    pub(crate) fn pick(&mut self, order: &mut Order, client: Option<&ClientShare>, now: Nanos, rng: &mut Rng) -> Pick {
        let panic = self.pool.in_panic();
        let limit = self.pool.options().client_limit;
        let bounded = client.filter(|client| client.may_be_at(limit));
        let mut hidden = *order;
        // Backends that rest after a failed connect come only when no other is left.
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

    /// Why there is no candidate.
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
            // Without a bar it has become free since the choice, through another worker: as good as full, the queue asks again.
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

    /// A connection to the backend was lost. Returns false if the loss of that connection was counted before.
    pub(crate) fn on_connection_lost(&mut self, backend: usize, connection: u64) -> bool {
        self.lost.get_mut(backend).is_none_or(|last| last.replace(connection) != Some(connection))
    }

    /// A connection to the backend could not be made: it is passed over, longer each time. Returns false if that is known
    /// already: several requests shared the attempt, and it failed once.
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

    /// A connection to the backend was made, or serves: its rest is over.
    pub(crate) fn on_connected(&mut self, backend: usize) {
        if let Some(backoff) = self.backoff.get_mut(backend) {
            *backoff = Backoff::default();
        }
    }
}

#[cfg(test)]
mod tests;
