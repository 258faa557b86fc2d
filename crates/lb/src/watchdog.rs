//! The watchdog: whether the process still makes progress, and when it must be restarted
//! (docs/reference/behaviour.md#watchdog).
//!
//! Time is cut into windows. The watchdog thread measures each window; [`Watchdog`] decides.

use std::fmt;
use std::time::Duration;

use crate::time::Nanos;

/// `resilience.watchdog` of the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchdogOptions {
    /// A worker without progress for this time degrades the window.
    pub stall_timeout: Duration,
    /// Upstream timeouts that degrade the window, percent of its requests.
    pub timeout_percent: u32,
    /// Minimum number of requests of a window for `timeout_percent`.
    pub min_requests: u64,
    /// Load that degrades the window, percent of the limit in effect.
    pub overload_percent: u32,
    /// Consecutive degraded windows after which something is done.
    pub windows: u32,
    /// Minimum time between two reports of an unhealthy process.
    pub cooldown: Duration,
}

/// What was measured in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// A worker has made no progress for [`WatchdogOptions::stall_timeout`].
    pub is_stalled: bool,
    /// Requests that have arrived.
    pub requests: u64,
    /// Upstream timeouts.
    pub timeouts: u64,
    /// Requests in flight at its end.
    pub in_flight: u32,
    /// The limit of requests in flight.
    pub limit: u32,
}

/// Why a window is degraded. Displayed as names joined by `+`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reasons {
    poll_stall: bool,
    timeout_spike: bool,
    inflight_overload: bool,
}

impl Reasons {
    fn of(window: &Window, options: &WatchdogOptions) -> Self {
        let reaches = |part: u64, percent: u32, whole: u64| part * 100 >= u64::from(percent) * whole;
        let Window { is_stalled, requests, timeouts, in_flight, limit } = *window;
        Self {
            poll_stall: is_stalled,
            timeout_spike: requests >= options.min_requests && reaches(timeouts, options.timeout_percent, requests),
            inflight_overload: reaches(in_flight.into(), options.overload_percent, limit.into()),
        }
    }

    fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn or(self, other: Self) -> Self {
        Self {
            poll_stall: self.poll_stall || other.poll_stall,
            timeout_spike: self.timeout_spike || other.timeout_spike,
            inflight_overload: self.inflight_overload || other.inflight_overload,
        }
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [
            (self.poll_stall, "poll_stall"),
            (self.timeout_spike, "timeout_spike"),
            (self.inflight_overload, "inflight_overload"),
        ];
        for (at, (_, name)) in named.iter().filter(|(is_set, _)| *is_set).enumerate() {
            write!(out, "{}{name}", if at == 0 { "" } else { "+" })?;
        }
        Ok(())
    }
}

/// The result of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Neither this window nor the one before is degraded.
    Healthy,
    /// The first window that is not degraded, after this many that were.
    Recovered(u32),
    /// The window is degraded, but nothing is to be done yet, or not again.
    Degraded {
        /// Those of this window.
        reasons: Reasons,
        /// Number of degraded windows in a row.
        windows: u32,
    },
    /// Enough windows in a row are degraded: the process must be restarted. Reported at most once per cooldown.
    Unhealthy {
        /// Those of all windows in a row.
        reasons: Reasons,
        /// Number of degraded windows in a row.
        windows: u32,
    },
}

/// Decides over windows.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watchdog {
    windows: u32,
    reasons: Reasons,
    /// When the process was last reported as unhealthy.
    reported: Option<Nanos>,
}

impl Watchdog {
    /// Creates one that has reported an unhealthy process at this time, so that the cooldown runs.
    pub fn reported_at(at: Nanos) -> Self {
        Self { reported: Some(at), ..Self::default() }
    }

    /// Evaluates a window that has ended.
    pub fn end_window(&mut self, options: &WatchdogOptions, window: &Window, now: Nanos) -> Verdict {
        let reasons = Reasons::of(window, options);
        if reasons.is_empty() {
            self.reasons = Reasons::default();
            return match std::mem::take(&mut self.windows) {
                0 => Verdict::Healthy,
                windows => Verdict::Recovered(windows),
            };
        }
        self.windows = self.windows.saturating_add(1);
        self.reasons = self.reasons.or(reasons);
        let windows = self.windows;
        let is_cooling = self.reported.is_some_and(|at| now - at < options.cooldown);
        if windows < options.windows || is_cooling {
            return Verdict::Degraded { reasons, windows };
        }
        self.reported = Some(now);
        Verdict::Unhealthy { reasons: self.reasons, windows }
    }
}

/// For how long a worker has made no progress.
///
/// A worker has nothing to do without traffic, so the watchdog wakes it in each window and expects a turn.
#[derive(Clone, Copy, Debug, Default)]
pub struct StallTimer {
    turns: u64,
    waited: Duration,
}

impl StallTimer {
    /// Takes the number of turns that the worker has made, `elapsed` after the last call. Returns for how long there was no
    /// turn. `elapsed` should be limited by the caller, because the process may have been suspended.
    pub fn observe(&mut self, turns: u64, elapsed: Duration) -> Duration {
        if turns == self.turns {
            self.waited = self.waited.saturating_add(elapsed);
        } else {
            *self = Self { turns, waited: Duration::ZERO };
        }
        self.waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: WatchdogOptions = WatchdogOptions {
        stall_timeout: Duration::from_secs(5),
        timeout_percent: 60,
        min_requests: 20,
        overload_percent: 95,
        windows: 3,
        cooldown: Duration::from_secs(10),
    };
    const QUIET: Window = Window { is_stalled: false, requests: 0, timeouts: 0, in_flight: 0, limit: 100 };
    const STALLED: Window = Window { is_stalled: true, ..QUIET };
    const OVERLOADED: Window = Window { in_flight: 95, ..QUIET };

    fn at(second: u64) -> Nanos {
        Nanos::ZERO + Duration::from_secs(second)
    }

    fn verdicts(windows: &[Window]) -> Vec<Verdict> {
        let mut watchdog = Watchdog::default();
        let timed = windows.iter().zip(1..);
        timed.map(|(window, second)| watchdog.end_window(&OPTIONS, window, at(second))).collect()
    }

    #[test]
    fn each_reason_has_its_bound() {
        for (window, expected) in [
            (QUIET, ""),
            (STALLED, "poll_stall"),
            (Window { requests: 20, timeouts: 12, ..QUIET }, "timeout_spike"),
            (Window { requests: 20, timeouts: 11, ..QUIET }, ""),
            (Window { requests: 19, timeouts: 19, ..QUIET }, ""),
            (Window { requests: 20, timeouts: 60, ..QUIET }, "timeout_spike"),
            (OVERLOADED, "inflight_overload"),
            (Window { in_flight: 94, ..QUIET }, ""),
            (Window { in_flight: 190, limit: 200, ..STALLED }, "poll_stall+inflight_overload"),
            (
                Window { requests: 100, timeouts: 99, in_flight: 200, ..STALLED },
                "poll_stall+timeout_spike+inflight_overload",
            ),
        ] {
            assert_eq!(Reasons::of(&window, &OPTIONS).to_string(), expected, "{window:?}");
        }
    }

    #[test]
    fn only_degraded_windows_in_a_row_count() {
        let found = verdicts(&[QUIET, STALLED, STALLED, QUIET, STALLED, STALLED, QUIET, QUIET]);
        let healthy = |verdict: &Verdict| matches!(verdict, Verdict::Healthy);
        assert!(found.first().is_some_and(healthy) && found.last().is_some_and(healthy), "{found:?}");
        let recovered = found.iter().filter(|verdict| **verdict == Verdict::Recovered(2)).count();
        let degraded = found.iter().filter(|verdict| matches!(verdict, Verdict::Degraded { .. })).count();
        assert_eq!((recovered, degraded), (2, 4), "{found:?}");
    }

    #[test]
    fn the_report_has_the_reasons_of_all_windows_and_comes_once_per_cooldown() {
        let mut windows = vec![OVERLOADED, STALLED, OVERLOADED];
        windows.extend([OVERLOADED; 11]);
        let found = verdicts(&windows);
        let reports: Vec<_> = (1..)
            .zip(&found)
            .filter_map(|(second, verdict)| match verdict {
                Verdict::Unhealthy { reasons, windows } => Some((second, *windows, reasons.to_string())),
                _ => None,
            })
            .collect();
        let reasons = "poll_stall+inflight_overload".to_owned();
        assert_eq!(reports, [(3, 3, reasons.clone()), (13, 13, reasons)]);
    }

    #[test]
    fn a_recovery_does_not_end_the_cooldown() {
        let found = verdicts(&[STALLED, STALLED, STALLED, QUIET, STALLED, STALLED, STALLED, STALLED]);
        assert_eq!(found.iter().filter(|verdict| matches!(verdict, Verdict::Unhealthy { .. })).count(), 1, "{found:?}");
    }

    #[test]
    fn a_worker_stalls_while_its_turns_do_not_change() {
        let mut timer = StallTimer::default();
        let second = Duration::from_secs(1);
        let waited = [0, 0, 1, 1, 1, 900, 900].map(|turns| timer.observe(turns, second).as_secs());
        assert_eq!(waited, [1, 2, 0, 1, 2, 0, 1]);
    }
}
