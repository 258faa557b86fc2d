//! Whether a backend is fit for requests: the shared health record, fed by probes (`active`) and by traffic (`passive`).
//!
//! One [`Health`] per backend, atomics only, written by every worker and by the prober. Each change of state is seen by
//! exactly one caller, who gets the [`Transition`] to log and count. It sends no probe and reads no clock.

mod active;
mod passive;
mod ready;

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

pub use active::{ActiveOptions, Prober};
pub use passive::PassiveOptions;
pub use ready::Readiness;

use crate::time::Nanos;

/// Probes say no.
const ACTIVE_DOWN: u32 = 1;
/// Traffic says no.
const PASSIVE_DOWN: u32 = 2;
/// An operator drains it.
const DRAINING: u32 = 4;
/// At least one probe has succeeded in this process.
const PROBED: u32 = 8;
/// Another source than traffic decides the return after a passive failure.
const HAS_PROBES: u32 = 16;
const DOWN: u32 = ACTIVE_DOWN | PASSIVE_DOWN;

/// The health record of one backend.
#[derive(Debug, Default)]
pub struct Health {
    flags: AtomicU32,
    passive_failures: AtomicU32,
    passive_until: AtomicU64,
    trial: AtomicBool,
    trial_successes: AtomicU32,
    probe_failures: AtomicU32,
    probe_successes: AtomicU32,
    /// When it last became healthy; 0 when it never was anything else.
    healthy_since: AtomicU64,
    last_transition: AtomicU64,
    /// Grows with each successful probe: ends the connect back-off of every worker.
    revived: AtomicU32,
}

/// A backend changed between healthy and unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Its new state.
    pub healthy: bool,
    /// Why, for the log line: `probe`, `connect`, `tls`, `reset`, `timeout`, `protocol`, `5xx`, `trial`.
    pub reason: &'static str,
}

/// What the health of a backend allows at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fitness {
    /// Take it.
    Healthy,
    /// One trial request may go.
    Trial,
    /// No request, panic mode excepted.
    Unhealthy,
    /// No request at all.
    Draining,
}

impl Health {
    /// Both sources say healthy.
    pub fn is_healthy(&self) -> bool {
        self.flags.load(Relaxed) & DOWN == 0
    }

    /// Probes say healthy (also without probes).
    pub fn active_up(&self) -> bool {
        self.flags.load(Relaxed) & ACTIVE_DOWN == 0
    }

    /// Traffic says healthy.
    pub fn passive_up(&self) -> bool {
        self.flags.load(Relaxed) & PASSIVE_DOWN == 0
    }

    /// An operator drains it.
    pub fn is_draining(&self) -> bool {
        self.flags.load(Relaxed) & DRAINING != 0
    }

    /// Begins or ends a drain; true if that changed something.
    pub fn set_draining(&self, draining: bool) -> bool {
        let old =
            if draining { self.flags.fetch_or(DRAINING, Relaxed) } else { self.flags.fetch_and(!DRAINING, Relaxed) };
        (old & DRAINING != 0) != draining
    }

    /// Time of the last transition, `None` before the first.
    pub fn last_transition(&self) -> Option<Nanos> {
        Some(self.last_transition.load(Relaxed)).filter(|&at| at != 0).map(Nanos::new)
    }

    /// When it last returned to health; `None` if it never left it.
    pub(crate) fn healthy_since(&self) -> Option<Nanos> {
        Some(self.healthy_since.load(Relaxed)).filter(|&at| at != 0).map(Nanos::new)
    }

    pub(crate) fn revived(&self) -> u32 {
        self.revived.load(Relaxed)
    }

    /// One load in the common case.
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

    /// Sets `bit`; the transition if it was this call that made the backend unhealthy.
    fn mark_down(&self, bit: u32, now: Nanos, reason: &'static str) -> Option<Transition> {
        let old = self.flags.fetch_or(bit, Relaxed);
        (old & DOWN == 0).then(|| {
            self.last_transition.store(now.get(), Relaxed);
            Transition { healthy: false, reason }
        })
    }

    /// Clears `bit`; the transition if it was this call that made the backend healthy.
    fn mark_up(&self, bit: u32, now: Nanos, reason: &'static str) -> Option<Transition> {
        let old = self.flags.fetch_and(!bit, Relaxed);
        (old & DOWN == bit).then(|| {
            self.healthy_since.store(now.get().max(1), Relaxed);
            self.last_transition.store(now.get(), Relaxed);
            Transition { healthy: true, reason }
        })
    }
}

#[cfg(test)]
mod tests;
