//! What one connection buffers for its client: how much it may, how much it does, and whether the client still takes it.
//!
//! quinn-proto holds what was written until it is acknowledged, up to a window that we set; what it does not take waits in
//! the session. Both together follow what the path delivers: a client that reads fast has megabytes under way, one that
//! vanishes or never acknowledges costs what a slow path needs. Called by `endpoint` once for each turn of a connection.

use super::congestion::PathLog;
use crate::budget::{LEAST, ResponseBudget};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// What a connection may buffer before it is known what its path delivers, and on any path.
pub(crate) const INITIAL_BUFFER: u64 = 256 * 1024;
/// The most that a connection may buffer: with half of it in flight 500 Mbit/s at 60 ms.
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

/// Bytes of one answer that may be on their way from its backend, however many answers the connection has under way.
const LEAST_STREAM: u64 = 16 * 1024;

/// What quinn-proto knows of a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Path {
    /// Bytes that may be in flight.
    pub(crate) window: u64,
    /// The shortest round-trip time.
    pub(crate) min_rtt: Duration,
}

/// How much a connection may buffer.
#[derive(Clone, Debug)]
struct Allowance {
    /// When the last measurement began, and what had been acknowledged.
    since: Instant,
    acknowledged: u64,
    /// Bytes delivered in `SHORT_PATH`: the best of the recent measurements.
    delivered: u64,
}

impl Allowance {
    fn new(now: Instant) -> Self {
        Self { since: now, acknowledged: 0, delivered: 0 }
    }

    /// Bytes, given all that was acknowledged so far.
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

/// Since when the client has acknowledged nothing of what was sent.
#[derive(Clone, Copy, Debug, Default)]
struct Stall {
    /// Nothing is waited for while this is `None`.
    since: Option<Instant>,
    acknowledged: u64,
    /// STREAM frames that had been sent when nothing was in flight.
    frames: u64,
    /// A PING was sent half-way: its acknowledgement shows whether anything was really missing.
    is_pinged: bool,
}

/// The bytes on their way to one client.
pub(crate) struct Outgoing {
    budget: Arc<ResponseBudget>,
    log: Arc<PathLog>,
    /// That of the path before; quinn-proto returns to it if the new one fails.
    earlier: Option<Arc<PathLog>>,
    /// What the paths before that have acknowledged.
    older: u64,
    stall_timeout: Duration,
    stall: Stall,
    allowance: Allowance,
    /// Bytes that it may buffer.
    allowed: u64,
    /// quinn-proto's part of them.
    window: u64,
    /// What had been written and acknowledged when quinn-proto last held nothing.
    base: (u64, u64),
    /// quinn-proto holds no more than this, whatever the count of acknowledged bytes misses: the window, or what is left of
    /// a larger one before; and what was acknowledged when it was set.
    most: (u64, u64),
    /// What the budget counts.
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

    /// The client has moved: acknowledgements are told to this log, or to the one before.
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

    /// The window for quinn-proto, if it has changed. To be asked after datagrams were taken, before anything is sent.
    /// `frames`: the STREAM frames that were sent so far.
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

    /// Notes what the connection holds after all was sent that could be: `written` to quinn-proto since it began, and what
    /// waits for quinn-proto. `is_empty`: all that was written is acknowledged.
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

    /// Bytes of one answer that may be on their way from its backend, with so many under way on the connection: what the
    /// engine may not hold, divided evenly.
    pub(crate) fn stream_share(&self, streams: usize) -> usize {
        let share = self.allowed / STREAMS_PART / (streams.max(1) as u64);
        usize::try_from(share.max(LEAST_STREAM)).unwrap_or(usize::MAX)
    }

    /// When [`Outgoing::on_time`] has something to say.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let wait = if self.stall.is_pinged { self.stall_timeout } else { self.stall_timeout / 2 };
        self.stall.since.map(|since| since + wait)
    }

    /// What has come of a client that acknowledges nothing.
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
        assert_eq!(budget.used(), INITIAL_WINDOW, "the engine takes no more than its window");
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
        second.on_ack(10_064); // the engine went back to it
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
