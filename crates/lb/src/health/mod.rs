//! Health of a backend, by active health checks (`active`) and by requests (`passive`).
//!
//! There is one [`Health`] per backend, made of atomics, written by every worker and by the health checker. Each transition is
//! returned to exactly one caller, who must log it.

mod active;
mod passive;
mod ready;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

pub use active::{ActiveOptions, Prober};
pub use passive::PassiveOptions;
pub use ready::Readiness;

use crate::time::Nanos;

/// Unhealthy by probes.
const ACTIVE_DOWN: u32 = 1;
/// Unhealthy by requests.
const PASSIVE_DOWN: u32 = 2;
/// Drained by an operator.
const DRAINING: u32 = 4;
/// At least one probe has succeeded in this process.
const PROBED: u32 = 8;
/// It is probed, so probes and not trial requests end a passive ejection.
const HAS_PROBES: u32 = 16;
const DOWN: u32 = ACTIVE_DOWN | PASSIVE_DOWN;

/// Health of one backend.
#[derive(Debug, Default)]
pub struct Health {
    flags: AtomicU32,
    passive_failures: AtomicU32,
    passive_until: AtomicU64,
    trial: AtomicBool,
    trial_successes: AtomicU32,
    probe_failures: AtomicU32,
    probe_successes: AtomicU32,
    /// When it last became healthy; 0 if it was never unhealthy.
    healthy_since: AtomicU64,
    /// Counts successful probes; a change ends the connect back-off of every worker.
    revived: AtomicU32,
}

/// A change between healthy and unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The new state.
    pub healthy: bool,
    /// Reason in the log line: `probe`, `connect`, `tls`, `reset`, `timeout`, `protocol`, `5xx`, `trial`.
    pub reason: &'static str,
}

/// What the health of a backend allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fitness {
    Healthy,
    /// One trial request is allowed.
    Trial,
    /// No request, except in panic mode.
    Unhealthy,
    Draining,
}

impl Health {
    /// Returns whether neither probes nor requests mark it unhealthy.
    pub fn is_healthy(&self) -> bool {
        self.flags.load(Relaxed) & DOWN == 0
    }

    /// Returns whether probes do not mark it unhealthy.
    pub fn active_up(&self) -> bool {
        self.flags.load(Relaxed) & ACTIVE_DOWN == 0
    }

    /// Returns whether requests do not mark it unhealthy.
    pub fn passive_up(&self) -> bool {
        self.flags.load(Relaxed) & PASSIVE_DOWN == 0
    }

    /// Returns whether an operator drains it.
    pub fn is_draining(&self) -> bool {
        self.flags.load(Relaxed) & DRAINING != 0
    }

    /// Begins or ends a drain. Returns whether that changed the state.
    pub fn set_draining(&self, draining: bool) -> bool {
        let old =
            if draining { self.flags.fetch_or(DRAINING, Relaxed) } else { self.flags.fetch_and(!DRAINING, Relaxed) };
        (old & DRAINING != 0) != draining
    }

    /// When it last became healthy; `None` if it was never unhealthy.
    pub(crate) fn healthy_since(&self) -> Option<Nanos> {
        Some(self.healthy_since.load(Relaxed)).filter(|&at| at != 0).map(Nanos::new)
    }

    pub(crate) fn revived(&self) -> u32 {
        self.revived.load(Relaxed)
    }

    pub(crate) fn fitness(&self, now: Nanos) -> Fitness {
        let flags = self.flags.load(Relaxed);
        if flags & (DOWN | DRAINING) == 0 {
            Fitness::Healthy
        } else if flags & DRAINING != 0 {
            Fitness::Draining
        } else if flags & (ACTIVE_DOWN | HAS_PROBES) == 0
            && now.get() >= self.passive_until.load(Relaxed)
            && !self.trial.load(Relaxed)
        {
            Fitness::Trial
        } else {
            Fitness::Unhealthy
        }
    }

    /// Sets `bit`. Returns the transition if this call made the backend unhealthy.
    fn mark_down(&self, bit: u32, reason: &'static str) -> Option<Transition> {
        let old = self.flags.fetch_or(bit, Relaxed);
        (old & DOWN == 0).then_some(Transition { healthy: false, reason })
    }

    /// Clears `bit`. Returns the transition if this call made the backend healthy.
    fn mark_up(&self, bit: u32, now: Nanos, reason: &'static str) -> Option<Transition> {
        let old = self.flags.fetch_and(!bit, Relaxed);
        (old & DOWN == bit).then(|| {
            self.healthy_since.store(now.get().max(1), Relaxed);
            Transition { healthy: true, reason }
        })
    }
}

#[cfg(test)]
mod tests;
