//! One direction of a path in virtual time: a rate, a drop-tail queue, a delay, seeded loss and reordering.

use quinn_proto::EcnCodepoint;
use std::time::Duration;

/// What a direction of a path does to datagrams.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) one_way: Duration,
    /// Bytes per second; 0 is unlimited.
    pub(super) rate: u64,
    /// Longest queue, as the time it takes to send.
    pub(super) queue: Duration,
    /// Queue from which on packets are marked (ECN CE).
    pub(super) mark: Option<Duration>,
    pub(super) loss_percent: f64,
    pub(super) reorder_percent: f64,
    /// Evenly spread extra delay, which keeps the order.
    pub(super) jitter: Duration,
}

impl Link {
    /// A link with a queue of one bandwidth-delay product, of 20 ms at least.
    pub(super) fn clean(one_way_ms: u64, mbit: u64) -> Self {
        let one_way = Duration::from_millis(one_way_ms);
        Self {
            one_way,
            rate: mbit * 125_000,
            queue: (one_way * 2).max(Duration::from_millis(20)),
            mark: None,
            loss_percent: 0.0,
            reorder_percent: 0.0,
            jitter: Duration::ZERO,
        }
    }

    /// The same with random loss and reordering.
    pub(super) fn lossy(one_way_ms: u64, mbit: u64, loss_percent: f64, reorder_percent: f64) -> Self {
        Self { loss_percent, reorder_percent, ..Self::clean(one_way_ms, mbit) }
    }
}

/// A direction at work. Times are since the beginning of the run.
pub(super) struct Pipe {
    pub(super) link: Link,
    free_at: Duration,
    last_due: Duration,
    random: u64,
    sent: u64,
    dropped: u64,
    queue_sum: Duration,
    queue_max: Duration,
}

impl Pipe {
    pub(super) fn new(link: Link, seed: u64) -> Self {
        let random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let zero = Duration::ZERO;
        Self { link, free_at: zero, last_due: zero, random, sent: 0, dropped: 0, queue_sum: zero, queue_max: zero }
    }

    fn percent(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1u64 << 53) as f64 * 100.0
    }

    /// When a datagram of `bytes` that is sent at `now` arrives, if it does. May mark it.
    pub(super) fn carry(&mut self, now: Duration, bytes: usize, ecn: &mut Option<EcnCodepoint>) -> Option<Duration> {
        if self.percent() < self.link.loss_percent {
            return None;
        }
        let mut leaves = now;
        if let Some(sending) = (bytes as u64 * 1_000_000_000).checked_div(self.link.rate) {
            self.free_at = self.free_at.max(now);
            let queue = self.free_at.saturating_sub(now);
            self.sent += 1;
            self.queue_sum += queue;
            self.queue_max = self.queue_max.max(queue);
            if queue > self.link.queue {
                self.dropped += 1;
                return None;
            }
            if self.link.mark.is_some_and(|mark| queue > mark) && ecn.is_some() {
                *ecn = Some(EcnCodepoint::Ce);
            }
            self.free_at += Duration::from_nanos(sending);
            leaves = self.free_at;
        }
        let mut due = leaves + self.link.one_way;
        if !self.link.jitter.is_zero() {
            due = (due + self.link.jitter.mul_f64(self.percent() / 100.0)).max(self.last_due);
            self.last_due = due;
        }
        if self.percent() < self.link.reorder_percent {
            due += self.link.one_way / 2 + Duration::from_millis(2);
        }
        Some(due)
    }

    /// The average and the longest queue that datagrams met since [`Pipe::forget`].
    pub(super) fn queues(&self) -> (Duration, Duration) {
        (self.queue_sum / u32::try_from(self.sent).unwrap_or(u32::MAX).max(1), self.queue_max)
    }

    /// The share of datagrams that the full queue has dropped since [`Pipe::forget`], in percent.
    pub(super) fn dropped_percent(&self) -> f64 {
        self.dropped as f64 * 100.0 / self.sent.max(1) as f64
    }

    /// Starts the statistics anew.
    pub(super) fn forget(&mut self) {
        (self.sent, self.dropped, self.queue_sum, self.queue_max) = (0, 0, Duration::ZERO, Duration::ZERO);
    }
}
