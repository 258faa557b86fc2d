//! The controller of long paths: how fast the path delivers, how long a packet takes without a queue, and a window of
//! what fits on such a path. Called by [`super::PathController`].
//!
//! It is of the family of BBR (draft-ietf-ccwg-bbr), with two differences. quinn-proto paces by the window, so the window
//! alone must keep the queue short: it is close to one bandwidth-delay product, where BBR allows two. And a loss counts
//! as congestion only if there is a queue as well, or if it is far more than radio or reordering explains.

use super::{
    rate::MaxRate,
    round::{Round, RoundReport},
    rtt::PathRtt,
};
use std::time::{Duration, Instant};

/// Least packets of a window (draft-ietf-ccwg-bbr: `MinPipeCwnd`).
const MIN_PACKETS: u64 = 4;
/// Least packets after persistent congestion (RFC 9002 section 7.6.2).
const PERSISTENT_PACKETS: u64 = 2;
/// Packets on top of what fits. A constant for every flow draws the shares of a link together.
const SLACK_PACKETS: u64 = 3;
/// Most bytes of a window, beyond any path.
const MAX_WINDOW: u64 = 1 << 30;
/// Startup goes on while a round delivers this much of what the best one did, in percent (draft-ietf-ccwg-bbr).
const STARTUP_GROWTH_PERCENT: u64 = 125;
/// Rounds without such growth after which the path counts as full (draft-ietf-ccwg-bbr).
const FLAT_ROUNDS: u8 = 3;
/// A raise goes on while the rate grows to this much, in percent.
const PROBE_UP_GROWTH_PERCENT: u64 = 110;
/// Losses of a round that are congestion if there is a queue, in percent (draft-ietf-ccwg-bbr: `LossThresh`).
const LOSS_PERCENT: u64 = 2;
/// Losses of a round that are congestion without one (policers, very short buffers), in percent and in packets.
const HEAVY_LOSS_PERCENT: u64 = 15;
const HEAVY_LOSS_PACKETS: u64 = 8;
/// What congestion leaves of the window, in percent: after loss as CUBIC (RFC 9438), after a mark as RFC 8511.
const LOSS_KEEPS_PERCENT: u64 = 70;
const MARK_KEEPS_PERCENT: u64 = 85;
/// A ceiling that congestion has set rises by this fraction each round without congestion.
const CEILING_FRACTION: u64 = 32;
/// Probing cycles before a flow asks again whether the queue is its own.
const COMPETING_CYCLES: u8 = 30;
/// Most rounds that a queue of our own takes to leave.
const DRAIN_ROUNDS: u8 = 2;
/// Rounds between probes, and how many more there may be.
const CRUISE_ROUNDS: u8 = 4;
const CRUISE_EXTRA: u64 = 4;
/// How long the queue is kept empty to measure the path anew (draft-ietf-ccwg-bbr: `ProbeRTTDuration`).
const PROBE_RTT: Duration = Duration::from_millis(200);

/// State of the model. Lengths are in rounds.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Doubles each round, until the path is full.
    Startup { best: u64, flat: u8, full: bool },
    /// Lets a queue go. `rate` is what is sent meanwhile; `stale` says that higher rates were of another time.
    Drain { left: u8, rate: u64, stale: bool },
    /// Sends what the path delivers.
    Cruise { left: u8 },
    /// Sends more than `from`, the rate so far. What its first round sends is acknowledged in the second.
    ProbeUp { from: u64, first: bool },
    /// Halves the window, to measure the round-trip time again.
    ProbeRtt { until: Instant },
}

#[derive(Clone, Debug)]
pub(super) struct Model {
    mtu: u64,
    window: u64,
    state: State,
    rtt: PathRtt,
    round: Round,
    rates: MaxRate,
    /// Limit of the window after congestion.
    ceiling: u64,
    /// Time of the last reaction to congestion. Losses of packets sent before belong to it.
    answered: Option<Instant>,
    /// Remaining cycles in which a queue counts as that of competing flows, which would starve this one if it backed off.
    competing: u8,
}

impl Model {
    /// The model of a path of which nothing is known. `mtu` and `window` in bytes.
    pub(super) fn new(now: Instant, mtu: u64, window: u64) -> Self {
        Self {
            mtu,
            window,
            state: STARTUP,
            rtt: PathRtt::new(now),
            round: Round::new(now),
            rates: MaxRate::default(),
            ceiling: MAX_WINDOW,
            answered: None,
            competing: 0,
        }
    }

    pub(super) fn window(&self) -> u64 {
        self.window
    }

    pub(super) fn shortest_rtt(&self) -> Option<Duration> {
        self.rtt.shortest()
    }

    pub(super) fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.round.acked(now, sent, bytes);
    }

    /// All packets of an acknowledgement were reported; `in_flight` bytes remain.
    pub(super) fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool) {
        let Some((bytes, rtt)) = self.round.end_batch(now, in_flight, app_limited, self.window) else { return };
        self.rtt.sample(now, rtt);
        if let State::Startup { best, flat, full: false } = self.state {
            // A window that is not used says nothing about the path (RFC 9002 section 7.8). Half is use: while it
            // doubles, it is always ahead of what the pacer has let out.
            if self.window < in_flight.saturating_add(bytes).saturating_mul(2) {
                self.limit(self.window.saturating_add(bytes));
            }
            self.state = State::Startup { best, flat, full: self.rtt.is_queue_building() };
        }
        if let Some(report) = self.round.finish(now) {
            self.on_round(now, &report);
        }
    }

    /// Packets were lost, or marked by a router if `lost_bytes` is 0.
    pub(super) fn on_congestion_event(&mut self, now: Instant, sent: Instant, persistent: bool, lost_bytes: u64) {
        if persistent {
            self.restart(now);
        } else if self.answered.is_none_or(|answered| sent > answered) {
            self.round.lost(lost_bytes);
        }
    }

    pub(super) fn on_mtu_update(&mut self, mtu: u64) {
        self.mtu = mtu;
        self.limit(self.window);
    }

    /// Nothing arrived for long: what was known of the path holds no more (RFC 9002 section 7.6.2).
    fn restart(&mut self, now: Instant) {
        *self = Self { rtt: self.rtt.clone(), ..Self::new(now, self.mtu, self.mtu.saturating_mul(PERSISTENT_PACKETS)) };
    }

    fn on_round(&mut self, now: Instant, report: &RoundReport) {
        if report.app_limited {
            self.rates.push_lower_bound(report.rate);
        } else {
            self.rates.push(report.rate);
        }
        let congested = self.answer_congestion(now, report);
        if self.rtt.is_calm(report.floor) {
            self.competing = 0;
        }
        self.state = match self.state {
            State::Startup { best, flat, full } => self.after_startup(report, best, flat, full || congested),
            State::ProbeRtt { until } if now < until => self.state,
            State::ProbeRtt { .. } => {
                self.rtt.renew(now, report.floor);
                self.competing = 0;
                self.cruise()
            }
            state if self.rtt.is_stale(now) => {
                if report.app_limited {
                    self.rtt.renew(now, report.floor);
                    state
                } else {
                    State::ProbeRtt { until: now + PROBE_RTT.max(report.floor) }
                }
            }
            State::Drain { left, rate, stale } => self.after_drain(report, left, rate, stale),
            State::Cruise { left } => self.after_cruise(report, left),
            State::ProbeUp { .. } if congested => self.drain(),
            State::ProbeUp { from, first } => self.after_probe_up(from, first),
        };
        self.size();
    }

    /// Returns whether the round shows congestion; if so, lowers the limit of the window.
    fn answer_congestion(&mut self, now: Instant, report: &RoundReport) -> bool {
        let percent = report.lost.saturating_mul(100) / report.lost.saturating_add(report.delivered).max(1);
        let full = self.rtt.is_full(report.floor + report.spread);
        let dropped = full && percent >= LOSS_PERCENT && report.lost > 2 * self.mtu
            || percent >= HEAVY_LOSS_PERCENT && report.lost >= HEAVY_LOSS_PACKETS * self.mtu;
        if !dropped && !report.marked {
            self.ceiling = self.ceiling.saturating_add(self.ceiling / CEILING_FRACTION).min(MAX_WINDOW);
            return false;
        }
        let keeps = if dropped { LOSS_KEEPS_PERCENT } else { MARK_KEEPS_PERCENT };
        self.ceiling = (self.window.min(report.volume) * keeps / 100).max(self.least());
        self.answered = Some(now);
        true
    }

    fn after_startup(&self, report: &RoundReport, best: u64, flat: u8, full: bool) -> State {
        if full {
            self.drain()
        } else if report.app_limited {
            State::Startup { best, flat, full }
        } else if report.rate.saturating_mul(100) >= best.saturating_mul(STARTUP_GROWTH_PERCENT) {
            State::Startup { best: report.rate, flat: 0, full }
        } else if flat + 1 < FLAT_ROUNDS {
            State::Startup { best, flat: flat + 1, full }
        } else {
            self.drain()
        }
    }

    fn after_drain(&mut self, report: &RoundReport, left: u8, rate: u64, stale: bool) -> State {
        if self.rtt.is_calm(report.floor) {
            if stale {
                self.rates.replace(rate.max(report.rate));
            }
        } else if left > 1 {
            return State::Drain { left: left - 1, rate, stale };
        } else if self.rtt.is_queued(report.floor) {
            // We left, and the queue stayed: it is not ours, or the path has become longer.
            self.competing = COMPETING_CYCLES;
        }
        self.cruise()
    }

    fn after_cruise(&mut self, report: &RoundReport, left: u8) -> State {
        if self.competing == 0 && self.rtt.is_queued(report.floor) {
            // The path has become slower, or other flows have come. The latest rate tells what is left for us.
            return State::Drain { left: DRAIN_ROUNDS, rate: report.rate, stale: true };
        }
        self.rtt.spread(report.spread);
        if report.app_limited {
            self.state
        } else if left > 0 {
            State::Cruise { left: left - 1 }
        } else {
            State::ProbeUp { from: self.rates.highest(), first: true }
        }
    }

    fn after_probe_up(&mut self, from: u64, first: bool) -> State {
        let rate = self.rates.highest();
        if first {
            return State::ProbeUp { from, first: false };
        }
        if rate.saturating_mul(100) >= from.saturating_mul(PROBE_UP_GROWTH_PERCENT) {
            return State::ProbeUp { from: rate, first: false };
        }
        self.competing = self.competing.saturating_sub(1);
        if self.competing > 0 { self.cruise() } else { self.drain() }
    }

    fn drain(&self) -> State {
        State::Drain { left: DRAIN_ROUNDS, rate: self.rates.highest(), stale: false }
    }

    fn cruise(&self) -> State {
        // Flows of one link must not all probe at once. The low digits of their rates differ.
        State::Cruise { left: CRUISE_ROUNDS + (self.rates.highest() % CRUISE_EXTRA) as u8 }
    }

    /// Sets the window to the bandwidth-delay product, scaled by the state.
    fn size(&mut self) {
        let (rate, percent) = match self.state {
            State::Startup { .. } => return self.limit(self.window),
            State::Drain { rate, .. } => (rate, 90),
            State::Cruise { .. } => (self.rates.highest(), 105),
            State::ProbeUp { .. } => (self.rates.highest(), 125),
            State::ProbeRtt { .. } => (self.rates.highest(), 50),
        };
        let Some(calm) = self.rtt.calm(self.competing > 0) else { return };
        let micros = u64::try_from(calm.as_micros()).unwrap_or(u64::MAX);
        let fits = rate.saturating_mul(micros) / 1_000_000;
        self.limit((fits.saturating_mul(percent) / 100).saturating_add(SLACK_PACKETS * self.mtu));
    }

    fn limit(&mut self, window: u64) {
        self.window = window.min(self.ceiling).clamp(self.least(), MAX_WINDOW);
    }

    fn least(&self) -> u64 {
        self.mtu.saturating_mul(MIN_PACKETS)
    }
}

const STARTUP: State = State::Startup { best: 0, flat: 0, full: false };

#[cfg(test)]
mod tests;
