//! The phase of the process between start and stop. Written by the main thread, read by whoever reports it.

use std::sync::atomic::{AtomicU8, Ordering};

/// A phase of the process. Phases follow each other in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum LifePhase {
    /// Not all threads have been started.
    Starting = 0,
    /// Clients are served.
    Serving = 1,
    /// New connections are refused, or go to the next process; existing ones are brought to their end.
    Draining = 2,
    /// No client is served any more.
    Stopped = 3,
}

/// The current phase.
#[derive(Debug)]
pub(crate) struct Lifecycle(AtomicU8);

impl Default for Lifecycle {
    fn default() -> Self {
        Self(AtomicU8::new(LifePhase::Starting as u8))
    }
}

impl Lifecycle {
    /// Enters a phase. Does nothing if a later one was entered already.
    pub(crate) fn enter(&self, phase: LifePhase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }

    pub(crate) fn phase(&self) -> LifePhase {
        match self.0.load(Ordering::Acquire) {
            0 => LifePhase::Starting,
            1 => LifePhase::Serving,
            2 => LifePhase::Draining,
            _ => LifePhase::Stopped,
        }
    }

    /// Returns whether the process is stopping. It must not get new traffic then.
    pub(crate) fn is_stopping(&self) -> bool {
        self.phase() >= LifePhase::Draining
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_entered_in_order_and_never_left_backwards() {
        let life = Lifecycle::default();
        assert_eq!((life.phase(), life.is_stopping()), (LifePhase::Starting, false));
        for (enter, phase, is_stopping) in [
            (LifePhase::Serving, LifePhase::Serving, false),
            (LifePhase::Draining, LifePhase::Draining, true),
            (LifePhase::Serving, LifePhase::Draining, true),
            (LifePhase::Stopped, LifePhase::Stopped, true),
            (LifePhase::Draining, LifePhase::Stopped, true),
        ] {
            life.enter(enter);
            assert_eq!((life.phase(), life.is_stopping()), (phase, is_stopping));
        }
    }
}
