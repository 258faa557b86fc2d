//! The backends of one upstream as all workers share them: fixed facts, and counters made of atomics.
//!
//! Built with the snapshot; a reload keeps the state of backends that stay (docs/reference/behaviour.md#reload). It decides
//! whether a backend can be taken now and counts every attempt; `balance` decides the order of the backends.

mod latency;
mod lease;
mod service;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use latency::PeakEwma;
pub(crate) use lease::UnrecordedAttempt;
pub use lease::{Lease, Transitions, Verdict};

use crate::admit::RouteLimits;
use crate::attempt::breaker::{Breaker, BreakerOptions};
use crate::health::{Fitness, Health, PassiveOptions};
use crate::time::Nanos;

/// Effective weights are in tenths, so that slow start has ten equal steps.
pub(crate) const WEIGHT_STEPS: u32 = 10;

/// One backend as configured.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Its id, unique in the upstream.
    pub id: String,
    /// Its address as written; with the upstream's name it is the identity that a reload keeps.
    pub address: String,
    /// 1-1000.
    pub weight: u32,
    /// Passive health; `None` when it is off.
    pub passive: Option<PassiveOptions>,
    /// Whether it has active probes.
    pub probed: bool,
}

/// What holds for all backends of an upstream.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Requests at a time on one backend.
    pub inflight_limit: u32,
    /// The part of it that one client connection may hold: [`crate::admit::client_limit`].
    pub client_limit: u32,
    /// How long a recovered backend takes to its full weight; zero: no time.
    pub slow_start: Duration,
    /// Below this share of healthy backends health is ignored; 0: never.
    pub panic_threshold_percent: u32,
    /// Share of the pool, by count, that passive health may take out together; a pool's only backend always stays.
    pub max_ejected_percent: u32,
    /// `None` when circuit breakers are off.
    pub breaker: Option<BreakerOptions>,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            inflight_limit: 256,
            client_limit: u32::MAX,
            slow_start: Duration::from_secs(10),
            panic_threshold_percent: 0,
            max_ejected_percent: 50,
            breaker: Some(BreakerOptions::default()),
        }
    }
}

/// The living state of one backend, on cache lines of its own: workers write to it at every request.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Backend {
    in_flight: AtomicU32,
    /// Its health record.
    pub health: Health,
    /// Its circuit.
    pub breaker: Breaker,
    /// Its response time.
    pub latency: PeakEwma,
    /// When it last sent a response head to anyone; 0 when it never did.
    last_head: AtomicU64,
    /// When it last completed a response with a status below 500.
    last_success: AtomicU64,
    /// Outlives pools: a place that returns late calls the waiters of today.
    limits: OnceLock<Arc<RouteLimits>>,
}

impl Backend {
    /// Attempts that are on it now, in the whole process.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// A response head came from it, for whichever request.
    pub(crate) fn on_head(&self, now: Nanos) {
        self.last_head.store(now.get(), Relaxed);
    }

    /// Whether it has sent no response head to anyone after `since`: a slow answer then is a sign of a sick backend and not
    /// of a slow URL.
    pub(crate) fn is_silent_since(&self, since: Nanos) -> bool {
        self.last_head.load(Relaxed) <= since.get()
    }

    /// Whether it has answered no request well after `since`.
    pub(crate) fn is_failing_since(&self, since: Nanos) -> bool {
        self.last_success.load(Relaxed) <= since.get()
    }

    /// Whether it has answered a request well less than `grace` ago.
    pub(crate) fn succeeded_within(&self, grace: Duration, now: Nanos) -> bool {
        let last = self.last_success.load(Relaxed);
        last != 0 && now.elapsed_since(Nanos::new(last)) < grace
    }
}

/// One backend of a pool: its facts and its state.
#[derive(Debug)]
pub struct Member {
    /// As configured.
    pub spec: Spec,
    /// Shared with the pool of the previous configuration, if it was there.
    pub state: Arc<Backend>,
}

/// All backends of one upstream.
#[derive(Debug)]
pub struct Pool {
    members: Box<[Member]>,
    options: PoolOptions,
    limits: Option<Arc<RouteLimits>>,
}

/// Why a backend cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// Unhealthy or draining.
    Unhealthy,
    /// Its circuit is open.
    CircuitOpen,
    /// At its in-flight limit.
    Full,
}

impl Pool {
    /// A pool of `specs`; backends whose address is in `previous` keep their state.
    pub fn build(specs: Vec<Spec>, options: PoolOptions, previous: Option<&Self>) -> Self {
        let member = |spec: Spec| {
            let kept = previous.and_then(|pool| pool.members.iter().find(|old| old.spec.address == spec.address));
            let state = kept.map(|old| Arc::clone(&old.state)).unwrap_or_default();
            state.health.set_probed(spec.probed);
            Member { spec, state }
        };
        Self { members: specs.into_iter().map(member).collect(), options, limits: None }
    }

    /// Joins the pool to its upstream's counts: whoever waits there for a backend is called when one becomes free.
    #[must_use]
    pub fn with_limits(mut self, limits: &Arc<RouteLimits>) -> Self {
        for member in &self.members {
            member.state.limits.get_or_init(|| Arc::clone(limits));
        }
        self.limits = Some(Arc::clone(limits));
        self
    }

    /// The upstream's counts, if it was joined to them.
    pub fn limits(&self) -> Option<&Arc<RouteLimits>> {
        self.limits.as_ref()
    }

    /// All backends, in the order of the configuration.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// What holds for all of them.
    pub fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// How many are healthy, drained ones included.
    pub fn healthy(&self) -> usize {
        self.members.iter().filter(|member| member.state.health.is_healthy()).count()
    }

    /// A backend became fit again: whoever waits for one may go. The prober calls this after a transition.
    pub fn on_recovery(&self) {
        if let Some(limits) = &self.limits {
            limits.on_backend_free();
        }
    }

    /// Whether so few are healthy that health is ignored.
    pub(crate) fn in_panic(&self) -> bool {
        let threshold = self.options.panic_threshold_percent as usize;
        threshold > 0 && self.healthy() * 100 < threshold * self.members.len()
    }

    /// Weight of a backend at `now` in tenths, slow start included, whether or not it may be taken.
    pub fn effective_weight(&self, index: usize, now: Nanos) -> u32 {
        let Some(member) = self.members.get(index) else { return 0 };
        let weight = member.spec.weight;
        let (Some(since), ramp) = (member.state.health.healthy_since(), self.options.slow_start) else {
            return weight * WEIGHT_STEPS;
        };
        let passed = now.elapsed_since(since);
        if passed >= ramp {
            return weight * WEIGHT_STEPS;
        }
        // Ten steps over the ramp: 10 % at once, 20 % after a tenth of it, and so on.
        let step = passed.as_nanos() * u128::from(WEIGHT_STEPS) / ramp.as_nanos().max(1);
        weight * (step as u32 + 1).min(WEIGHT_STEPS)
    }

    /// Whether a backend may be taken now. Three loads of one cache line where all is well.
    pub(crate) fn check(&self, index: usize, now: Nanos, panic: bool) -> Result<&Member, Unavailable> {
        let member = self.members.get(index).ok_or(Unavailable::Unhealthy)?;
        let state = &*member.state;
        match state.health.fitness(now) {
            Fitness::Healthy | Fitness::Trial => {}
            Fitness::Unhealthy if panic => {}
            Fitness::Unhealthy | Fitness::Draining => return Err(Unavailable::Unhealthy),
        }
        if self.options.breaker.as_ref().is_some_and(|options| !state.breaker.admits(now, options)) {
            return Err(Unavailable::CircuitOpen);
        }
        if state.in_flight() >= self.options.inflight_limit {
            return Err(Unavailable::Full);
        }
        Ok(member)
    }
}

#[cfg(test)]
pub(crate) mod tests;
