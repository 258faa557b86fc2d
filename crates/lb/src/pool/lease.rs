//! The lease that an attempt holds of its backend, and what its result changes about that backend.
//!
//! `attempt` holds the lease until the exchange has ended on both sides. A lease that is dropped without a recorded result
//! changes nothing but the in-flight count: client aborts, lost hedges and requests that were never sent
//! (docs/reference/behaviour.md#guarantees).

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};

use super::{Backend, Member, Pool, Unavailable};
use crate::admit::{ClientShare, ClientShareGuard, LimitId};
use crate::attempt::Blame;
use crate::attempt::breaker::{Circuit, Pass};
use crate::health::{Fitness, Transition};
use crate::time::Nanos;

/// Counts one attempt on a backend until dropped.
#[derive(Debug)]
#[must_use = "dropping a lease releases it"]
pub struct Lease {
    backend: Arc<Backend>,
    index: usize,
    pass: Pass,
    trial: bool,
    share: Option<ClientShareGuard>,
}

/// Result of an attempt, for the state of its backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    /// The backend answered with this status.
    Answered(u16),
    /// The attempt failed because of the backend.
    Failed(Blame),
}

/// Changes of a backend's state, at most one of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transitions {
    /// The backend became healthy or unhealthy.
    pub health: Option<Transition>,
    /// Its circuit opened ([`Circuit::Open`]) or closed.
    pub circuit: Option<Circuit>,
    /// The reason of a failure that counted for its passive health.
    pub passive_failure: Option<&'static str>,
}

impl Lease {
    /// Index of the backend in its pool.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Counts it in the share of a client.
    pub(crate) fn for_client(mut self, client: Option<&ClientShare>) -> Self {
        self.share = client.map(|client| client.take(LimitId::of(&self.backend)));
        self
    }

    /// Returns whether the attempt is a trial of an unhealthy backend or a probe of a half-open circuit.
    pub fn is_probe(&self) -> bool {
        self.trial || self.pass == Pass::Probe
    }

    /// Returns what is needed to record a failure after the lease was dropped.
    pub(crate) fn unrecorded(&self) -> UnrecordedAttempt {
        UnrecordedAttempt { index: self.index, pass: self.pass, is_trial: self.trial }
    }

    /// Records the result, at most once. The lease still counts as in flight.
    pub(crate) fn record(&mut self, pool: &Pool, result: AttemptResult, now: Nanos) -> Transitions {
        let Some(member) = pool.members.get(self.index) else { return Transitions::default() };
        let is_error = matches!(result, AttemptResult::Answered(status) if status >= 500);
        if matches!(result, AttemptResult::Answered(_)) && !is_error {
            self.backend.last_success.store(now.get(), Relaxed);
        }
        let counts_for_circuit = match result {
            AttemptResult::Failed(blame) => blame.opens_circuit.then_some(true),
            AttemptResult::Answered(_) => {
                Some(is_error && pool.options.breaker.as_ref().is_some_and(|options| options.count_5xx))
            }
        };
        let failed_health = match result {
            AttemptResult::Failed(blame) => Some(blame.word),
            AttemptResult::Answered(_) => {
                let counts = is_error && member.spec.passive.as_ref().is_some_and(|options| options.count_5xx);
                counts.then_some("5xx")
            }
        };
        let circuit = counts_for_circuit.and_then(|failed| self.record_for_circuit(pool, failed, now));
        self.leave_circuit();
        let passive_failure = failed_health.filter(|_| member.spec.passive.is_some());
        Transitions { health: self.record_for_health(pool, member, failed_health, now), circuit, passive_failure }
    }

    fn record_for_circuit(&mut self, pool: &Pool, failed: bool, now: Nanos) -> Option<Circuit> {
        if failed {
            return pool.on_circuit_failure(self.index, self.pass, now).then_some(Circuit::Open);
        }
        let closed = pool.options.breaker.is_some() && self.backend.breaker.on_success(self.pass);
        closed.then_some(Circuit::Closed)
    }

    fn record_for_health(
        &mut self,
        pool: &Pool,
        member: &Member,
        failed: Option<&'static str>,
        now: Nanos,
    ) -> Option<Transition> {
        let health = &self.backend.health;
        let transition = member.spec.passive.as_ref().and_then(|options| match failed {
            Some(reason) => pool.on_passive_failure(self.index, self.trial, reason, now, options),
            None => health.on_request_success(self.trial, now, options),
        });
        self.leave_trial();
        transition
    }

    fn leave_circuit(&mut self) {
        if self.pass == Pass::Probe {
            self.pass = Pass::Normal;
            self.backend.breaker.leave();
        }
    }

    fn leave_trial(&mut self) {
        if self.trial {
            self.trial = false;
            self.backend.health.leave_trial();
        }
    }
}

/// An attempt whose lease was dropped and which may still be recorded as failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnrecordedAttempt {
    index: usize,
    pass: Pass,
    is_trial: bool,
}

impl UnrecordedAttempt {
    /// Index of the backend in its pool.
    pub(crate) fn index(self) -> usize {
        self.index
    }

    pub(crate) fn fail(self, pool: &Pool, blame: Blame, now: Nanos) -> Transitions {
        let Self { index, pass, is_trial } = self;
        let passive = pool.members.get(index).and_then(|member| member.spec.passive.as_ref());
        let opens = blame.opens_circuit && pool.on_circuit_failure(index, pass, now);
        Transitions {
            health: passive.and_then(|options| pool.on_passive_failure(index, is_trial, blame.word, now, options)),
            circuit: opens.then_some(Circuit::Open),
            passive_failure: passive.map(|_| blame.word),
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leave_circuit();
        self.leave_trial();
        // Lowered before the waiters are read: see `admit::waiters`.
        self.backend.in_flight.fetch_sub(1, SeqCst);
        if let Some(limits) = self.backend.limits.get() {
            limits.on_backend_free();
        }
    }
}

impl Pool {
    /// Returns whether this client holds its share of a backend.
    pub(crate) fn is_held_by(&self, client: &ClientShare, index: usize) -> bool {
        let limit = self.options.client_limit;
        self.members.get(index).is_some_and(|member| client.is_at(LimitId::of(&member.state), limit))
    }

    /// Takes a lease. May fail after [`Pool::check`] succeeded, because other workers take leases too.
    pub(crate) fn lease(&self, index: usize, now: Nanos, panic: bool) -> Result<Lease, Unavailable> {
        let member = self.check(index, now, panic)?;
        let state = &member.state;
        let limit = self.options.inflight_limit;
        let raise = |count: u32| (count < limit).then(|| count + 1);
        state.in_flight.fetch_update(SeqCst, SeqCst, raise).map_err(|_| Unavailable::Full)?;
        let mut lease = Lease { backend: Arc::clone(state), index, pass: Pass::Normal, trial: false, share: None };
        if let Some(options) = &self.options.breaker {
            lease.pass = state.breaker.enter(now, options).ok_or(Unavailable::CircuitOpen)?;
        }
        if state.health.fitness(now) == Fitness::Trial {
            lease.trial = state.health.enter_trial();
            if !lease.trial && !panic {
                return Err(Unavailable::Unhealthy);
            }
        }
        Ok(lease)
    }
}
