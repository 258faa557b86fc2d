//! The adaptive limit on requests in flight (behaviour 10.2).
//!
//! Late response heads and upstream timeouts lower it, timely heads raise it while it is in use. Nothing else moves it:
//! whoever calls must not report client aborts, refusals or slow transfers.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Nanos;

/// The limit sinks at most once in this time: one burst of late answers is one sign of overload.
const DECREASE_PAUSE: Duration = Duration::from_millis(100);

/// `adaptive_admission` of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveOptions {
    /// The limit never sinks below this.
    pub min_limit: u32,
    /// The limit starts here and never rises above.
    pub max_limit: u32,
    /// By how much it sinks.
    pub decrease_step: u32,
    /// By how much it rises.
    pub increase_step: u32,
    /// A head later than this is late.
    pub high_latency: Duration,
}

impl Default for AdaptiveOptions {
    fn default() -> Self {
        Self {
            min_limit: 64,
            max_limit: 4096,
            decrease_step: 16,
            increase_step: 16,
            high_latency: Duration::from_millis(500),
        }
    }
}

/// The limit itself, shared by all workers.
#[derive(Debug, Default)]
pub struct Adaptive {
    enabled: AtomicBool,
    min: AtomicU32,
    max: AtomicU32,
    decrease: AtomicU32,
    increase: AtomicU32,
    high_latency: AtomicU64,
    limit: AtomicU32,
    lowered_at: AtomicU64,
}

impl Adaptive {
    /// Takes options in, at start and on reload; the limit of a running process is kept within the new bounds.
    pub(super) fn configure(&self, options: Option<&AdaptiveOptions>) {
        let Some(options) = options else {
            self.enabled.store(false, Relaxed);
            return;
        };
        let high = u64::try_from(options.high_latency.as_nanos()).unwrap_or(u64::MAX);
        let current = if self.enabled.load(Relaxed) { self.limit.load(Relaxed) } else { options.max_limit };
        let min = options.min_limit.min(options.max_limit);
        self.min.store(min, Relaxed);
        self.max.store(options.max_limit, Relaxed);
        self.decrease.store(options.decrease_step, Relaxed);
        self.increase.store(options.increase_step, Relaxed);
        self.high_latency.store(high, Relaxed);
        self.limit.store(current.clamp(min, options.max_limit), Relaxed);
        self.enabled.store(true, Relaxed);
    }

    /// The current limit, `None` when there is none.
    pub fn limit(&self) -> Option<u32> {
        self.enabled.load(Relaxed).then(|| self.limit.load(Relaxed))
    }

    /// Response headers came after `latency` while `in_flight` requests were under way; true if the limit rose.
    pub(super) fn on_head(&self, latency: Duration, in_flight: u32, now: Nanos) -> bool {
        if !self.enabled.load(Relaxed) {
            return false;
        }
        if latency > Duration::from_nanos(self.high_latency.load(Relaxed)) {
            self.lower(now);
            return false;
        }
        let (limit, max) = (self.limit.load(Relaxed), self.max.load(Relaxed));
        if limit >= max || in_flight <= limit / 2 {
            return false;
        }
        let raised = limit.saturating_add(self.increase.load(Relaxed)).min(max);
        self.limit.compare_exchange(limit, raised, Relaxed, Relaxed).is_ok()
    }

    /// An upstream timed out.
    pub(super) fn on_timeout(&self, now: Nanos) {
        if self.enabled.load(Relaxed) {
            self.lower(now);
        }
    }

    fn lower(&self, now: Nanos) {
        let last = self.lowered_at.load(Relaxed);
        if last != 0 && now.elapsed_since(Nanos::new(last)) < DECREASE_PAUSE {
            return;
        }
        if self.lowered_at.compare_exchange(last, now.get().max(1), Relaxed, Relaxed).is_err() {
            return; // another worker just did
        }
        let (step, min) = (self.decrease.load(Relaxed), self.min.load(Relaxed));
        let lowered = |limit: u32| Some(limit.saturating_sub(step).max(min));
        // The closure always yields a value, so the update cannot fail.
        let _ = self.limit.fetch_update(Relaxed, Relaxed, lowered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adaptive() -> Adaptive {
        let adaptive = Adaptive::default();
        adaptive.configure(Some(&AdaptiveOptions { min_limit: 64, max_limit: 100, ..Default::default() }));
        adaptive
    }

    const LATE: Duration = Duration::from_millis(501);
    const TIMELY: Duration = Duration::from_millis(500);

    #[test]
    fn it_sinks_once_per_pause_and_not_below_its_minimum() {
        let adaptive = adaptive();
        assert_eq!(adaptive.limit(), Some(100));
        adaptive.on_head(LATE, 1, Nanos::from_millis(1000));
        adaptive.on_timeout(Nanos::from_millis(1099));
        assert_eq!(adaptive.limit(), Some(84));
        adaptive.on_timeout(Nanos::from_millis(1100));
        assert_eq!(adaptive.limit(), Some(68));
        adaptive.on_timeout(Nanos::from_millis(1200));
        assert_eq!(adaptive.limit(), Some(64));
    }

    #[test]
    fn it_rises_only_while_more_than_half_is_in_use() {
        let adaptive = adaptive();
        adaptive.on_timeout(Nanos::from_millis(1));
        adaptive.on_head(TIMELY, 42, Nanos::from_millis(2));
        assert_eq!(adaptive.limit(), Some(84));
        assert!(adaptive.on_head(TIMELY, 43, Nanos::from_millis(2)));
        assert_eq!(adaptive.limit(), Some(100));
        assert!(!adaptive.on_head(TIMELY, 100, Nanos::from_millis(2)));
    }

    #[test]
    fn a_reload_keeps_it_within_the_new_bounds_and_can_switch_it_off() {
        let adaptive = adaptive();
        adaptive.on_timeout(Nanos::from_millis(1));
        adaptive.configure(Some(&AdaptiveOptions { min_limit: 10, max_limit: 50, ..Default::default() }));
        assert_eq!(adaptive.limit(), Some(50));
        adaptive.configure(None);
        assert_eq!(adaptive.limit(), None);
        assert!(!adaptive.on_head(TIMELY, 1000, Nanos::from_millis(2)));
    }
}
