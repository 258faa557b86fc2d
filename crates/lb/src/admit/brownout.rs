//! Brownout: near the limit only core routes are served, and hedging stops.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// `brownout` of the configuration; which routes are core is said by each scope.
#[derive(Clone, Copy, Debug)]
pub struct BrownoutOptions {
    /// On at this share of the limit, in percent.
    pub trigger_percent: u32,
    /// Off at this share, in percent.
    pub recover_percent: u32,
}

impl Default for BrownoutOptions {
    fn default() -> Self {
        Self { trigger_percent: 90, recover_percent: 60 }
    }
}

/// The switch, shared by all workers.
#[derive(Debug, Default)]
pub struct Brownout {
    /// 0 when brownout is off altogether.
    trigger: AtomicU32,
    recover: AtomicU32,
    enabled: AtomicBool,
    active: AtomicBool,
    /// Whether it was on when that was last told.
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

    /// Whether it is on.
    pub fn is_active(&self) -> bool {
        self.active.load(Relaxed)
    }

    /// Whether it went on or off since the last call. To exactly one caller.
    pub(super) fn take_change(&self) -> Option<bool> {
        let active = self.active.load(Relaxed);
        if self.told.load(Relaxed) == active {
            return None;
        }
        (self.told.swap(active, Relaxed) != active).then_some(active)
    }

    /// Looks at the load, on arrival and on release; whether it is on afterwards.
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
