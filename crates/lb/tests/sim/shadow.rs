//! The shadow model: what must be true after every event, reckoned from what was seen and not from what the crate says.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use spooky_lb::admit::{Limit, client_limit};
use spooky_lb::attempt::breaker::Circuit;
use spooky_lb::attempt::{ErrorCode, FailureKind, Sent};
use spooky_lb::outcome::Reason;
use spooky_lb::pool::Member;
use spooky_lb::time::Nanos;

use crate::simulation::{SHARE_PERCENT, Simulation, SnapshotState, UPSTREAMS, WORKERS};

/// What happened in one world, or in all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) requests: u64,
    pub(crate) complete: u64,
    pub(crate) broken: u64,
    pub(crate) aborted: u64,
    pub(crate) answered: u64,
    pub(crate) queued: u64,
    pub(crate) waited_for_backend: u64,
    pub(crate) retries: u64,
    pub(crate) hedges: u64,
    pub(crate) resends: u64,
    pub(crate) probes: u64,
    pub(crate) trials: u64,
    pub(crate) reloads: u64,
    pub(crate) jumps: u64,
    pub(crate) reasons: BTreeMap<&'static str, u64>,
}

impl Totals {
    pub(crate) fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.requests, other.requests),
            (&mut self.complete, other.complete),
            (&mut self.broken, other.broken),
            (&mut self.aborted, other.aborted),
            (&mut self.answered, other.answered),
            (&mut self.queued, other.queued),
            (&mut self.waited_for_backend, other.waited_for_backend),
            (&mut self.retries, other.retries),
            (&mut self.hedges, other.hedges),
            (&mut self.resends, other.resends),
            (&mut self.probes, other.probes),
            (&mut self.trials, other.trials),
            (&mut self.reloads, other.reloads),
            (&mut self.jumps, other.jumps),
        ];
        for (sum, more) in pairs {
            *sum += more;
        }
        for (reason, count) in &other.reasons {
            *self.reasons.entry(reason).or_default() += count;
        }
    }

    /// A simulation in which something never happens proves nothing about it.
    pub(crate) fn assert_everything_happened(&self) {
        let rare = [
            self.complete,
            self.broken,
            self.aborted,
            self.queued,
            self.waited_for_backend,
            self.retries,
            self.hedges,
            self.resends,
            self.probes,
            self.trials,
            self.reloads,
            self.jumps,
        ];
        assert!(rare.iter().all(|&count| count > 50), "{self:?}");
        let reasons = [
            Reason::Brownout,
            Reason::AdaptiveAdmission,
            Reason::RouteCap,
            Reason::RouteGlobalCap,
            Reason::GlobalInflight,
            Reason::UpstreamInflight,
            Reason::BackendInflight,
            Reason::CircuitOpen,
            Reason::NoHealthyBackend,
            Reason::ResponseTimeout,
            Reason::UpstreamReset,
            Reason::UpstreamRejected,
            Reason::UpstreamRefused,
            Reason::UpstreamConnectTimeout,
        ];
        for reason in reasons {
            assert!(self.reasons.contains_key(reason.row().label), "{reason:?} never happened: {:?}", self.reasons);
        }
    }
}

/// A backend as it was just before a question to the machine.
#[derive(Clone, Copy, Debug)]
struct Before {
    healthy: bool,
    draining: bool,
    circuit: Circuit,
    room: bool,
    /// Probes and trials seen to be on it.
    probes: u32,
    trials: u32,
}

pub(crate) struct Shadow {
    pub(crate) seed: u64,
    pub(crate) serial: u32,
    /// The workers that are at work in this event.
    pub(crate) turns: [bool; WORKERS],
    pub(crate) totals: Totals,
    before: Vec<Before>,
    /// First attempts and further ones, by time, for the process and for each upstream.
    firsts: Vec<VecDeque<Nanos>>,
    further: Vec<VecDeque<Nanos>>,
}

impl Shadow {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            serial: 0,
            turns: [false; WORKERS],
            totals: Totals::default(),
            before: Vec::new(),
            firsts: vec![VecDeque::new(); UPSTREAMS + 1],
            further: vec![VecDeque::new(); UPSTREAMS + 1],
        }
    }

    pub(crate) fn on_answer(&mut self, reason: Reason) {
        self.totals.answered += 1;
        *self.totals.reasons.entry(reason.row().label).or_default() += 1;
    }

    /// Whether an attempt on this backend is a probe of its circuit, and a trial of its health.
    pub(crate) fn passes(&mut self, backend: usize) -> (bool, bool) {
        let before = self.before[backend];
        let pass = (before.circuit == Circuit::HalfOpen, !before.healthy && before.trials == 0);
        self.totals.probes += u64::from(pass.0);
        self.totals.trials += u64::from(pass.1);
        pass
    }
}

impl Simulation {
    /// Remembers the backends that an exchange may be sent to, before it is.
    pub(crate) fn look(&mut self, id: u64) {
        let now = self.now();
        let exchange = &self.exchanges[&id];
        self.shadow.turns[exchange.worker] = true;
        let pool = &self.snapshots[exchange.generation].pools[exchange.upstream];
        let runs = || self.exchanges.values().flat_map(|exchange| exchange.slots.iter().flatten());
        let before = pool.members().iter().map(|member| {
            let here = || runs().filter(|run| run.address == member.spec.address);
            Before {
                healthy: member.state.health.is_healthy(),
                draining: member.state.health.is_draining(),
                circuit: if pool.options().breaker.is_some() {
                    member.state.breaker.state(now)
                } else {
                    Circuit::Closed
                },
                room: member.state.in_flight() < pool.options().inflight_limit,
                probes: here().filter(|run| run.probe).count() as u32,
                trials: here().filter(|run| run.trial).count() as u32,
            }
        });
        self.shadow.before = before.collect();
    }

    /// A new attempt: may it start at all, and on this backend?
    pub(crate) fn check_start(&mut self, id: u64, backend: usize, hedge: bool) {
        let exchange = &self.exchanges[&id];
        let pool = &self.snapshots[exchange.generation].pools[exchange.upstream];
        let before = self.shadow.before[backend];
        let context = format!("seed {} exchange {id} backend {backend}: {:?}", self.shadow.seed, self.shadow.before);
        assert!(exchange.responding.is_none(), "after response headers: {context}");
        assert!(!before.draining, "drained: {context}");
        assert_ne!(before.circuit, Circuit::Open, "open: {context}");
        let panic = pool.options().panic_threshold_percent > 0;
        let other =
            |n: usize, b: &Before| n != backend && b.healthy && b.room && b.circuit == Circuit::Closed && !b.draining;
        let healthy_left = self.shadow.before.iter().enumerate().any(|(n, b)| other(n, b));
        if !before.healthy && !panic {
            assert_eq!(before.trials, 0, "one trial at a time: {context}");
            // A later configuration may have changed that of a backend which it kept.
            let same = |member: &&Member| Arc::ptr_eq(&member.state, &pool.members()[backend].state);
            let members =
                |old: &SnapshotState| old.pools[exchange.upstream].members().iter().find(same).map(|m| m.spec.probed);
            let probed = self.snapshots.iter().rev().find_map(members);
            assert_eq!(probed, Some(false), "probes decide: {context}");
        }
        if before.circuit == Circuit::HalfOpen {
            let most = pool.options().breaker.unwrap().half_open_max_probes;
            assert!(before.probes < most, "too many probes: {context}");
        }
        let started = exchange.started;
        assert!(started <= 1 + self.plan.max_retries, "too many attempts: {context}");
        if started > 1 && !hedge {
            let failed = exchange.failed.clone().expect("a retry follows a failure");
            assert_ne!(failed.sent, Sent::Gone, "a body that is gone: {context}");
            assert!(may_follow(failed.kind, exchange.method), "{:?} {} {context}", failed.kind, exchange.method);
            let same = pool.members()[backend].spec.address == failed.address;
            let again = exchange.timed_out.contains(&pool.members()[backend].spec.address);
            assert!(!again, "again to a backend that did not answer in time: {context}");
            assert!(!same || !healthy_left || pool.members().len() == 1, "the same backend again: {context}");
        }
        if hedge {
            assert!(!exchange.has_body && exchange.method == "GET", "unsafe hedge: {context}");
            assert_eq!(exchange.slots.iter().flatten().count(), 1, "{context}");
        }
        self.book_attempt(id, started > 1, hedge);
    }

    /// The retry budget, over exactly one window.
    fn book_attempt(&mut self, id: u64, further: bool, hedge: bool) {
        let now = self.now();
        let window = self.plan.budget.window;
        let upstream = self.exchanges[&id].upstream;
        self.shadow.totals.retries += u64::from(further && !hedge);
        self.shadow.totals.hedges += u64::from(hedge);
        for limits in [upstream, UPSTREAMS] {
            let lists = if further { &mut self.shadow.further } else { &mut self.shadow.firsts };
            lists[limits].push_back(now);
            for list in [&mut self.shadow.firsts[limits], &mut self.shadow.further[limits]] {
                while list.front().is_some_and(|&at| at + window <= now) {
                    list.pop_front();
                }
            }
            let firsts = self.shadow.firsts[limits].len() as f64;
            let allowed =
                f64::from(self.plan.budget.min_retries) + firsts * f64::from(self.plan.budget.ratio_percent) / 100.0;
            let taken = self.shadow.further[limits].len() as f64;
            // "Fewer than" before it was taken; a clock that goes back makes windows that never were.
            if further && !self.plan.clock_jumps_back {
                assert!(taken - 1.0 < allowed, "budget: {taken} of {allowed}, seed {}", self.shadow.seed);
            }
        }
    }

    /// After each event: the counts agree with the requests in flight.
    pub(crate) fn check(&mut self) {
        let mut on_backend: BTreeMap<&str, u32> = BTreeMap::new();
        let (mut permits, mut waiting) = ([0_u32; UPSTREAMS], [0_u32; UPSTREAMS]);
        for exchange in self.exchanges.values() {
            permits[exchange.upstream] += u32::from(exchange.permit.is_some());
            waiting[exchange.upstream] += u32::from(exchange.ticket.is_some());
            for run in exchange.slots.iter().flatten() {
                *on_backend.entry(&run.address).or_default() += 1;
            }
        }
        let world = self.shadow.seed;
        for (upstream, limits) in self.scopes.iter().enumerate() {
            assert_eq!(limits.in_flight(), permits[upstream], "permits of upstream {upstream}, seed {world}");
            assert_eq!(limits.queued(), waiting[upstream], "queue of upstream {upstream}, seed {world}");
        }
        assert_eq!(self.global.in_flight(), permits.iter().sum::<u32>());
        assert_eq!(self.global.queued(), waiting.iter().sum::<u32>());
        assert!(self.global.in_flight() <= self.plan.global.inflight_limit);
        assert!(self.global.queued() <= self.plan.global.queue_cap);
        for pool in self.snapshots.iter().flat_map(|generation| &generation.pools) {
            for member in pool.members() {
                let there = on_backend.get(member.spec.address.as_str()).copied().unwrap_or(0);
                assert_eq!(member.state.in_flight(), there, "{}, seed {world}", member.spec.address);
            }
        }
        self.check_nobody_is_forgotten();
    }

    /// Whoever waits for a permit waits because a limit is full, or because its client holds its share of one.
    fn check_nobody_is_forgotten(&self) {
        let (limit, which) = self.global.limit();
        assert!(matches!(which, Limit::Adaptive | Limit::Global));
        if self.global.in_flight() >= limit {
            return;
        }
        for (upstream, (limits, &limit)) in self.scopes.iter().zip(&self.scope_limits).enumerate() {
            let share = client_limit(limit, SHARE_PERCENT);
            let has_room = |exchange: &crate::drive::Exchange| {
                let same = |other: &&crate::drive::Exchange| {
                    other.upstream == upstream && other.client() == exchange.client() && other.permit.is_some()
                };
                (self.exchanges.values().filter(same).count() as u32) < share
            };
            let waits = |exchange: &&crate::drive::Exchange| {
                let is_waiting = exchange.ticket.is_some() && exchange.permit.is_none();
                exchange.upstream == upstream && is_waiting && has_room(exchange)
            };
            let waiting = self.exchanges.values().find(waits);
            let full = limits.in_flight() >= limit;
            assert!(waiting.is_none() || full, "{:?} is forgotten, seed {}", waiting.map(|w| w.id), self.shadow.seed);
        }
    }
}

/// Which failures may be followed by another attempt, written once more.
fn may_follow(kind: FailureKind, method: &str) -> bool {
    match kind {
        FailureKind::Unprocessed
        | FailureKind::Dns
        | FailureKind::ConnectRefused
        | FailureKind::ConnectTimeout
        | FailureKind::Unreachable
        | FailureKind::Tls
        | FailureKind::Certificate
        | FailureKind::RefusedStream => true,
        FailureKind::Reset(ErrorCode::Internal | ErrorCode::Other)
        | FailureKind::ConnectionLost(_)
        | FailureKind::ConnectionRejected
        | FailureKind::ResponseTimeout => ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].contains(&method),
        FailureKind::Reset(ErrorCode::Rejected)
        | FailureKind::Malformed
        | FailureKind::HeadersTooLarge
        | FailureKind::Local(_) => false,
    }
}
