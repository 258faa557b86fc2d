//! Brownout: near the global limit only core routes are served and no request is hedged.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// `brownout` of the configuration. [`super::RouteLimitOptions::core`] marks the core routes.
#[derive(Clone, Copy, Debug)]
pub struct BrownoutOptions {
    /// Load at which brownout begins, percent of the limit.
    pub trigger_percent: u32,
    /// Load at which it ends, percent of the limit.
    pub recover_percent: u32,
}

impl Default for BrownoutOptions {
    fn default() -> Self {
        Self { trigger_percent: 90, recover_percent: 60 }
    }
}

/// Whether brownout is active; shared by all workers.
#[derive(Debug, Default)]
pub struct Brownout {
    trigger: AtomicU32,
    recover: AtomicU32,
    enabled: AtomicBool,
    active: AtomicBool,
    /// The state that was logged last.
    told: AtomicBool,
}

impl Brownout {
    pub(super) fn configure(&self, options: Option<&BrownoutOptions>) {
        self.enabled.store(options.is_some(), Relaxed);
        if let Some(options) = options {
            self.trigger.store(options.trigger_percent, Relaxed);
            self.recover.store(options.recover_percent, Relaxed);
        } else {
            self.active.store(false, Relaxed);
        }
    }

    /// Returns whether brownout is active.
    pub fn is_active(&self) -> bool {
        self.active.load(Relaxed)
    }

    /// Returns the state if it changed since the last call. Only one caller gets each change.
    pub(super) fn take_change(&self) -> Option<bool> {
        let active = self.active.load(Relaxed);
        if self.told.load(Relaxed) == active {
            return None;
        }
        (self.told.swap(active, Relaxed) != active).then_some(active)
    }

    /// Updates the state by the current load, and returns it. Called when a request arrives and when a permit is released.
    pub(super) fn evaluate(&self, in_flight: u32, limit: u32) -> bool {
        if !self.enabled.load(Relaxed) {
            return false;
        }
        let load = u64::from(in_flight) * 100;
        let bound = |percent: &AtomicU32| u64::from(percent.load(Relaxed)) * u64::from(limit);
        let active = self.active.load(Relaxed);
        let next = if active { load > bound(&self.recover) } else { load >= bound(&self.trigger) };
        if next != active {
            self.active.store(next, Relaxed);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_comes_at_the_trigger_and_goes_at_the_recovery() {
        let brownout = Brownout::default();
        assert!(!brownout.evaluate(1000, 100), "not configured");
        brownout.configure(Some(&BrownoutOptions::default()));
        let states = [89, 90, 61, 60, 89].map(|load| brownout.evaluate(load, 100));
        assert_eq!(states, [false, true, true, false, false]);
        assert_eq!(brownout.take_change(), None, "it went on and off again");
        brownout.evaluate(95, 100);
        assert_eq!([brownout.take_change(), brownout.take_change()], [Some(true), None]);
        brownout.configure(None);
        assert!(!brownout.is_active());
    }
}
