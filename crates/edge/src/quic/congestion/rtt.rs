//! The round-trip times of a path: without queues, and now. Used by the model alone.

use std::time::{Duration, Instant};

/// How long the shortest round-trip time is believed (draft-ietf-ccwg-bbr: `MinRTTFilterLen`).
const BELIEVED: Duration = Duration::from_secs(10);
/// Samples of which the shortest tells the queue: one late packet is not a queue (RFC 9406 asks for 8 as well).
const SAMPLES: u8 = 8;

/// Follows the round-trip times of a path.
#[derive(Clone, Debug)]
pub(super) struct PathRtt {
    shortest: Duration,
    /// The shortest of the last full group of samples, and of the group that is being filled.
    group: Option<Duration>,
    filling: Duration,
    filled: u8,
    calm: Option<Duration>,
    calm_at: Instant,
}

impl PathRtt {
    pub(super) fn new(now: Instant) -> Self {
        Self { shortest: Duration::MAX, group: None, filling: Duration::MAX, filled: 0, calm: None, calm_at: now }
    }

    /// Adds the round-trip time of the newest packet of a batch of acknowledgements.
    pub(super) fn sample(&mut self, rtt: Duration) {
        if rtt <= self.shortest {
            self.shortest = rtt;
        }
        self.filling = self.filling.min(rtt);
        self.filled += 1;
        if self.filled >= SAMPLES {
            self.group = Some(self.filling);
            self.filling = Duration::MAX;
            self.filled = 0;
        }
    }

    /// Adds the average of a round of `packets`.
    pub(super) fn round(&mut self, now: Instant, average: Duration, packets: u64) {
        if packets >= SAMPLES.into() && self.calm.is_none_or(|calm| average <= calm) {
            self.calm = Some(average);
            self.calm_at = now;
        }
    }

    /// The shortest time, `None` before the first sample.
    pub(super) fn shortest(&self) -> Option<Duration> {
        (self.shortest < Duration::MAX).then_some(self.shortest)
    }

    /// What a packet takes without queues, on average.
    pub(super) fn base(&self) -> Option<Duration> {
        Some(self.calm.unwrap_or(self.shortest()?))
    }

    /// The shortest time of the last few samples: what it is longer by than the shortest of all is queue.
    pub(super) fn recent(&self) -> Option<Duration> {
        self.group
    }

    /// Whether the shortest time is so old that the path may have changed.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.calm_at) > BELIEVED
    }

    /// Takes the times of a round without queue of our own for those of the path.
    pub(super) fn renew(&mut self, now: Instant, floor: Duration, average: Duration) {
        self.shortest = floor;
        self.calm = Some(average);
        self.calm_at = now;
    }
}
