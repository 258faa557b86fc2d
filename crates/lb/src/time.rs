//! Time as nanoseconds since an epoch that the caller chooses once per process.
//!
//! Arithmetic saturates, so a clock that jumps back yields an elapsed time of zero. A plain integer fits into the atomics of
//! the shared state.

use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

/// A point in time: nanoseconds since the epoch of the process. Overflows after 584 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nanos(u64);

impl Nanos {
    /// The epoch.
    pub const ZERO: Self = Self(0);
    /// A time that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// From nanoseconds since the epoch.
    pub const fn new(nanos: u64) -> Self {
        Self(nanos)
    }

    #[cfg(test)]
    pub(crate) const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// `now` relative to `epoch`; zero if it is earlier.
    pub fn since(epoch: Instant, now: Instant) -> Self {
        Self::ZERO + now.saturating_duration_since(epoch)
    }

    /// This time as an `Instant`; `None` for [`Nanos::NEVER`].
    pub fn to_instant(self, epoch: Instant) -> Option<Instant> {
        if self == Self::NEVER { None } else { epoch.checked_add(Duration::from_nanos(self.0)) }
    }

    /// Nanoseconds since the epoch.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the epoch.
    pub const fn millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// This time minus `by`, but not before the epoch.
    #[must_use]
    pub fn earlier(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time since `earlier`; zero if that is later.
    pub const fn elapsed_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Nanos {
    type Output = Self;

    fn add(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Nanos {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.elapsed_since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_jumps_back_never_underflows() {
        assert_eq!(Nanos::new(5) - Nanos::new(9), Duration::ZERO);
        assert_eq!(Nanos::NEVER + Duration::from_secs(1), Nanos::NEVER);
        assert_eq!(Nanos::new(5) + Duration::MAX, Nanos::NEVER);
        assert_eq!(Nanos::new(5).earlier(Duration::from_nanos(2)), Nanos::new(3));
        assert_eq!([6, u64::MAX].map(|nanos| Nanos::new(5).earlier(Duration::from_nanos(nanos))), [Nanos::ZERO; 2]);
    }

    #[test]
    fn instants_convert_both_ways() {
        let epoch = Instant::now();
        let later = epoch + Duration::from_millis(1500);
        let time = Nanos::since(epoch, later);
        assert_eq!(time.millis(), 1500);
        assert_eq!(time.to_instant(epoch), Some(later));
        assert_eq!(Nanos::since(later, epoch), Nanos::ZERO);
        assert_eq!(Nanos::NEVER.to_instant(epoch), None);
    }
}
