//! Limits what one connection buffers for its client, and detects clients that stall.
//!
//! quinn-proto buffers written bytes until they are acknowledged, up to a window that is set here; the session queues the
//! rest. Both limits follow the delivery rate of the path: megabytes for a fast client, little for one that is slow or gone.
//! Called by `endpoint` once for each turn of a connection.

use super::congestion::PathLog;
use crate::budget::{LEAST, ResponseBudget};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Minimum and initial limit of the buffered bytes of a connection.
pub(crate) const INITIAL_BUFFER: u64 = 256 * 1024;
/// Maximum limit of the buffered bytes of a connection.
pub(crate) const MAX_BUFFER: u64 = 8 * 1024 * 1024;
/// Round trips of data to buffer. quinn-proto holds two thirds: one in flight, one to be there when the window opens, and two
/// behind a lost packet, because what follows it is kept until it is acknowledged. The rest is on its way from the backend.
const ROUND_TRIPS: u64 = 6;
/// What the streams may have on their way from their backends: one part of so many.
const STREAMS_PART: u64 = 3;
/// On paths shorter than this the round-trip time is mostly the scheduling of the hosts, and a congestion window says
/// little; the rate is measured over this time instead.
const SHORT_PATH: Duration = Duration::from_millis(2);

/// Bytes that quinn-proto may hold at the beginning.
const INITIAL_WINDOW: u64 = INITIAL_BUFFER - INITIAL_BUFFER / STREAMS_PART;

/// Minimum of the bytes of one response that may be buffered between backend and client.
const LEAST_STREAM: u64 = 16 * 1024;

/// Properties of a path, as quinn-proto measures them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    /// Congestion window, bytes.
    pub(crate) window: u64,
    /// Minimum round-trip time.
    pub(crate) min_rtt: Duration,
}

/// Computes how much a connection may buffer.
#[derive(Clone, Debug)]
struct Allowance {
    /// Start of the current measurement, and the bytes acknowledged by then.
    since: Instant,
    acknowledged: u64,
    /// Bytes delivered in `SHORT_PATH`: the best of the recent measurements.
    delivered: u64,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { since: now, acknowledged: 0, delivered: 0 }
    }

    /// Returns the limit. `acknowledged`: the bytes acknowledged so far.
    fn bytes(&mut self, now: Instant, acknowledged: u64, path: Path) -> u64 {
        let mut in_flight = path.window;
        if path.min_rtt < SHORT_PATH {
            self.measure(now, acknowledged);
            in_flight = in_flight.min(self.delivered);
        }
        in_flight.saturating_mul(ROUND_TRIPS).clamp(INITIAL_BUFFER, MAX_BUFFER)
    }

    fn measure(&mut self, now: Instant, acknowledged: u64) {
        let took = now.saturating_duration_since(self.since);
        if took < SHORT_PATH {
            return;
        }
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        let bytes =
            acknowledged.saturating_sub(self.acknowledged).saturating_mul(SHORT_PATH.as_micros() as u64) / micros;
        self.delivered = bytes.max(self.delivered - self.delivered / 8);
        (self.since, self.acknowledged) = (now, acknowledged);
    }
}

/// State of the stall timeout: how long the client has acknowledged nothing.
#[derive(Clone, Copy, Debug, Default)]
struct Stall {
    /// `None` while no acknowledgement is expected.
    since: Option<Instant>,
    acknowledged: u64,
    /// Number of STREAM frames sent by the time when nothing was in flight.
    frames: u64,
    /// A PING was sent after half of the timeout; its acknowledgement shows that the client is there.
    is_pinged: bool,
}

/// Buffer limits and stall detection of one connection.
pub(crate) struct Outgoing {
    budget: Arc<ResponseBudget>,
    log: Arc<PathLog>,
    /// The log of the previous path, to which quinn-proto returns if the new path fails.
    earlier: Option<Arc<PathLog>>,
    /// Bytes acknowledged on earlier paths.
    older: u64,
    stall_timeout: Duration,
    stall: Stall,
    allowance: Allowance,
    /// Limit of buffered bytes.
    allowed: u64,
    /// Send window of quinn-proto, a part of `allowed`.
    window: u64,
    /// Bytes written and acknowledged when quinn-proto last buffered nothing.
    base: (u64, u64),
    /// quinn-proto holds no more than this, whatever the count of acknowledged bytes misses: the window, or what is left of
    /// a larger one before; and what was acknowledged when it was set.
    most: (u64, u64),
    /// Bytes counted in the budget.
    charged: u64,
}

impl Outgoing {
    pub(crate) fn new(budget: Arc<ResponseBudget>, log: Arc<PathLog>, stall_timeout: Duration, now: Instant) -> Self {
        Self {
            budget,
            log,
            earlier: None,
            older: 0,
            stall_timeout,
            stall: Stall::default(),
            allowance: Allowance::new(now),
            allowed: INITIAL_BUFFER,
            window: INITIAL_WINDOW,
            base: (0, 0),
            most: (INITIAL_WINDOW, 0),
            charged: 0,
        }
    }

    /// Returns whether packets were lost since the last call.
    pub(crate) fn take_loss(&self) -> bool {
        self.log.take_loss()
    }

    /// Follows a client to a new path, whose acknowledgements are in `log`.
    pub(crate) fn follow(&mut self, log: Arc<PathLog>) {
        let before = std::mem::replace(&mut self.log, log);
        if let Some(earlier) = self.earlier.replace(before) {
            self.older += earlier.acknowledged();
        }
    }

    fn acknowledged(&self) -> u64 {
        self.older + self.log.acknowledged() + self.earlier.as_ref().map_or(0, |log| log.acknowledged())
    }

    fn take_clear(&self) -> bool {
        self.log.take_clear() | self.earlier.as_ref().is_some_and(|log| log.take_clear())
    }

    /// Returns the new send window of quinn-proto if it has changed. Must be called after datagrams were handled, before any
    /// is sent. `frames`: the number of STREAM frames sent so far.
    pub(crate) fn resize(&mut self, now: Instant, path: Path, frames: impl FnOnce() -> u64) -> Option<u64> {
        let acknowledged = self.acknowledged();
        if self.take_clear() {
            self.stall = Stall { frames: frames(), acknowledged, ..Stall::default() };
        } else if acknowledged > self.stall.acknowledged {
            self.stall = Stall { since: Some(now), acknowledged, is_pinged: false, ..self.stall };
        }
        self.allowed = self.allowance.bytes(now, acknowledged, path).min(self.budget.share());
        let window = (self.allowed - self.allowed / STREAMS_PART).max(LEAST);
        let left = self.most.0.saturating_sub(acknowledged.saturating_sub(self.most.1));
        self.most = (left.max(window), acknowledged);
        (std::mem::replace(&mut self.window, window) != window).then_some(window)
    }

    /// Updates the buffered bytes in the budget. `written`: total bytes written to quinn-proto; `waiting`: bytes in backlogs;
    /// `is_empty`: everything written is acknowledged.
    pub(crate) fn update_buffered(
        &mut self,
        now: Instant,
        written: u64,
        waiting: u64,
        is_empty: bool,
        frames: impl FnOnce() -> u64,
    ) {
        let acknowledged = self.acknowledged();
        if is_empty {
            self.base = (written, acknowledged);
        } else if self.stall.since.is_none() && frames() > self.stall.frames {
            self.stall.since = Some(now);
        }
        let held = (written - self.base.0).saturating_sub(acknowledged - self.base.1).min(self.most.0);
        self.budget.change(std::mem::replace(&mut self.charged, held + waiting), held + waiting);
    }

    /// Bytes of one response that may be buffered between backend and client, with this many open streams.
    pub(crate) fn stream_share(&self, streams: usize) -> usize {
        let share = self.allowed / STREAMS_PART / (streams.max(1) as u64);
        usize::try_from(share.max(LEAST_STREAM)).unwrap_or(usize::MAX)
    }

    /// When [`Outgoing::on_time`] must be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let wait = if self.stall.is_pinged { self.stall_timeout } else { self.stall_timeout / 2 };
        self.stall.since.map(|since| since + wait)
    }

    /// Checks whether the client has stalled.
    pub(crate) fn on_time(&mut self, now: Instant) -> StallCheck {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            StallCheck::Ok
        } else if std::mem::replace(&mut self.stall.is_pinged, true) {
            self.stall.since = None;
            StallCheck::Close
        } else {
            StallCheck::Ping
        }
    }
}

/// What to do about a client that acknowledges nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StallCheck {
    /// Keep waiting.
    Ok,
    /// Send a PING, to find out whether the client is still there.
    Ping,
    /// Close the connection.
    Close,
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.budget.change(self.charged, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Path = Path { window: 40_000, min_rtt: Duration::from_millis(50) };

    fn outgoing(cap: u64, now: Instant) -> (Arc<ResponseBudget>, Arc<PathLog>, Outgoing) {
        let (budget, log) = (Arc::new(ResponseBudget::new(cap)), Arc::new(PathLog::default()));
        (budget.clone(), log.clone(), Outgoing::new(budget, log, Duration::from_secs(30), now))
    }

    #[test]
    fn the_window_follows_the_path_between_its_bounds() {
        let now = Instant::now();
        let (.., mut outgoing) = outgoing(1 << 30, now);
        assert_eq!(outgoing.resize(now, LONG, || 0), None, "it begins with the least");
        let faster = Path { window: 1_000_000, ..LONG };
        assert_eq!(outgoing.resize(now, faster, || 0), Some(4_000_000));
        assert_eq!(outgoing.resize(now, Path { window: 1 << 30, ..LONG }, || 0), Some(MAX_BUFFER - MAX_BUFFER / 3));
        assert_eq!(outgoing.resize(now, LONG, || 0), Some(INITIAL_WINDOW));
    }

    #[test]
    fn a_large_congestion_window_on_a_short_path_is_no_delivery() {
        let mut now = Instant::now();
        let (_, log, mut outgoing) = outgoing(1 << 30, now);
        let path = Path { window: 50_000_000, min_rtt: Duration::from_micros(80) };
        assert_eq!(outgoing.resize(now, path, || 0), None);
        for _ in 0..10 {
            now += SHORT_PATH;
            log.on_ack(40_000); // 20 MB/s
            assert_eq!(outgoing.resize(now, path, || 0), None);
        }
        now += SHORT_PATH;
        log.on_ack(250_000); // 125 MB/s
        let grown = outgoing.resize(now, path, || 0).expect("a larger window");
        assert!((900_000..1_050_000).contains(&grown), "{grown}");
    }

    #[test]
    fn streams_share_a_third_of_it() {
        let now = Instant::now();
        let (.., mut outgoing) = outgoing(1 << 30, now);
        assert_eq!([1, 4, 100].map(|streams| outgoing.stream_share(streams)), [87_381, 21_845, 16 << 10]);
        outgoing.resize(now, Path { window: 1_000_000, ..LONG }, || 0);
        assert_eq!(outgoing.stream_share(4), 500_000);
    }

    #[test]
    fn the_budget_counts_what_is_held_and_gets_it_back() {
        let now = Instant::now();
        let (budget, log, mut outgoing) = outgoing(1 << 20, now);
        outgoing.update_buffered(now, 100_000, 50_000, false, || 0);
        assert_eq!(budget.used(), 150_000);
        log.on_ack(90_000);
        outgoing.update_buffered(now, 100_000, 0, false, || 0);
        assert!((10_000..12_000).contains(&budget.used()), "{}", budget.used());
        outgoing.update_buffered(now, 100_000, 0, true, || 0);
        assert_eq!(budget.used(), 0);
        outgoing.update_buffered(now, 100_000 + (9 << 20), 0, false, || 0);
        assert_eq!(budget.used(), INITIAL_WINDOW, "quinn-proto buffers no more than its window");
        drop(outgoing);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_was_acknowledged_counts_wherever_the_client_is() {
        let now = Instant::now();
        let (budget, log, mut outgoing) = outgoing(1 << 20, now);
        let (second, third) = (Arc::new(PathLog::default()), Arc::new(PathLog::default()));
        outgoing.update_buffered(now, 50_000, 0, false, || 0);
        log.on_ack(10_064);
        outgoing.follow(second.clone());
        second.on_ack(10_064);
        outgoing.follow(third.clone());
        third.on_ack(10_064);
        second.on_ack(10_064); // quinn-proto went back to it
        outgoing.update_buffered(now, 50_000, 0, false, || 0);
        assert_eq!(budget.used(), 10_000);
    }

    #[test]
    fn windows_shrink_when_the_budget_is_used_up() {
        let now = Instant::now();
        let (budget, _, mut outgoing) = outgoing(8 << 20, now);
        budget.change(0, 7 << 20);
        assert_eq!(outgoing.resize(now, LONG, || 0), Some((1 << 20) / 16 - (1 << 20) / 48));
        budget.change(0, 7 << 20);
        assert_eq!(outgoing.resize(now, LONG, || 0), Some(LEAST));
    }

    #[test]
    fn a_client_is_stalled_that_acknowledges_nothing_of_what_was_sent() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (_, log, mut outgoing) = outgoing(1 << 20, start);
        outgoing.update_buffered(at(1), 1000, 0, false, || 0);
        assert_eq!(outgoing.deadline(), None, "nothing was sent");
        outgoing.update_buffered(at(50), 1000, 0, false, || 1);
        log.on_ack(40);
        outgoing.resize(at(60), LONG, || 1);
        assert_eq!(outgoing.on_time(at(64)), StallCheck::Ok);
        assert_eq!(outgoing.on_time(at(65)), StallCheck::Ping, "an empty packet was acknowledged, no data");
        log.on_ack(1000);
        outgoing.resize(at(66), LONG, || 1);
        outgoing.resize(at(70), LONG, || 1); // a turn in which nothing was acknowledged
        assert_eq!(outgoing.on_time(at(81)), StallCheck::Ping);
        assert_eq!(outgoing.on_time(at(95)), StallCheck::Ok);
        assert_eq!(outgoing.on_time(at(96)), StallCheck::Close);
    }

    #[test]
    fn a_client_with_nothing_to_acknowledge_is_not_stalled() {
        let start = Instant::now();
        let (_, log, mut outgoing) = outgoing(1 << 20, start);
        outgoing.update_buffered(start, 1000, 0, false, || 1);
        log.on_end_acks(0);
        outgoing.resize(start, LONG, || 1);
        outgoing.update_buffered(start + Duration::from_secs(99), 1000, 0, false, || 1);
        assert_eq!(outgoing.deadline(), None);
        outgoing.update_buffered(start + Duration::from_secs(100), 2000, 0, false, || 2);
        assert_eq!(outgoing.deadline(), Some(start + Duration::from_secs(115)));
    }
}
