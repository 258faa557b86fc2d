//! The adaptive limit on requests in flight.
//!
//! Time is divided into windows of 100 ms. `heads` decides for each upstream whether a window was late; a late one lowers
//! the limit, every other raises it. Client aborts, refusals, slow transfers and deadlines chosen by a client must not be
//! reported, so that clients cannot change the limit.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Nanos;

/// Length of a window.
const WINDOW: Duration = Duration::from_millis(100);
/// Minimum time between two log lines.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// `adaptive_admission` of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveOptions {
    /// Lower bound of the limit.
    pub min_limit: u32,
    /// Initial value and upper bound of the limit.
    pub max_limit: u32,
    /// Decrease after a late window.
    pub decrease_step: u32,
    /// Increase after every other window.
    pub increase_step: u32,
    /// Median latency up to which a window is never late.
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

/// Number of the window that contains `now`; never 0.
pub(super) fn window_of(now: Nanos) -> u64 {
    now.get() / WINDOW.as_nanos() as u64 + 1
}

/// The limit, shared by all workers.
#[derive(Debug, Default)]
pub struct Adaptive {
    enabled: AtomicBool,
    min: AtomicU32,
    max: AtomicU32,
    decrease: AtomicU32,
    increase: AtomicU32,
    /// In microseconds.
    high_latency: AtomicU32,
    limit: AtomicU32,
    /// Number of the current window; 0 before the first.
    window: AtomicU64,
    /// Last window that lowered the limit.
    lowered: AtomicU64,
    logged: AtomicU32,
    logged_at: AtomicU64,
}

impl Adaptive {
    /// Applies options, at start and on reload. Clamps the current limit to the new bounds.
    pub(super) fn configure(&self, options: Option<&AdaptiveOptions>) {
        let Some(options) = options else {
            self.enabled.store(false, Relaxed);
            return;
        };
        let was_enabled = self.enabled.load(Relaxed);
        let current = if was_enabled { self.limit.load(Relaxed) } else { options.max_limit };
        let min = options.min_limit.min(options.max_limit);
        self.min.store(min, Relaxed);
        self.max.store(options.max_limit, Relaxed);
        self.decrease.store(options.decrease_step, Relaxed);
        self.increase.store(options.increase_step, Relaxed);
        self.high_latency.store(u32::try_from(options.high_latency.as_micros()).unwrap_or(u32::MAX), Relaxed);
        let limit = current.clamp(min, options.max_limit);
        self.limit.store(limit, Relaxed);
        if !was_enabled {
            self.logged.store(limit, Relaxed);
        }
        self.enabled.store(true, Relaxed);
    }

    /// The current limit; `None` if the adaptive limit is disabled.
    pub fn limit(&self) -> Option<u32> {
        self.is_enabled().then(|| self.limit.load(Relaxed))
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.enabled.load(Relaxed)
    }

    pub(super) fn min_limit(&self) -> u32 {
        self.min.load(Relaxed)
    }

    pub(super) fn is_lowered(&self) -> bool {
        self.limit.load(Relaxed) < self.max.load(Relaxed)
    }

    /// `high_latency_ms` in microseconds.
    pub(super) fn high_latency(&self) -> u32 {
        self.high_latency.load(Relaxed)
    }

    /// End of the window that contains `now`.
    pub(super) fn window_end(now: Nanos) -> Nanos {
        let window = WINDOW.as_nanos() as u64;
        Nanos::new((now.get() / window + 1).saturating_mul(window))
    }

    /// Lowers the limit after a late window with up to `peak` requests in flight: once for each window, and not if the
    /// peak was no more than the minimum limit.
    pub(super) fn lower(&self, window: u64, peak: u32) {
        let min = self.min.load(Relaxed);
        if peak <= min || self.lowered.fetch_max(window, Relaxed) >= window {
            return;
        }
        // The limit may have been raised for this window and for later ones, if the upstream had no traffic since or another
        // one was faster. The result is the same as if the window had been evaluated in time.
        let passed = u32::try_from(self.window.load(Relaxed).saturating_sub(window)).unwrap_or(u32::MAX);
        let rise = |windows: u32| windows.saturating_mul(self.increase.load(Relaxed));
        let (step, max) = (self.decrease.load(Relaxed), self.max.load(Relaxed));
        let lowered = |limit: u32| {
            let then = limit.saturating_sub(rise(passed)).min(peak).saturating_sub(step).max(min);
            Some(then.saturating_add(rise(passed.saturating_sub(1))).min(max))
        };
        // The closure always yields a value, so the update cannot fail.
        let _ = self.limit.fetch_update(Relaxed, Relaxed, lowered);
    }

    /// Advances to the window of `now`. Every earlier window that has not lowered the limit raises it, with or without
    /// traffic. Returns whether the limit rose.
    pub(super) fn advance(&self, now: Nanos) -> bool {
        let (next, last) = (window_of(now), self.window.load(Relaxed));
        if next <= last || self.window.compare_exchange(last, next, Relaxed, Relaxed).is_err() || last == 0 {
            return false;
        }
        let late = u64::from((last..next).contains(&self.lowered.load(Relaxed)));
        let windows = u32::try_from(next - last - late).unwrap_or(u32::MAX);
        let (limit, max) = (self.limit.load(Relaxed), self.max.load(Relaxed));
        if windows == 0 || limit >= max {
            return false;
        }
        let rise = windows.saturating_mul(self.increase.load(Relaxed));
        let raised = |limit: u32| Some(limit.saturating_add(rise).min(self.max.load(Relaxed)));
        let _ = self.limit.fetch_update(Relaxed, Relaxed, raised);
        true
    }

    /// Takes the logged and the current limit if a log line is due. Only one caller gets each change.
    pub(super) fn take_change(&self, now: Nanos) -> Option<(u32, u32)> {
        let (old, limit) = (self.logged.load(Relaxed), self.limit()?);
        let last = self.logged_at.load(Relaxed);
        if old == limit || last != 0 && now.elapsed_since(Nanos::new(last)) < LOG_EVERY {
            return None;
        }
        self.logged_at.compare_exchange(last, now.get().max(1), Relaxed, Relaxed).ok()?;
        self.logged.store(limit, Relaxed);
        Some((old, limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Nanos = Nanos::from_millis;

    fn adaptive() -> Adaptive {
        let adaptive = Adaptive::default();
        adaptive.configure(Some(&AdaptiveOptions { min_limit: 64, max_limit: 200, ..Default::default() }));
        adaptive.advance(AT(1000));
        adaptive
    }

    #[test]
    fn a_late_window_lowers_it_from_its_peak_once_and_not_below_the_minimum() {
        let adaptive = adaptive();
        assert_eq!(adaptive.limit(), Some(200));
        adaptive.lower(window_of(AT(1000)), 150);
        adaptive.lower(window_of(AT(1099)), 100);
        assert_eq!(adaptive.limit(), Some(134), "two upstreams were late in one window");
        adaptive.lower(window_of(AT(1100)), 400);
        assert_eq!(adaptive.limit(), Some(118));
        adaptive.lower(window_of(AT(1200)), 70);
        assert_eq!(adaptive.limit(), Some(64));
    }

    #[test]
    fn at_low_concurrency_a_late_window_changes_nothing() {
        let adaptive = adaptive();
        adaptive.lower(window_of(AT(1000)), 64);
        assert_eq!(adaptive.limit(), Some(200));
    }

    #[test]
    fn every_other_window_raises_it_used_or_not() {
        let adaptive = adaptive();
        adaptive.lower(window_of(AT(1000)), 66);
        assert!(!adaptive.advance(AT(1100)), "the late window itself");
        assert_eq!(adaptive.limit(), Some(64));
        assert!(adaptive.advance(AT(1200)));
        assert_eq!(adaptive.limit(), Some(80));
        assert!(!adaptive.advance(AT(1299)) && !adaptive.advance(AT(900)));
        assert!(adaptive.advance(AT(1500)));
        assert_eq!(adaptive.limit(), Some(128));
        assert!(adaptive.advance(AT(60_000)));
        assert_eq!(adaptive.limit(), Some(200));
    }

    #[test]
    fn a_window_that_another_upstream_has_raised_for_is_late_all_the_same() {
        let adaptive = adaptive();
        adaptive.lower(window_of(AT(1000)), 116);
        adaptive.advance(AT(1100));
        assert!(adaptive.advance(AT(1200)));
        assert_eq!(adaptive.limit(), Some(116));
        adaptive.lower(window_of(AT(1100)), 300);
        assert_eq!(adaptive.limit(), Some(84));
        // One that is judged half a second late has been made up for.
        adaptive.advance(AT(1800));
        adaptive.lower(window_of(AT(1300)), 116);
        assert_eq!(adaptive.limit(), Some(84 + 64));
    }

    #[test]
    fn a_reload_keeps_it_within_the_new_bounds_and_can_switch_it_off() {
        let adaptive = adaptive();
        adaptive.lower(window_of(AT(1000)), 100);
        adaptive.configure(Some(&AdaptiveOptions { min_limit: 10, max_limit: 50, ..Default::default() }));
        assert_eq!(adaptive.limit(), Some(50));
        adaptive.configure(None);
        assert_eq!(adaptive.limit(), None);
    }

    #[test]
    fn changes_are_told_once_and_not_too_often() {
        let adaptive = adaptive();
        assert_eq!(adaptive.take_change(AT(1000)), None);
        adaptive.lower(window_of(AT(1000)), 150);
        assert_eq!(adaptive.take_change(AT(1100)), Some((200, 134)));
        adaptive.lower(window_of(AT(1200)), 150);
        assert_eq!(adaptive.take_change(AT(11_000)), None);
        assert_eq!(adaptive.take_change(AT(11_100)), Some((134, 118)));
        assert_eq!(adaptive.take_change(AT(99_000)), None);
    }
}
