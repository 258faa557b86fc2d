//! Passive health: results of requests, recorded through the lease of an attempt. Client aborts and local refusals are never
//! recorded.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Health, PASSIVE_DOWN, Transition};
use crate::time::Nanos;

/// `passive_health` of one backend.
#[derive(Clone, Copy, Debug)]
pub struct PassiveOptions {
    /// Consecutive failures that make the backend unhealthy.
    pub failure_threshold: u32,
    /// Successful trial requests that make it healthy again, if it is not probed.
    pub success_threshold: u32,
    /// Time without requests after becoming unhealthy or failing a trial.
    pub cooldown: Duration,
    /// Whether a status of 500 or above is a failure.
    pub count_5xx: bool,
}

impl Default for PassiveOptions {
    fn default() -> Self {
        Self { failure_threshold: 3, success_threshold: 1, cooldown: Duration::from_secs(10), count_5xx: false }
    }
}

impl Health {
    /// Begins a trial request. Returns false if one is running.
    pub(crate) fn enter_trial(&self) -> bool {
        !self.trial.swap(true, Relaxed)
    }

    /// Ends a trial request.
    pub(crate) fn leave_trial(&self) {
        self.trial.store(false, Relaxed);
    }

    /// Records a failed request. Returns true if the threshold is reached: the caller must call [`Health::eject`] if the pool
    /// allows it. If it does not, the next failure returns true again.
    pub(crate) fn on_request_failure(&self, trial: bool, now: Nanos, options: &PassiveOptions) -> bool {
        if trial {
            self.trial_successes.store(0, Relaxed);
            self.passive_until.store((now + options.cooldown).get(), Relaxed);
            return false;
        }
        // Failures of requests from before the ejection do not extend the cooldown.
        self.passive_up() && self.passive_failures.fetch_add(1, Relaxed).saturating_add(1) >= options.failure_threshold
    }

    /// Ejects the backend for the cooldown.
    pub(crate) fn eject(&self, reason: &'static str, now: Nanos, options: &PassiveOptions) -> Option<Transition> {
        self.passive_failures.store(0, Relaxed);
        self.trial_successes.store(0, Relaxed);
        self.passive_until.store((now + options.cooldown).get(), Relaxed);
        self.mark_down(PASSIVE_DOWN, reason)
    }

    /// Undoes [`Health::eject`], because concurrent ejections of several workers exceed the limit.
    pub(crate) fn undo_eject(&self) {
        self.flags.fetch_and(!PASSIVE_DOWN, Relaxed);
    }

    /// Records a successful request.
    pub(crate) fn on_request_success(&self, trial: bool, now: Nanos, options: &PassiveOptions) -> Option<Transition> {
        if self.passive_failures.load(Relaxed) != 0 {
            self.passive_failures.store(0, Relaxed);
        }
        if !trial {
            return None;
        }
        let successes = self.trial_successes.fetch_add(1, Relaxed).saturating_add(1);
        if successes < options.success_threshold { None } else { self.mark_up(PASSIVE_DOWN, now, "trial") }
    }

    /// Ends an ejection whose cooldown has passed. Called when a probe succeeds.
    pub(super) fn end_passive(&self, now: Nanos) -> Option<Transition> {
        if self.passive_up() || now.get() < self.passive_until.load(Relaxed) {
            return None;
        }
        self.mark_up(PASSIVE_DOWN, now, "probe")
    }
}
