//! The rate limit of stateless resets (RFC 9000 section 10.3), because anybody can provoke them. It still reaches all clients
//! of a process that was killed within seconds.

use std::time::{Duration, Instant};

/// Time for one reset.
const INTERVAL: Duration = Duration::from_millis(1);
/// Maximum burst.
const BURST: u32 = 100;

/// Rate limiter of one listener on one worker.
pub(super) struct ResetRate {
    /// Time until which the resets that were sent use up the rate.
    used_until: Option<Instant>,
}

impl ResetRate {
    pub(super) fn new() -> Self {
        Self { used_until: None }
    }

    /// Counts a reset. Returns false, counting nothing, if it may not be sent now.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let from = self.used_until.map_or(now, |until| until.max(now));
        let next = from + INTERVAL;
        let may = next <= now + INTERVAL * BURST;
        if may {
            self.used_until = Some(next);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_one_for_each_interval() {
        let (mut rate, start) = (ResetRate::new(), Instant::now());
        let mut sent = |after| (0..1000).filter(|_| rate.take(start + after)).count();
        assert_eq!(sent(Duration::ZERO), BURST as usize);
        assert_eq!(sent(Duration::ZERO), 0);
        assert_eq!(sent(INTERVAL * 7), 7);
        assert_eq!(sent(Duration::from_secs(60)), BURST as usize);
    }
}
