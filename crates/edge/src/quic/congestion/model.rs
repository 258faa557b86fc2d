//! The controller of long paths: a model of the path (delivery rate, round-trip time without queues), and a window
//! of what the model says fits on the path. Called by [`super::PathController`].

use super::{
    rate::MaxRate,
    round::{Round, RoundReport},
    rtt::PathRtt,
};
use std::time::{Duration, Instant};

/// Least packets of a window (draft-ietf-ccwg-bbr: `MinPipeCwnd`).
const MIN_PACKETS: u64 = 4;
/// Packets on top of what fits: the same for every flow, which draws shares together.
const SLACK_PACKETS: u64 = 3;
/// Most bytes of a window, far beyond any path.
const MAX_WINDOW: u64 = 1 << 30;
/// Start-up goes on while a round's rate is this much of the best before (BBR: 1.25 over three rounds).
const STARTUP_GROWTH_PERCENT: u64 = 125;
/// Rounds without such growth that end the start-up.
const FLAT_ROUNDS: u8 = 3;
/// A probe that finds this much more rate goes on.
const RAISE_GROWTH_PERCENT: u64 = 110;
/// Loss above this, together with a queue, is a full link; below it is taken for noise (BBR: 2 %).
const LOSS_PERCENT: u64 = 2;
/// Loss above this is a full link whatever the round-trip times say.
const HEAVY_LOSS_PERCENT: u64 = 15;
/// Fewer lost packets than these are never heavy loss.
const HEAVY_LOSS_PACKETS: u64 = 8;
/// What remains of the window after loss by a full link (CUBIC: 70 %).
const BACKOFF_PERCENT: u64 = 70;
/// What remains after an ECN mark (RFC 8511: 85 %).
const MARK_BACKOFF_PERCENT: u64 = 85;
/// Probing cycles during which a queue that does not drain is taken for another sender's.
const COMPETING_CYCLES: u8 = 30;
/// Rounds in which an own queue is drained.
const DRAIN_ROUNDS: u8 = 2;
/// Least calm rounds between probes.
const CRUISE_ROUNDS: u8 = 4;
/// Share of what fits that is sent while a queue drains, and while more is looked for.
const DRAIN_PERCENT: u64 = 90;
const RAISE_PERCENT: u64 = 125;
/// Round trips within this share of the shortest are free of queues; beyond the other there is one.
const CALM_PERCENT: u32 = 125;
const QUEUED_PERCENT: u32 = 133;
/// Least excess of the round-trip time that counts as a queue in the start-up.
const QUEUE_SEEN: Duration = Duration::from_millis(2);
/// The bound that loss has set rises by this part of itself each round.
const CEILING_GROWTH: u64 = 32;
/// How long the window is small when the shortest round-trip time is measured again (BBR: `ProbeRTTDuration`).
const REFRESH: Duration = Duration::from_millis(200);

/// Where the model is in its cycle.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    Startup { best: u64, flat: u8, full: bool },
    Drain { left: u8, rate: u64, stale: bool },
    Cruise { left: u8 },
    Raise { from: u64, first: bool },
    Refresh { until: Instant },
}

/// The model of one path.
#[derive(Clone, Debug)]
pub(super) struct Model {
    mtu: u64,
    pub(super) window: u64,
    pub(super) phase: Phase,
    pub(super) rtt: PathRtt,
    round: Round,
    pub(super) rates: MaxRate,
    pub(super) ceiling: u64,
    pub(super) competing: u8,
    backed_off: Option<Instant>,
}

impl Model {
    pub(super) fn new(now: Instant, mtu: u64, window: u64) -> Self {
        Self {
            mtu,
            window,
            phase: Phase::Startup { best: 0, flat: 0, full: false },
            rtt: PathRtt::new(now),
            round: Round::new(now),
            rates: MaxRate::default(),
            ceiling: MAX_WINDOW,
            competing: 0,
            backed_off: None,
        }
    }

    pub(super) fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64) {
        self.round.acked(now, sent, bytes);
    }

    pub(super) fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool) {
        let Some((bytes, rtt)) = self.round.end_batch(now, in_flight, app_limited, self.window) else { return };
        self.rtt.sample(rtt);
        if let Phase::Startup { best, flat, full: false } = self.phase {
            if self.window < in_flight.saturating_add(bytes).saturating_mul(2) {
                self.set_window(self.window.saturating_add(bytes));
            }
            if self.is_queue_seen() {
                self.phase = Phase::Startup { best, flat, full: true };
            }
        }
        if let Some(report) = self.round.finish(now) {
            self.on_round(now, &report);
        }
    }

    pub(super) fn on_congestion(&mut self, now: Instant, sent: Instant, persistent: bool, lost: u64) {
        if self.backed_off.is_some_and(|at| sent <= at) && !persistent {
            return;
        }
        if lost == 0 {
            self.round.marked();
        }
        self.round.lost(lost);
        if persistent {
            self.restart(now);
        }
    }

    pub(super) fn on_mtu(&mut self, mtu: u64) {
        self.mtu = mtu;
        self.set_window(self.window);
    }

    fn restart(&mut self, now: Instant) {
        self.phase = Phase::Startup { best: 0, flat: 0, full: false };
        self.rates = MaxRate::default();
        self.round = Round::new(now);
        self.ceiling = MAX_WINDOW;
        self.competing = 0;
        self.window = self.mtu * 2;
    }

    fn is_queue_seen(&self) -> bool {
        match (self.rtt.recent(), self.rtt.base()) {
            (Some(recent), Some(shortest)) => recent >= shortest + (shortest / 8).max(QUEUE_SEEN),
            _ => false,
        }
    }

    fn on_round(&mut self, now: Instant, report: &RoundReport) {
        if report.app_limited {
            self.rates.push_lower_bound(report.rate);
        } else {
            self.rates.push(report.rate);
        }
        self.rtt.round(now, report.average, report.packets);
        let congested = self.judge(now, report);
        let shortest = self.rtt.base().unwrap_or_default();
        let calm = report.average <= shortest * CALM_PERCENT / 100 + Duration::from_millis(1);
        let queued = report.average > shortest * QUEUED_PERCENT / 100 + Duration::from_millis(1);
        if calm {
            self.competing = 0;
        }
        self.phase = match self.phase {
            Phase::Startup { best, flat, full } => {
                if full || congested {
                    self.drain()
                } else {
                    self.start_up(report, best, flat)
                }
            }
            Phase::Refresh { until } if now < until => self.phase,
            Phase::Refresh { .. } => {
                self.rtt.renew(now, report.floor, report.average);
                self.competing = 0;
                Phase::Cruise { left: 2 }
            }
            _ if self.rtt.is_stale(now) => {
                if report.app_limited {
                    self.rtt.renew(now, report.floor, report.average);
                    self.phase
                } else {
                    Phase::Refresh { until: now + REFRESH.max(shortest) }
                }
            }
            Phase::Drain { rate, stale, .. } if calm => {
                if stale {
                    self.rates.replace(rate.max(report.rate));
                }
                self.cruise()
            }
            Phase::Drain { left, rate, stale } if left > 1 => Phase::Drain { left: left - 1, rate, stale },
            Phase::Drain { .. } => {
                if queued {
                    self.competing = COMPETING_CYCLES;
                }
                self.cruise()
            }
            Phase::Cruise { .. } if queued && self.competing == 0 => {
                Phase::Drain { left: DRAIN_ROUNDS, rate: report.rate, stale: true }
            }
            Phase::Cruise { left } => {
                if report.app_limited {
                    self.phase
                } else if left > 0 {
                    Phase::Cruise { left: left - 1 }
                } else {
                    Phase::Raise { from: self.rates.highest(), first: true }
                }
            }
            Phase::Raise { .. } if congested => self.drain(),
            Phase::Raise { from, first: true } => Phase::Raise { from, first: false },
            Phase::Raise { from, .. } => self.after_probe(from),
        };
        self.size();
    }

    /// A round of the start-up is over: it goes on while the rate grows.
    fn start_up(&self, report: &RoundReport, best: u64, flat: u8) -> Phase {
        if report.app_limited {
            Phase::Startup { best, flat, full: false }
        } else if report.rate * 100 >= best * STARTUP_GROWTH_PERCENT {
            Phase::Startup { best: report.rate, flat: 0, full: false }
        } else if flat + 1 >= FLAT_ROUNDS {
            self.drain()
        } else {
            Phase::Startup { best, flat: flat + 1, full: false }
        }
    }

    /// A probe for more rate has had its round: on, if it found some.
    fn after_probe(&mut self, from: u64) -> Phase {
        let highest = self.rates.highest();
        if highest * 100 >= from * RAISE_GROWTH_PERCENT {
            return Phase::Raise { from: highest, first: false };
        }
        self.competing = self.competing.saturating_sub(1);
        if self.competing > 0 { self.cruise() } else { self.drain() }
    }

    fn drain(&self) -> Phase {
        Phase::Drain { left: DRAIN_ROUNDS, rate: self.rates.highest(), stale: false }
    }

    fn cruise(&self) -> Phase {
        // Not all flows of a link may probe at once: the rate's low digits differ between them.
        Phase::Cruise { left: CRUISE_ROUNDS + (self.rates.highest() % 4) as u8 }
    }

    fn judge(&mut self, now: Instant, report: &RoundReport) -> bool {
        let total = report.lost.saturating_add(report.delivered).max(1);
        let percent = report.lost.saturating_mul(100) / total;
        let shortest = self.rtt.base().unwrap_or_default();
        let full = report.average > shortest * 3 / 2;
        let dropped = percent >= LOSS_PERCENT && report.lost > 2 * self.mtu && full
            || percent >= HEAVY_LOSS_PERCENT && report.lost >= HEAVY_LOSS_PACKETS * self.mtu;
        if dropped || report.marked {
            let keep = if dropped { BACKOFF_PERCENT } else { MARK_BACKOFF_PERCENT };
            self.ceiling = (self.window.min(report.volume) * keep / 100).max(self.least());
            self.backed_off = Some(now);
            true
        } else {
            self.ceiling = self.ceiling.saturating_add(self.ceiling / CEILING_GROWTH).min(MAX_WINDOW);
            false
        }
    }

    fn size(&mut self) {
        let Some(base) = self.rtt.base() else { return };
        let percent = match self.phase {
            Phase::Startup { .. } => {
                self.set_window(self.window);
                return;
            }
            Phase::Drain { .. } => DRAIN_PERCENT,
            Phase::Cruise { .. } => 100,
            Phase::Raise { .. } => RAISE_PERCENT,
            Phase::Refresh { .. } => 50,
        };
        let base = if self.competing > 0 { base * 2 } else { base };
        let micros = u64::try_from(base.as_micros()).unwrap_or(u64::MAX);
        let rate = if let Phase::Drain { rate, .. } = self.phase { rate } else { self.rates.highest() };
        let fits = rate.saturating_mul(micros) / 1_000_000;
        self.set_window(fits.saturating_mul(percent) / 100 + SLACK_PACKETS * self.mtu);
    }

    fn set_window(&mut self, window: u64) {
        self.window = window.min(self.ceiling).clamp(self.least(), MAX_WINDOW);
    }

    fn least(&self) -> u64 {
        self.mtu.saturating_mul(MIN_PACKETS)
    }
}
