//! Round trips and what happened in each. Used by the model alone.

use std::time::{Duration, Instant};

/// Most volume of a round that still counts as "the application was the limit", as a share of the window (in eighths).
const UNUSED_EIGHTHS: u64 = 6;

/// Counts one round trip: it ends with the acknowledgement of a packet that was sent after it began.
///
/// Rounds go by send times, which `Controller::on_ack` reports, not by packet numbers: those start anew in each
/// packet number space.
#[derive(Clone, Debug)]
pub(super) struct Round {
    began: Instant,
    /// When the newest packet was sent whose acknowledgement ended the last round.
    began_sent: Instant,
    newest_sent: Instant,
    delivered: u64,
    lost: u64,
    marked: bool,
    app_limited: bool,
    volume: u64,
    packets: u64,
    rtt_sum: Duration,
    floor: Duration,
    batch: u64,
    batch_newest: Option<Instant>,
}

/// What one round trip has shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoundReport {
    /// Bytes per second that arrived.
    pub(super) rate: u64,
    /// Bytes that arrived.
    pub(super) delivered: u64,
    /// Bytes that were lost.
    pub(super) lost: u64,
    /// Whether a router marked a packet (ECN CE).
    pub(super) marked: bool,
    /// Whether the application, not the window, was the limit.
    pub(super) app_limited: bool,
    /// Most bytes that were in flight.
    pub(super) volume: u64,
    /// The shortest round-trip time of its packets.
    pub(super) floor: Duration,
    /// How much longer than the shortest the average one took: jitter and collected acknowledgements.
    pub(super) spread: Duration,
}

impl Round {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            began_sent: now,
            newest_sent: now,
            delivered: 0,
            lost: 0,
            marked: false,
            app_limited: false,
            volume: 0,
            packets: 0,
            rtt_sum: Duration::ZERO,
            floor: Duration::MAX,
            batch: 0,
            batch_newest: None,
        }
    }

    /// One packet arrived.
    pub(super) fn acked(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.delivered = self.delivered.saturating_add(bytes);
        self.batch = self.batch.saturating_add(bytes);
        self.batch_newest = self.batch_newest.max(Some(sent));
        self.packets = self.packets.saturating_add(1);
        self.rtt_sum = self.rtt_sum.saturating_add(now.saturating_duration_since(sent));
    }

    /// Ends a batch of acknowledgements. Gives its bytes and the round-trip time of its newest packet.
    pub(super) fn end_batch(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        window: u64,
    ) -> Option<(u64, Duration)> {
        let newest = self.batch_newest.take()?;
        let bytes = std::mem::take(&mut self.batch);
        let volume = in_flight.saturating_add(bytes);
        self.volume = self.volume.max(volume);
        self.app_limited |= app_limited && volume.saturating_mul(8) < window.saturating_mul(UNUSED_EIGHTHS);
        self.newest_sent = self.newest_sent.max(newest);
        let rtt = now.saturating_duration_since(newest);
        self.floor = self.floor.min(rtt);
        Some((bytes, rtt))
    }

    /// Packets of `bytes` were lost; none means that one was marked.
    pub(super) fn lost(&mut self, bytes: u64) {
        self.lost = self.lost.saturating_add(bytes);
        self.marked |= bytes == 0;
    }

    /// Begins the next round if this one is over, and reports on it.
    pub(super) fn finish(&mut self, now: Instant) -> Option<RoundReport> {
        if self.newest_sent < self.began || now <= self.began {
            return None;
        }
        // Acknowledgements that were held up on the way and come together would look like a fast path; what was
        // acknowledged was not sent faster than this (draft-ietf-ccwg-bbr, section 4.1.1.4).
        let took = (now - self.began).max(self.newest_sent.saturating_duration_since(self.began_sent));
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let average = self.rtt_sum.checked_div(u32::try_from(self.packets).unwrap_or(u32::MAX)).unwrap_or_default();
        let report = RoundReport {
            rate: self.delivered.saturating_mul(1_000_000) / micros,
            delivered: self.delivered,
            lost: self.lost,
            marked: self.marked,
            app_limited: self.app_limited,
            volume: self.volume,
            floor: self.floor,
            spread: average.saturating_sub(self.floor),
        };
        let newest_sent = self.newest_sent;
        *self = Self { began_sent: newest_sent, newest_sent, ..Self::new(now) };
        Some(report)
    }
}
