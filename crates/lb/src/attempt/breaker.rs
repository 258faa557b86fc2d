//! The circuit breaker of one backend, in a few atomics.
//!
//! Shared by all workers. `pool` checks it before an attempt, reports the result, and decides whether the circuit may open:
//! that depends on the other circuits of the pool.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Nanos;

/// Maximum time that a circuit stays open, as a multiple of `open_ms`.
const LONGEST_OPEN: u32 = 6;
/// Doublings that reach this maximum.
const DOUBLINGS: u32 = 3;

/// `circuit_breaker` of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct BreakerOptions {
    /// Consecutive failures that open the circuit.
    pub failure_threshold: u32,
    /// Time until probes are allowed; doubles with each reopening, up to six times this.
    pub open: Duration,
    /// Maximum number of concurrent probes while half-open.
    pub half_open_max_probes: u32,
    /// Share of a pool, by count, whose circuits may be open together. Below 100, the circuit of a pool's only backend never
    /// opens.
    pub max_open_percent: u32,
    /// Whether a status of 500 or above is a failure.
    pub count_5xx: bool,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        Self {
            failure_threshold: 3,
            open: Duration::from_secs(5),
            half_open_max_probes: 1,
            max_open_percent: 50,
            count_5xx: false,
        }
    }
}

/// State of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// All requests are allowed.
    Closed,
    /// A few requests are allowed, as probes.
    HalfOpen,
    /// No request is allowed.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// The circuit was closed.
    Normal,
    /// The circuit was half-open, and the attempt is a probe.
    Probe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Count {
    Unchanged,
    /// The threshold is reached; the caller must call [`Breaker::open`] if the pool allows it.
    Reached,
    /// A failed probe has opened the circuit again.
    Reopened,
}

/// The breaker of one backend. `open_until` is 0 while the circuit is closed.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: AtomicU32,
    open_until: AtomicU64,
    probes: AtomicU32,
    /// Number of failed probes since it was closed.
    reopenings: AtomicU32,
}

impl Breaker {
    /// Returns the state at `now`.
    pub fn state(&self, now: Nanos) -> Circuit {
        match self.open_until.load(Relaxed) {
            0 => Circuit::Closed,
            until if now.get() < until => Circuit::Open,
            _ => Circuit::HalfOpen,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.open_until.load(Relaxed) == 0
    }

    /// Returns whether [`Breaker::enter`] would allow an attempt.
    pub(crate) fn admits(&self, now: Nanos, options: &BreakerOptions) -> bool {
        match self.open_until.load(Relaxed) {
            0 => true,
            until => now.get() >= until && self.probes.load(Relaxed) < options.half_open_max_probes,
        }
    }

    /// Allows or denies an attempt. The caller must end a probe by [`Breaker::leave`].
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

    /// Ends a probe, with or without a result.
    pub(crate) fn leave(&self) {
        self.probes.fetch_sub(1, Relaxed);
    }

    /// Counts a success. Returns true if this closed the circuit: only a probe does, other responses belong to requests from
    /// before it opened.
    pub(crate) fn on_success(&self, pass: Pass) -> bool {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        pass == Pass::Probe && self.close()
    }

    /// Closes the circuit. Returns whether it was open.
    pub(crate) fn close(&self) -> bool {
        self.failures.store(0, Relaxed);
        self.reopenings.store(0, Relaxed);
        self.open_until.swap(0, Relaxed) != 0
    }

    /// Counts a failure.
    pub(crate) fn on_failure(&self, pass: Pass, now: Nanos, options: &BreakerOptions) -> Count {
        if pass == Pass::Probe {
            let times = self.reopenings.fetch_add(1, Relaxed).saturating_add(1);
            let factor = (1 << times.min(DOUBLINGS)).min(LONGEST_OPEN);
            self.open_until.store((now + options.open * factor).get().max(1), Relaxed);
            return Count::Reopened;
        }
        if !self.is_closed() {
            return Count::Unchanged;
        }
        // The count stays at the threshold: if the pool does not allow opening now, the next failure tries again.
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        if failures < options.failure_threshold { Count::Unchanged } else { Count::Reached }
    }

    /// Opens a closed circuit. Returns false if it was open already.
    pub(crate) fn open(&self, now: Nanos, options: &BreakerOptions) -> bool {
        let until = (now + options.open).get().max(1);
        if self.open_until.compare_exchange(0, until, Relaxed, Relaxed).is_err() {
            return false;
        }
        self.failures.store(0, Relaxed);
        self.reopenings.store(0, Relaxed);
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

    /// Fails one ordinary attempt and opens the circuit if that is due.
    fn fail(breaker: &Breaker, now: Nanos, options: &BreakerOptions) -> bool {
        breaker.on_failure(Pass::Normal, now, options) == Count::Reached && breaker.open(now, options)
    }

    #[test]
    fn opens_on_consecutive_failures_only() {
        let (breaker, options) = (Breaker::default(), options(1));
        fail(&breaker, AT(1), &options);
        fail(&breaker, AT(1), &options);
        breaker.on_success(Pass::Normal);
        assert!(!fail(&breaker, AT(1), &options));
        assert!(!fail(&breaker, AT(1), &options));
        assert_eq!(breaker.state(AT(1)), Circuit::Closed);
        assert!(fail(&breaker, AT(1), &options));
        assert_eq!(breaker.state(AT(100)), Circuit::Open);
        assert_eq!(breaker.enter(AT(100), &options), None);
        assert_eq!(breaker.state(AT(101)), Circuit::HalfOpen);
    }

    #[test]
    fn half_open_lets_a_bounded_number_pass_and_a_cancelled_probe_gives_its_slot_back() {
        let (breaker, options) = (Breaker::default(), options(2));
        (0..3).for_each(|_| _ = fail(&breaker, AT(1), &options));
        assert_eq!(breaker.enter(AT(200), &options), Some(Pass::Probe));
        assert_eq!(breaker.enter(AT(200), &options), Some(Pass::Probe));
        assert!(!breaker.admits(AT(200), &options));
        assert_eq!(breaker.enter(AT(200), &options), None);
        breaker.leave();
        assert_eq!(breaker.enter(AT(200), &options), Some(Pass::Probe));
        assert_eq!(breaker.on_failure(Pass::Probe, AT(200), &options), Count::Reopened);
        breaker.leave();
        assert_eq!(breaker.state(AT(399)), Circuit::Open);
        // The other probe, still out, answers: one success closes it.
        assert!(breaker.on_success(Pass::Probe));
        breaker.leave();
        assert_eq!(breaker.enter(AT(399), &options), Some(Pass::Normal));
    }

    #[test]
    fn each_reopening_doubles_the_time_up_to_six_times() {
        let (breaker, options) = (Breaker::default(), options(1));
        (0..3).for_each(|_| _ = fail(&breaker, AT(0), &options));
        let mut now = 100;
        for expected in [200, 400, 600, 600] {
            assert_eq!(breaker.state(AT(now)), Circuit::HalfOpen);
            breaker.on_failure(Pass::Probe, AT(now), &options);
            assert_eq!(breaker.state(AT(now + expected - 1)), Circuit::Open, "{expected}");
            now += expected;
        }
        breaker.on_success(Pass::Probe);
        (0..3).for_each(|_| _ = fail(&breaker, AT(now), &options));
        assert_eq!(breaker.state(AT(now + 100)), Circuit::HalfOpen, "a success forgets the reopenings");
    }

    #[test]
    fn answers_from_before_the_opening_neither_close_nor_prolong_it() {
        let (breaker, options) = (Breaker::default(), options(1));
        (0..3).for_each(|_| _ = fail(&breaker, AT(1), &options));
        breaker.on_success(Pass::Normal);
        assert!(!fail(&breaker, AT(50), &options));
        assert_eq!(breaker.state(AT(100)), Circuit::Open);
        assert_eq!(breaker.state(AT(101)), Circuit::HalfOpen);
    }

    #[test]
    fn a_circuit_that_may_not_open_asks_again_at_the_next_failure() {
        let (breaker, options) = (Breaker::default(), options(1));
        let counts = [0; 4].map(|_| breaker.on_failure(Pass::Normal, AT(1), &options));
        assert_eq!(counts, [Count::Unchanged, Count::Unchanged, Count::Reached, Count::Reached]);
        assert!(breaker.is_closed());
    }
}
