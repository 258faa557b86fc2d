//! Schedule and results of active health checks (docs/reference/behaviour.md#active-health-checks).
//!
//! The health checker owns one [`Prober`] per backend and sends the probes.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{ACTIVE_DOWN, HAS_PROBES, Health, PROBED, Transition};
use crate::rng::Rng;
use crate::time::Nanos;

/// Schedule and thresholds of `health_check` of one backend.
#[derive(Clone, Copy, Debug)]
pub struct ActiveOptions {
    /// Time from one probe to the next.
    pub interval: Duration,
    /// Consecutive failures that make the backend unhealthy.
    pub failure_threshold: u32,
    /// Consecutive successes that make the backend healthy.
    pub success_threshold: u32,
    /// Time without probes after the backend became unhealthy.
    pub cooldown: Duration,
}

impl Default for ActiveOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            failure_threshold: 3,
            success_threshold: 2,
            cooldown: Duration::from_secs(5),
        }
    }
}

/// Random variation of the interval, percent, so that instances do not probe at the same time.
const JITTER_PERCENT: u32 = 10;
/// Maximum delay of the first probe.
const FIRST_SPREAD: Duration = Duration::from_secs(1);

/// Schedule of the probes of one backend.
#[derive(Debug)]
pub struct Prober {
    options: ActiveOptions,
    next: Nanos,
}

impl Prober {
    /// Creates a schedule with a random first probe within a second, or within the interval if that is shorter.
    pub fn new(options: ActiveOptions, now: Nanos, rng: &mut Rng) -> Self {
        let spread = options.interval.min(FIRST_SPREAD);
        let delay = Duration::from_nanos(rng.below(u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX)));
        Self { options, next: now + delay }
    }

    /// When the next probe is due.
    pub fn due(&self) -> Nanos {
        self.next
    }

    /// Schedules the next probe. Called when a probe is sent.
    pub fn on_start(&mut self, now: Nanos, rng: &mut Rng) {
        self.next = now + rng.jitter(self.options.interval, JITTER_PERCENT);
    }

    /// Records the result of a probe. The caller must log the transition, if there is one.
    pub fn on_result(&mut self, health: &Health, success: bool, now: Nanos) -> Option<Transition> {
        if success {
            return health.on_probe_success(now, &self.options);
        }
        let was_up = health.active_up();
        let probed = health.flags.load(Relaxed) & PROBED != 0;
        let transition = health.on_probe_failure(&self.options);
        if was_up && !health.active_up() && probed {
            self.next = self.next.max(now + self.options.cooldown);
        }
        transition
    }
}

impl Health {
    /// Sets whether the backend is probed.
    pub(crate) fn set_probed(&self, watched: bool) {
        if watched {
            self.flags.fetch_or(HAS_PROBES, Relaxed);
        } else {
            self.flags.fetch_and(!(HAS_PROBES | ACTIVE_DOWN), Relaxed);
        }
    }

    fn on_probe_success(&self, now: Nanos, options: &ActiveOptions) -> Option<Transition> {
        self.probe_failures.store(0, Relaxed);
        self.revived.fetch_add(1, Relaxed);
        let first = self.flags.fetch_or(PROBED, Relaxed) & PROBED == 0;
        let passive = self.end_passive(now);
        if self.active_up() {
            return passive;
        }
        let successes = self.probe_successes.fetch_add(1, Relaxed).saturating_add(1);
        if first || successes >= options.success_threshold {
            self.probe_successes.store(0, Relaxed);
            return self.mark_up(ACTIVE_DOWN, now, "probe").or(passive);
        }
        passive
    }

    fn on_probe_failure(&self, options: &ActiveOptions) -> Option<Transition> {
        self.probe_successes.store(0, Relaxed);
        if !self.active_up() {
            return None;
        }
        let failures = self.probe_failures.fetch_add(1, Relaxed).saturating_add(1);
        let probed = self.flags.load(Relaxed) & PROBED != 0;
        if probed && failures < options.failure_threshold {
            return None;
        }
        self.probe_failures.store(0, Relaxed);
        self.mark_down(ACTIVE_DOWN, "probe")
    }
}
