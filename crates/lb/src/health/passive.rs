//! What real requests say of a backend: passive health.
//!
//! Fed by `attempt` when an attempt settles; client aborts and local refusals never reach it.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::{Health, PASSIVE_DOWN, Transition};
use crate::time::Nanos;

/// `passive_health` of one backend.
#[derive(Clone, Copy, Debug)]
pub struct PassiveOptions {
    /// Consecutive failures that make it unhealthy.
    pub failure_threshold: u32,
    /// Successful trials that make it healthy again, where no probe does.
    pub success_threshold: u32,
    /// How long it rests after becoming unhealthy or failing a trial.
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
    /// Takes the one trial place of an unhealthy backend.
    pub(crate) fn enter_trial(&self) -> bool {
        !self.trial.swap(true, Relaxed)
    }

    /// Gives the trial place back, whatever became of it.
    pub(crate) fn leave_trial(&self) {
        self.trial.store(false, Relaxed);
    }

    /// A request failed on it. Returns true when the threshold is reached: [`Health::eject`] is to be called, if the pool
    /// permits. If it does not, the next failure asks again.
    pub(crate) fn on_request_failure(&self, trial: bool, now: Nanos, options: &PassiveOptions) -> bool {
        if trial {
            self.trial_successes.store(0, Relaxed);
            self.passive_until.store((now + options.cooldown).get(), Relaxed);
            return false;
        }
        // Requests from before the ejection change nothing: the cooldown runs.
        self.passive_up() && self.passive_failures.fetch_add(1, Relaxed).saturating_add(1) >= options.failure_threshold
    }

    /// Takes the backend out for the cooldown.
    pub(crate) fn eject(&self, reason: &'static str, now: Nanos, options: &PassiveOptions) -> Option<Transition> {
        self.passive_failures.store(0, Relaxed);
        self.trial_successes.store(0, Relaxed);
        self.passive_until.store((now + options.cooldown).get(), Relaxed);
        self.mark_down(PASSIVE_DOWN, now, reason)
    }

    /// Undoes [`Health::eject`], when another worker ejected one too many at the same moment.
    pub(crate) fn undo_eject(&self) {
        self.flags.fetch_and(!PASSIVE_DOWN, Relaxed);
    }

    /// A request succeeded on it.
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

    /// Ends a passive rest that has run its time; called when a probe succeeds.
    pub(super) fn end_passive(&self, now: Nanos) -> Option<Transition> {
        if self.passive_up() || now.get() < self.passive_until.load(Relaxed) {
            return None;
        }
        self.mark_up(PASSIVE_DOWN, now, "probe")
    }
}
