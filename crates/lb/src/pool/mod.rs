//! The backends of one upstream: their configuration, and the state that all workers share in atomics.
//!
//! Created with the snapshot; a reload keeps the state of backends that stay (docs/reference/behaviour.md#reload). The pool
//! decides whether a backend is available and counts every attempt; `balance` chooses between backends.

mod latency;
mod lease;
mod service;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use latency::PeakEwma;
pub(crate) use lease::UnrecordedAttempt;
pub use lease::{AttemptResult, Lease, Transitions};

use crate::admit::RouteLimits;
use crate::attempt::breaker::{Breaker, BreakerOptions};
use crate::health::{Fitness, Health, PassiveOptions};
use crate::time::Nanos;

/// Effective weights are in tenths, because slow start has ten steps.
pub const WEIGHT_STEPS: u32 = 10;

/// One backend as configured.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Id, unique in the upstream.
    pub id: String,
    /// Address as written. A reload keeps the state of the backend with the same address.
    pub address: String,
    /// Weight, 1 to 1000.
    pub weight: u32,
    /// Passive health checks; `None` disables them.
    pub passive: Option<PassiveOptions>,
    /// Whether it has active health checks.
    pub probed: bool,
}

/// Options of all backends of an upstream.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// Maximum number of requests in flight on one backend.
    pub inflight_limit: u32,
    /// Part of `inflight_limit` that one client connection may use: [`crate::admit::client_limit`].
    pub client_limit: u32,
    /// Time in which a recovered backend reaches its full weight; zero disables slow start.
    pub slow_start: Duration,
    /// Health is ignored below this share of healthy backends; 0 disables that.
    pub panic_threshold_percent: u32,
    /// Share of the pool, by count, that passive health may eject together. A pool's only backend is never ejected.
    pub max_ejected_percent: u32,
    /// `None` disables circuit breakers.
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

/// State of one backend, on its own cache lines because workers write to it for every request.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Backend {
    in_flight: AtomicU32,
    /// Health.
    pub health: Health,
    /// Circuit breaker.
    pub breaker: Breaker,
    /// Average response time.
    pub latency: PeakEwma,
    /// When it last sent a response head; 0 if never.
    last_head: AtomicU64,
    /// When it last completed a response with a status below 500; 0 if never.
    last_success: AtomicU64,
    /// Survives reloads, so that a lease dropped late still wakes the current waiters.
    limits: OnceLock<Arc<RouteLimits>>,
}

impl Backend {
    /// Number of its attempts in the process.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    pub(crate) fn on_head(&self, now: Nanos) {
        self.last_head.store(now.get(), Relaxed);
    }

    /// Returns whether it has sent no response head for any request after `since`. A slow response is then a sign of a
    /// failing backend rather than of a slow resource.
    pub(crate) fn is_silent_since(&self, since: Nanos) -> bool {
        self.last_head.load(Relaxed) <= since.get()
    }

    /// Returns whether it has completed no successful response after `since`.
    pub(crate) fn is_failing_since(&self, since: Nanos) -> bool {
        self.last_success.load(Relaxed) <= since.get()
    }

    /// Returns whether it has completed a successful response less than `grace` ago.
    pub(crate) fn succeeded_within(&self, grace: Duration, now: Nanos) -> bool {
        let last = self.last_success.load(Relaxed);
        last != 0 && now.elapsed_since(Nanos::new(last)) < grace
    }
}

/// One backend of a pool.
#[derive(Debug)]
pub struct Member {
    /// Its configuration.
    pub spec: Spec,
    /// Its state, shared with the pools of other configurations.
    pub state: Arc<Backend>,
}

/// All backends of one upstream.
#[derive(Debug)]
pub struct Pool {
    members: Box<[Member]>,
    options: PoolOptions,
    limits: Option<Arc<RouteLimits>>,
}

/// Why a backend is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// Unhealthy or drained.
    Unhealthy,
    CircuitOpen,
    Full,
}

impl Pool {
    /// Creates a pool. Backends whose address is in `previous` keep their state.
    pub fn build(specs: Vec<Spec>, options: PoolOptions, previous: Option<&Self>) -> Self {
        let member = |spec: Spec| {
            let kept = previous.and_then(|pool| pool.members.iter().find(|old| old.spec.address == spec.address));
            let state = kept.map(|old| Arc::clone(&old.state)).unwrap_or_default();
            state.health.set_probed(spec.probed);
            Member { spec, state }
        };
        Self { members: specs.into_iter().map(member).collect(), options, limits: None }
    }

    /// Connects the pool to its upstream's limits, whose waiting requests are woken when a backend becomes free.
    #[must_use]
    pub fn with_limits(mut self, limits: &Arc<RouteLimits>) -> Self {
        for member in &self.members {
            member.state.limits.get_or_init(|| Arc::clone(limits));
        }
        self.limits = Some(Arc::clone(limits));
        self
    }

    /// The upstream's limits, if [`Pool::with_limits`] was called.
    pub fn limits(&self) -> Option<&Arc<RouteLimits>> {
        self.limits.as_ref()
    }

    /// All backends, in the order of the configuration.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Options of the pool.
    pub fn options(&self) -> &PoolOptions {
        &self.options
    }

    /// Number of healthy backends, drained ones included.
    pub fn healthy(&self) -> usize {
        self.members.iter().filter(|member| member.state.health.is_healthy()).count()
    }

    /// Wakes requests that wait for a backend. Must be called after a backend became healthy.
    pub fn on_recovery(&self) {
        if let Some(limits) = &self.limits {
            limits.on_backend_free();
        }
    }

    /// Returns whether so few backends are healthy that health is ignored.
    pub(crate) fn in_panic(&self) -> bool {
        let threshold = self.options.panic_threshold_percent as usize;
        threshold > 0 && self.healthy() * 100 < threshold * self.members.len()
    }

    /// Weight of a backend at `now` in tenths, slow start included. Does not check whether it is available.
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
        // 10 % at once, 20 % after a tenth of the time, and so on.
        let step = passed.as_nanos() * u128::from(WEIGHT_STEPS) / ramp.as_nanos().max(1);
        weight * (step as u32 + 1).min(WEIGHT_STEPS)
    }

    /// Returns the backend if it is available. Costs three loads of one cache line in the common case.
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
