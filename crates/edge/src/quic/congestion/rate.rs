//! The delivery rate of a path: the highest of the recent rounds. Used by the model alone.

/// Rounds that are remembered. A whole probing cycle would be longer; but the rates of flows that share a link do not
/// peak at once, and the longer their peaks are remembered the longer the queue.
const ROUNDS: usize = 6;

/// The highest of the last rates, in bytes per second.
///
/// A maximum, since every disturbance (loss, a late acknowledgement, another flow's burst) makes a round look slower
/// than the path is, and next to none makes it look faster (draft-ietf-ccwg-bbr, section 2.4).
#[derive(Clone, Debug, Default)]
pub(super) struct MaxRate {
    rounds: [u64; ROUNDS],
    next: usize,
}

impl MaxRate {
    /// The estimate, in bytes per second; 0 while nothing was measured.
    pub(super) fn highest(&self) -> u64 {
        self.rounds.iter().copied().max().unwrap_or(0)
    }

    /// Adds the rate of a round whose sender had enough to send, and forgets the oldest.
    pub(super) fn push(&mut self, rate: u64) {
        if let Some(slot) = self.rounds.get_mut(self.next) {
            *slot = rate;
        }
        self.next = (self.next + 1) % ROUNDS;
    }

    /// Adds the rate of a round in which the application was the limit: it can only show that the path is faster.
    pub(super) fn push_lower_bound(&mut self, rate: u64) {
        if rate > self.highest() {
            self.push(rate);
        }
    }

    /// Forgets everything but `rate`: the path has become slower.
    pub(super) fn replace(&mut self, rate: u64) {
        self.rounds = [0; ROUNDS];
        self.push(rate);
    }
}
