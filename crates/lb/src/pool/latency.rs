//! Response time of a backend as a peak-sensitive moving average (docs/reference/behaviour.md#load-balancing).
//!
//! One atomic word holds the value in microseconds (upper half, up to 71 minutes) and its time in milliseconds since the
//! epoch (lower half), so that workers read a consistent pair. The time wraps after 49.7 days: a gap of that length counts as
//! short, which delays the decay by one time constant at most.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::time::Nanos;

/// Time constant of the decay towards faster samples.
const DECAY_MS: f64 = 10_000.0;
/// Maximum time by which a sample may precede the last one. Workers read the same clock, so it is less than a turn.
const MAX_BACKWARDS_MS: u32 = 60_000;

/// The average of one backend; 0 without a sample.
#[derive(Debug, Default)]
pub struct PeakEwma(AtomicU64);

impl PeakEwma {
    /// The average in microseconds, at least 1; `None` before the first sample.
    pub(crate) fn micros(&self) -> Option<u32> {
        Some((self.0.load(Relaxed) >> 32) as u32).filter(|&micros| micros != 0)
    }

    /// The average; zero before the first sample.
    pub fn average(&self) -> Duration {
        Duration::from_micros(u64::from(self.micros().unwrap_or(0)))
    }

    /// Adds a sample. A slower one replaces the average, a faster one lowers it by the time since the last.
    pub(crate) fn observe(&self, sample: Duration, now: Nanos) {
        let sample = u32::try_from(sample.as_micros()).unwrap_or(u32::MAX).max(1);
        let now_ms = now.millis() as u32;
        // A concurrent update may drop this sample; a retry is not worth the contention.
        let old = self.0.load(Relaxed);
        let (value, at) = ((old >> 32) as u32, old as u32);
        let next = if sample >= value {
            sample
        } else {
            let elapsed = now_ms.wrapping_sub(at);
            // A time before the last one yields a difference just below the wrap; it counts as zero.
            let elapsed = if elapsed > u32::MAX - MAX_BACKWARDS_MS { 0 } else { elapsed };
            let keep = (-f64::from(elapsed) / DECAY_MS).exp();
            #[expect(clippy::cast_sign_loss, reason = "a share of a u32 between 0 and 1")]
            let kept = (f64::from(value - sample) * keep).round() as u32;
            sample.saturating_add(kept)
        };
        // The time advances only with the value: else frequent samples, each too short to change it, would never lower it.
        let at = if next == value && sample < value { at } else { now_ms };
        let _ = self.0.compare_exchange(old, u64::from(next) << 32 | u64::from(at), Relaxed, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slower_counts_at_once_and_faster_decays_with_ten_seconds() {
        let ewma = PeakEwma::default();
        assert_eq!(ewma.micros(), None);
        ewma.observe(Duration::from_millis(10), Nanos::from_millis(0));
        ewma.observe(Duration::from_millis(50), Nanos::from_millis(1));
        assert_eq!(ewma.micros(), Some(50_000));
        ewma.observe(Duration::from_millis(10), Nanos::from_millis(10_001));
        let after = ewma.micros().unwrap();
        assert!((24_700..24_730).contains(&after), "{after}"); // 10 + 40 / e
    }

    #[test]
    fn many_small_steps_decay_like_one_large_one() {
        let ewma = PeakEwma::default();
        ewma.observe(Duration::from_millis(50), Nanos::from_millis(0));
        for ms in 1..=10_000 {
            ewma.observe(Duration::from_millis(10), Nanos::from_millis(ms));
        }
        let after = ewma.micros().unwrap();
        assert!((24_000..25_500).contains(&after), "{after}");
    }

    #[test]
    fn a_backend_without_traffic_for_weeks_is_forgiven_its_slow_answer() {
        const DAY_MS: u64 = 86_400_000;
        for days in [1, 24, 25, 30, 49, 50, 74, 75, 365] {
            let ewma = PeakEwma::default();
            ewma.observe(Duration::from_secs(5), Nanos::from_millis(0));
            ewma.observe(Duration::from_millis(10), Nanos::from_millis(days * DAY_MS));
            assert_eq!(ewma.micros(), Some(10_000), "after {days} days");
        }
    }

    #[test]
    fn a_clock_that_jumps_back_decays_nothing() {
        let ewma = PeakEwma::default();
        ewma.observe(Duration::from_millis(50), Nanos::from_millis(10_000));
        ewma.observe(Duration::from_millis(10), Nanos::from_millis(1_000));
        assert_eq!(ewma.micros(), Some(50_000));
    }
}
