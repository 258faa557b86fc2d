//! What one connection buffers for its client: its part of the budget, and how long the client has taken nothing.

use crate::budget::{LEAST, ResponseBudget};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Maximum that one connection may buffer: enough for a few turns of the worker. What the path needs in addition is in the
/// kernel, which measures it.
const MAX_BUFFER: u64 = 512 * 1024;
/// What the streams may have on their way from their backends: one part of so many.
const STREAMS_PART: u64 = 3;

pub(super) struct Outgoing {
    budget: Arc<ResponseBudget>,
    /// Bytes counted in the budget.
    charged: u64,
    /// Since when the socket has taken nothing, while bytes wait.
    blocked_since: Option<Instant>,
}

impl Outgoing {
    pub(super) fn new(budget: Arc<ResponseBudget>) -> Self {
        Self { budget, charged: 0, blocked_since: None }
    }

    /// Counts what waits for the client.
    pub(super) fn update(&mut self, waiting: usize) {
        let waiting = waiting as u64;
        self.budget.change(std::mem::replace(&mut self.charged, waiting), waiting);
    }

    /// Notes the result of a write: whether the socket has taken anything, and whether more waits for it.
    pub(super) fn on_write(&mut self, now: Instant, has_taken: bool, is_blocked: bool) {
        self.blocked_since = match (is_blocked, self.blocked_since) {
            (false, _) => None,
            (true, Some(since)) if !has_taken => Some(since),
            (true, _) => Some(now),
        };
    }

    /// When the client counts as stalled.
    pub(super) fn stalled_at(&self, timeout: Duration) -> Option<Instant> {
        self.blocked_since.map(|since| since + timeout)
    }

    /// Bytes of one response that may be buffered between backend and client, with this many open streams.
    pub(super) fn stream_share(&self, streams: usize) -> usize {
        let share = self.budget.share().min(MAX_BUFFER) / STREAMS_PART / (streams.max(1) as u64);
        usize::try_from(share.max(LEAST)).unwrap_or(usize::MAX)
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.budget.change(self.charged, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_counts_what_waits_and_gets_it_back() {
        let budget = Arc::new(ResponseBudget::new(64 << 20));
        let mut outgoing = Outgoing::new(budget.clone());
        outgoing.update(100_000);
        outgoing.update(30_000);
        assert_eq!(budget.used(), 30_000);
        assert_eq!([1, 5, 100].map(|streams| outgoing.stream_share(streams)), [174_762, 34_952, 16_384]);
        budget.change(0, (64 << 20) - 30_000);
        assert_eq!(outgoing.stream_share(1), 16_384, "the budget is used up");
        budget.change((64 << 20) - 30_000, 0);
        drop(outgoing);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_client_stalls_from_the_last_byte_that_it_has_taken() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut outgoing = Outgoing::new(Arc::new(ResponseBudget::new(1 << 20)));
        let timeout = Duration::from_secs(30);
        outgoing.on_write(at(1), true, false);
        assert_eq!(outgoing.stalled_at(timeout), None);
        outgoing.on_write(at(2), true, true);
        outgoing.on_write(at(9), false, true);
        assert_eq!(outgoing.stalled_at(timeout), Some(at(32)));
        outgoing.on_write(at(10), true, true);
        assert_eq!(outgoing.stalled_at(timeout), Some(at(40)));
        outgoing.on_write(at(11), true, false);
        assert_eq!(outgoing.stalled_at(timeout), None);
    }
}
