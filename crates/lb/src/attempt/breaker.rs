//! The circuit breaker of one backend (behaviour 10.5): closed, open, half-open, in three atomics.
//!
//! Shared by all workers. `pool` asks it before an attempt and tells it the result; it never decides who is tried instead.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Nanos;

/// `circuit_breaker` of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct BreakerOptions {
    /// Consecutive failures that open it.
    pub failure_threshold: u32,
    /// How long it stays open before probes may go.
    pub open: Duration,
    /// Probes at a time while half-open.
    pub half_open_max_probes: u32,
    /// Whether a status of 500 or above is a failure.
    pub count_5xx: bool,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self { failure_threshold: 3, open: Duration::from_secs(30), half_open_max_probes: 1, count_5xx: false }
    }
}

/// The state of a circuit at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// Requests pass.
    Closed,
    /// A few requests pass, to see.
    HalfOpen,
    /// No request passes.
    Open,
}

/// How an attempt passed the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The circuit is closed.
    Normal,
    /// It is half-open and this attempt is one of its probes.
    Probe,
}

/// The breaker of one backend. `open_until` is 0 while it is closed.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: AtomicU32,
    open_until: AtomicU64,
    probes: AtomicU32,
}

impl Breaker {
    /// The state at `now`.
    pub fn state(&self, now: Nanos) -> Circuit {
        match self.open_until.load(Relaxed) {
            0 => Circuit::Closed,
            until if now.get() < until => Circuit::Open,
            _ => Circuit::HalfOpen,
        }
    }

    /// Whether [`Breaker::enter`] would let an attempt pass.
    pub(crate) fn admits(&self, now: Nanos, options: &BreakerOptions) -> bool {
        match self.open_until.load(Relaxed) {
            0 => true,
            until => now.get() >= until && self.probes.load(Relaxed) < options.half_open_max_probes,
        }
    }

    /// Lets an attempt pass, or not. A probe must be given back by [`Breaker::leave`].
    pub(crate) fn enter(&self, now: Nanos, options: &BreakerOptions) -> Option<Pass> {
        match self.state(now) {
            Circuit::Closed => Some(Pass::Normal),
            Circuit::Open => None,
            Circuit::HalfOpen => self
                .probes
                .fetch_update(Relaxed, Relaxed, |probes| (probes < options.half_open_max_probes).then_some(probes + 1))
                .ok()
                .map(|_| Pass::Probe),
        }
    }

    /// An attempt that entered as a probe is over, with or without a result.
    pub(crate) fn leave(&self) {
        self.probes.fetch_sub(1, Relaxed);
    }

    /// An attempt succeeded. Only a probe closes the circuit: other answers are from before it opened.
    pub(crate) fn on_success(&self, pass: Pass) {
        if pass == Pass::Probe {
            self.open_until.store(0, Relaxed);
            self.failures.store(0, Relaxed);
        } else if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// An attempt failed; true if this opened the circuit.
    pub(crate) fn on_failure(&self, pass: Pass, now: Nanos, options: &BreakerOptions) -> bool {
        let until = (now + options.open).get().max(1);
        if pass == Pass::Probe {
            self.open_until.store(until, Relaxed);
            return true;
        }
        if self.open_until.load(Relaxed) != 0 {
            return false;
        }
        if self.failures.fetch_add(1, Relaxed).saturating_add(1) < options.failure_threshold {
            return false;
        }
        self.failures.store(0, Relaxed);
        self.open_until.store(until, Relaxed);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Nanos = Nanos::from_millis;

    fn options(probes: u32) -> BreakerOptions {
        BreakerOptions { half_open_max_probes: probes, open: Duration::from_millis(100), ..Default::default() }
    }

    #[test]
    fn opens_on_consecutive_failures_only() {
        let (breaker, options) = (Breaker::default(), options(1));
        breaker.on_failure(Pass::Normal, AT(1), &options);
        breaker.on_failure(Pass::Normal, AT(1), &options);
        breaker.on_success(Pass::Normal);
        assert!(!breaker.on_failure(Pass::Normal, AT(1), &options));
        assert!(!breaker.on_failure(Pass::Normal, AT(1), &options));
        assert_eq!(breaker.state(AT(1)), Circuit::Closed);
        assert!(breaker.on_failure(Pass::Normal, AT(1), &options));
        assert_eq!(breaker.state(AT(100)), Circuit::Open);
        assert_eq!(breaker.enter(AT(100), &options), None);
        assert_eq!(breaker.state(AT(101)), Circuit::HalfOpen);
    }

    #[test]
    fn half_open_lets_a_bounded_number_pass_and_a_cancelled_probe_gives_its_place_back() {
        let (breaker, options) = (Breaker::default(), options(2));
        (0..3).for_each(|_| _ = breaker.on_failure(Pass::Normal, AT(1), &options));
        assert_eq!(breaker.enter(AT(200), &options), Some(Pass::Probe));
        assert_eq!(breaker.enter(AT(200), &options), Some(Pass::Probe));
        assert!(!breaker.admits(AT(200), &options));
        assert_eq!(breaker.enter(AT(200), &options), None);
        breaker.leave();
        assert_eq!(breaker.enter(AT(200), &options), Some(Pass::Probe));
        assert!(breaker.on_failure(Pass::Probe, AT(200), &options));
        breaker.leave();
        assert_eq!(breaker.state(AT(299)), Circuit::Open);
        // The other probe, still out, answers: one success closes it.
        breaker.on_success(Pass::Probe);
        breaker.leave();
        assert_eq!(breaker.enter(AT(299), &options), Some(Pass::Normal));
    }

    #[test]
    fn answers_from_before_the_opening_neither_close_nor_prolong_it() {
        let (breaker, options) = (Breaker::default(), options(1));
        (0..3).for_each(|_| _ = breaker.on_failure(Pass::Normal, AT(1), &options));
        breaker.on_success(Pass::Normal);
        assert!(!breaker.on_failure(Pass::Normal, AT(50), &options));
        assert_eq!(breaker.state(AT(100)), Circuit::Open);
        assert_eq!(breaker.state(AT(101)), Circuit::HalfOpen);
    }
}
