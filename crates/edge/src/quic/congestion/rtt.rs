//! The round-trip times of a path, and what they say about its queue. Used by the model alone.

use std::time::{Duration, Instant};

/// How long the shortest round-trip time is believed (draft-ietf-ccwg-bbr: `MinRTTFilterLen`).
const BELIEVED: Duration = Duration::from_secs(10);
/// Samples of which the shortest tells the queue: one late packet is not a queue (RFC 9406 asks for 8 as well).
const SAMPLES: u8 = 8;
/// The least rise of the round-trip time that is a queue, however short the path.
const LEAST_RISE: Duration = Duration::from_millis(2);
/// What clocks and timers add to a round-trip time.
const GRAIN: Duration = Duration::from_millis(1);

/// Follows the round-trip times of a path.
#[derive(Clone, Debug)]
pub(super) struct PathRtt {
    shortest: Duration,
    shortest_at: Instant,
    /// The shortest of the last full group of samples.
    group: Duration,
    /// The shortest of the group that is being filled, and how many it has.
    filling: Duration,
    filled: u8,
    /// By how much a packet takes longer than the shortest of its round, smoothed.
    spread: Duration,
}

impl PathRtt {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            shortest: Duration::MAX,
            shortest_at: now,
            group: Duration::ZERO,
            filling: Duration::MAX,
            filled: 0,
            spread: Duration::ZERO,
        }
    }

    /// Adds the round-trip time of the newest packet of a batch of acknowledgements.
    pub(super) fn sample(&mut self, now: Instant, rtt: Duration) {
        if rtt <= self.shortest {
            self.shortest = rtt;
            self.shortest_at = now;
        }
        self.filling = self.filling.min(rtt);
        self.filled += 1;
        if self.filled >= SAMPLES {
            self.group = self.filling;
            self.filling = Duration::MAX;
            self.filled = 0;
        }
    }

    /// Adds how far a cruising round's average lay above its shortest time: jitter, and acknowledgements that are
    /// collected on the way. A queue of our own is in both and cancels out.
    pub(super) fn spread(&mut self, spread: Duration) {
        self.spread = (self.spread * 3 + spread.min(self.shortest)) / 4;
    }

    /// The shortest time, `None` before the first sample.
    pub(super) fn shortest(&self) -> Option<Duration> {
        (self.shortest < Duration::MAX).then_some(self.shortest)
    }

    /// How long a packet takes without a queue of ours. Twice the spread, since the shortest time of all was mostly
    /// measured when the path was idle, and then jitter is less. At most twice the shortest time, and just that
    /// while `competing` with flows that keep the queue full: what BBR allows itself always.
    pub(super) fn calm(&self, competing: bool) -> Option<Duration> {
        let shortest = self.shortest()?;
        Some(shortest.saturating_add(if competing { shortest } else { self.spread.saturating_mul(2).min(shortest) }))
    }

    /// Whether the last samples show that a queue begins: slow start has reached the path's rate (as `HyStart++`, RFC 9406).
    pub(super) fn is_queue_building(&self) -> bool {
        self.group >= self.shortest.saturating_add((self.shortest / 8).max(LEAST_RISE))
    }

    /// Whether a round whose shortest time was `floor` met little or no queue.
    pub(super) fn is_calm(&self, floor: Duration) -> bool {
        floor <= self.shortest.saturating_add(self.shortest / 4).saturating_add(GRAIN)
    }

    /// Whether a round whose shortest time was `floor` met a standing queue.
    pub(super) fn is_queued(&self, floor: Duration) -> bool {
        floor > self.shortest.saturating_add(self.shortest / 3).saturating_add(GRAIN)
    }

    /// Whether packets that took `average` met so much queue that losses are its overflow.
    pub(super) fn is_full(&self, average: Duration) -> bool {
        average > self.shortest.saturating_add(self.shortest / 2)
    }

    /// Whether the shortest time is so old that the path may have changed.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.shortest_at) > BELIEVED
    }

    /// Takes `floor`, of a round without a queue of ours, for the shortest time.
    pub(super) fn renew(&mut self, now: Instant, floor: Duration) {
        self.shortest = floor;
        self.shortest_at = now;
    }
}
