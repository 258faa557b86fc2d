//! Minimum rate of one direction of a body: bytes transferred per time in which the client was waited for.

use std::time::Duration;

use crate::time::Nanos;

/// No rate is required before the client was waited for this long.
const GRACE: Duration = Duration::from_secs(10);

/// Counts the bytes transferred in one direction, and the time in which the client was waited for.
///
/// The rate is an average over the whole body, so a pause after fast progress is tolerated here; the idle and stall timeouts
/// limit pauses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Time of earlier periods.
    counted: Duration,
    /// Start of the current period; `None` while the clock is stopped.
    since: Option<Nanos>,
    moved: u64,
}

impl Pace {
    pub(super) fn add(&mut self, bytes: u64) {
        self.moved = self.moved.saturating_add(bytes);
    }

    /// Starts the clock, if it is stopped.
    pub(super) fn run(&mut self, now: Nanos) {
        self.since.get_or_insert(now);
    }

    /// Stops the clock, if it runs.
    pub(super) fn stop(&mut self, now: Nanos) {
        if let Some(since) = self.since.take() {
            self.counted = self.counted.saturating_add(now - since);
        }
    }

    /// Returns when the average falls below `rate` bytes per second without further bytes; 0 disables the minimum.
    pub(super) fn deadline(&self, rate: u64) -> Nanos {
        let Some(since) = self.since.filter(|_| rate > 0) else { return Nanos::NEVER };
        let nanos = u128::from(self.moved) * 1_000_000_000 / u128::from(rate);
        let allowed = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).max(GRACE);
        since + allowed.saturating_sub(self.counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Nanos = Nanos::from_millis;

    #[test]
    fn nothing_is_required_during_the_grace_and_the_average_afterwards() {
        let mut pace = Pace::default();
        assert_eq!(pace.deadline(240), Nanos::NEVER, "nobody waits for the client");
        pace.run(AT(1_000));
        assert_eq!(pace.deadline(240), AT(11_000));
        assert_eq!(pace.deadline(0), Nanos::NEVER);
        pace.add(2_400);
        assert_eq!(pace.deadline(240), AT(11_000), "ten seconds' worth is still the grace");
        pace.add(2_400);
        assert_eq!(pace.deadline(240), AT(21_000));
    }

    #[test]
    fn time_in_which_nobody_waited_for_the_client_does_not_count() {
        let mut pace = Pace::default();
        pace.run(AT(0));
        pace.run(AT(3_000));
        pace.stop(AT(4_000));
        pace.stop(AT(9_000));
        assert_eq!(pace.deadline(240), Nanos::NEVER);
        pace.run(AT(100_000));
        assert_eq!(pace.deadline(240), AT(106_000), "four of the ten seconds are used up");
    }

    #[test]
    fn a_trickle_of_any_period_ends_at_the_grace_and_a_sufficient_rate_never() {
        for (period, bytes, ends) in [(3_000, 1, Some(10_000)), (50, 11, Some(10_000)), (50, 13, None)] {
            let mut pace = Pace::default();
            pace.run(AT(0));
            let mut ended = None;
            for now in (period..120_000).step_by(period as usize) {
                if pace.deadline(240) <= AT(now) {
                    ended = Some(pace.deadline(240).millis());
                    break;
                }
                pace.add(bytes);
            }
            assert_eq!(ended, ends, "{bytes} bytes every {period} ms");
        }
    }
}
