//! One simulated process: workers, upstreams, backends, the events between them and the clock.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake as TaskWake, Waker};
use std::time::Duration;

use spooky_lb::admit::{
    AdaptiveOptions, BrownoutOptions, ClientShare, GlobalLimitOptions, GlobalLimits, Queue, RouteLimitOptions,
    RouteLimits, client_limit,
};
use spooky_lb::attempt::breaker::BreakerOptions;
use spooky_lb::attempt::{AttemptOptions, Attempts, Budget, BudgetOptions, Cx, HedgeOptions, Request, SlotId, Step};
use spooky_lb::balance::Algorithm;
use spooky_lb::health::{ActiveOptions, PassiveOptions, Prober};
use spooky_lb::pool::{Member, Pool, PoolOptions, Spec};
use spooky_lb::rng::Rng;
use spooky_lb::time::Nanos;
use spooky_lb::upstream::{Upstream, UpstreamOptions};

use crate::backend::Behaviour;
use crate::drive::Exchange;
use crate::shadow::{Shadow, Totals};

pub(crate) const WORKERS: usize = 2;
pub(crate) const UPSTREAMS: usize = 2;
/// Client connections of each worker; a request is of one of them.
pub(crate) const CLIENTS: usize = 3;
/// What one of them may hold of a limit.
pub(crate) const SHARE_PERCENT: u32 = 60;

/// What a world is like.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) faults: bool,
    pub(crate) clock_jumps_back: bool,
    pub(crate) abort_percent: u64,
    pub(crate) budget: BudgetOptions,
    pub(crate) max_retries: u32,
    pub(crate) breaker: BreakerOptions,
    pub(crate) max_ejected_percent: u32,
    pub(crate) global: GlobalLimitOptions,
    pub(crate) panic_threshold_percent: u32,
}

impl Plan {
    /// Everything may happen.
    pub(crate) fn faulty(seed: u64) -> Self {
        let mut rng = Rng::seeded(seed ^ 0xFA17);
        let limit = 20 + rng.below(60) as u32;
        let adaptive = AdaptiveOptions {
            min_limit: 5,
            max_limit: limit,
            decrease_step: 3,
            increase_step: 2,
            ..Default::default()
        };
        Self {
            faults: true,
            clock_jumps_back: rng.below(100) < 25,
            abort_percent: 5,
            budget: BudgetOptions { ratio_percent: rng.below(40) as u32, ..Default::default() },
            max_retries: rng.below(4) as u32,
            breaker: BreakerOptions {
                open: Duration::from_millis(500 + rng.below(3000)),
                half_open_max_probes: 1 + rng.below(3) as u32,
                max_open_percent: if rng.below(100) < 40 { 100 } else { 50 },
                ..Default::default()
            },
            max_ejected_percent: if rng.below(100) < 40 { 100 } else { 50 },
            global: GlobalLimitOptions {
                inflight_limit: limit,
                queue_cap: 20 + rng.below(40) as u32,
                adaptive: (rng.below(100) < 50).then_some(adaptive),
                brownout: (rng.below(100) < 30).then(BrownoutOptions::default),
            },
            panic_threshold_percent: if rng.below(100) < 20 { 50 } else { 0 },
        }
    }

    /// Perfect backends; clients come and go, and there are too many of them.
    pub(crate) fn clients_only(seed: u64) -> Self {
        Self { faults: false, clock_jumps_back: false, abort_percent: 60, ..Self::faulty(seed) }
    }
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    Arrival,
    Sent { exchange: u64, serial: u32 },
    Head { exchange: u64, serial: u32 },
    Failure { exchange: u64, serial: u32 },
    BodyEnd { exchange: u64 },
    Abort { exchange: u64 },
    Timer { exchange: u64 },
    QueueDue { worker: usize },
    Probe { upstream: usize, backend: usize, generation: usize },
    Weather,
    Reload,
    Jump { back: bool },
}

/// One configuration at work.
pub(crate) struct SnapshotState {
    pub(crate) pools: Vec<Arc<Pool>>,
    /// By worker, then by upstream.
    pub(crate) upstreams: Vec<Vec<Upstream>>,
    pub(crate) probers: Vec<Vec<Option<Prober>>>,
}

/// The waker of a worker: notes that it was woken.
#[derive(Default)]
pub(crate) struct Woken(AtomicBool);

impl Woken {
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn peek(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl TaskWake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) struct Simulation {
    pub(crate) plan: Plan,
    pub(crate) rng: Rng,
    /// True time.
    pub(crate) time: Nanos,
    /// How far the workers' clock is behind it.
    pub(crate) behind: Duration,
    pub(crate) events: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    pub(crate) count: u64,
    pub(crate) global: Arc<GlobalLimits>,
    pub(crate) scopes: Vec<Arc<RouteLimits>>,
    /// The limit in effect of each of them.
    pub(crate) scope_limits: Vec<u32>,
    pub(crate) budgets: Vec<Arc<Budget>>,
    pub(crate) process_budget: Arc<Budget>,
    pub(crate) snapshots: Vec<SnapshotState>,
    pub(crate) queues: Vec<Queue>,
    /// The client connections of each worker.
    pub(crate) clients: Vec<Vec<ClientShare>>,
    pub(crate) queue_armed: [Nanos; WORKERS],
    pub(crate) woken: Vec<Arc<Woken>>,
    pub(crate) behaviours: BTreeMap<String, Behaviour>,
    pub(crate) exchanges: BTreeMap<u64, Exchange>,
    pub(crate) arrivals_left: u32,
    pub(crate) burst_left: u32,
    pub(crate) shadow: Shadow,
}

impl Simulation {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let mut rng = Rng::seeded(seed);
        let global = GlobalLimits::new(WORKERS, &plan.global);
        let options: Vec<_> = (0..UPSTREAMS).map(|_| scope_options(&mut rng)).collect();
        let scopes = options.iter().map(|options| RouteLimits::new(Arc::clone(&global), WORKERS, options)).collect();
        let woken: Vec<Arc<Woken>> = (0..WORKERS).map(|_| Arc::default()).collect();
        for (worker, woken) in woken.iter().enumerate() {
            global.set_waker(worker, Waker::from(Arc::clone(woken)));
        }
        let queues: Vec<_> = (0..WORKERS).map(|worker| Queue::new(Arc::clone(&global), worker)).collect();
        let mut world = Self {
            budgets: (0..UPSTREAMS).map(|_| Arc::new(Budget::new(WORKERS, &plan.budget))).collect(),
            process_budget: Arc::new(Budget::new(WORKERS, &plan.budget)),
            clients: queues.iter().map(|queue| (0..CLIENTS).map(|_| queue.new_client()).collect()).collect(),
            queues,
            queue_armed: [Nanos::NEVER; WORKERS],
            time: Nanos::ZERO + Duration::from_secs(1),
            behind: Duration::ZERO,
            events: BinaryHeap::new(),
            count: 0,
            global,
            scopes,
            scope_limits: options.iter().map(|options| options.inflight_limit).collect(),
            snapshots: Vec::new(),
            woken,
            behaviours: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            arrivals_left: 0,
            burst_left: 0,
            shadow: Shadow::new(seed),
            plan,
            rng,
        };
        world.load();
        world
    }

    /// The clock as the workers read it.
    pub(crate) fn now(&self) -> Nanos {
        Nanos::new(self.time.get().saturating_sub(u64::try_from(self.behind.as_nanos()).unwrap()))
    }

    pub(crate) fn schedule(&mut self, after_ms: u64, event: Event) {
        self.schedule_at(self.time + Duration::from_millis(after_ms), event);
    }

    /// At a time of the workers' clock.
    pub(crate) fn schedule_clock(&mut self, at: Nanos, event: Event) {
        if at != Nanos::NEVER {
            self.schedule_at((at + self.behind).max(self.time), event);
        }
    }

    fn schedule_at(&mut self, at: Nanos, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }

    /// Lives until all requests have come and gone.
    pub(crate) fn run(&mut self, requests: u32) {
        self.arrivals_left = requests;
        self.schedule(0, Event::Arrival);
        if self.plan.faults {
            self.schedule(200, Event::Weather);
            let (reload, jump) = (500 + self.rng.below(3000), 500 + self.rng.below(5000));
            self.schedule(reload, Event::Reload);
            self.schedule(jump, Event::Jump { back: self.plan.clock_jumps_back });
        }
        let mut handled = 0;
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            handled += 1;
            assert!(handled < u64::from(requests) * 200, "no end in sight: {:?}", self.exchanges.values().next());
            self.time = self.time.max(at);
            self.handle(event);
            self.pump();
            self.check();
            if self.arrivals_left == 0 && self.exchanges.is_empty() {
                break;
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrival => self.on_arrivals(),
            Event::Sent { exchange, serial } => self.on_sent(exchange, serial),
            Event::Head { exchange, serial } => self.on_head(exchange, serial),
            Event::Failure { exchange, serial } => self.on_failure(exchange, serial),
            Event::BodyEnd { exchange } => self.on_body_end(exchange),
            Event::Abort { exchange } => self.on_abort(exchange),
            Event::Timer { exchange } => self.on_timer(exchange),
            Event::QueueDue { worker } => {
                self.queue_armed[worker] = Nanos::NEVER;
                self.shadow.turns[worker] = true;
            }
            Event::Probe { upstream, backend, generation } => self.on_probe(upstream, backend, generation),
            Event::Weather => {
                for behaviour in self.behaviours.values_mut() {
                    if self.rng.below(100) < 40 {
                        *behaviour = Behaviour::draw(&mut self.rng);
                    }
                }
                let next = 200 + self.rng.below(4000);
                self.schedule(next, Event::Weather);
            }
            Event::Reload => {
                self.shadow.totals.reloads += 1;
                self.load();
            }
            Event::Jump { back } => self.on_jump(back),
        }
    }

    /// Bursts and lulls.
    fn on_arrivals(&mut self) {
        if self.arrivals_left == 0 {
            return;
        }
        self.arrivals_left -= 1;
        self.arrive();
        if self.burst_left == 0 && self.rng.below(100) < 2 {
            self.burst_left = 100;
        }
        let pause = if self.burst_left > 0 {
            self.burst_left -= 1;
            0
        } else {
            self.rng.below(30)
        };
        self.schedule(pause, Event::Arrival);
    }

    fn on_jump(&mut self, back: bool) {
        self.shadow.totals.jumps += 1;
        if back {
            self.behind += Duration::from_millis(self.rng.below(400));
        } else {
            self.time = self.time + Duration::from_millis(self.rng.below(20_000));
        }
        let next = 2000 + self.rng.below(10_000);
        let back = back && self.rng.below(100) < 50;
        self.schedule(next, Event::Jump { back });
    }

    fn on_probe(&mut self, upstream: usize, backend: usize, generation: usize) {
        if generation + 1 != self.snapshots.len() {
            return; // of an old configuration
        }
        let now = self.now();
        let current = self.snapshots.last_mut().unwrap();
        let pool = &current.pools[upstream];
        let Some(prober) = &mut current.probers[upstream][backend] else { return };
        let member = &pool.members()[backend];
        if prober.due() <= now {
            prober.on_start(now, &mut self.rng);
            let success = self.behaviours[&member.spec.address].probe_succeeds();
            if prober.on_result(&member.state.health, success, now).is_some_and(|transition| transition.healthy) {
                pool.on_recovery();
            }
        }
        let due = prober.due();
        self.schedule_clock(due, Event::Probe { upstream, backend, generation });
    }

    /// Loads a configuration: the first, or another one over the running world.
    fn load(&mut self) {
        let generation = self.snapshots.len();
        let mut pools = Vec::new();
        let mut probers = Vec::new();
        for upstream in 0..UPSTREAMS {
            let specs = self.specs(upstream);
            let limit = 4 + self.rng.below(8) as u32;
            let options = PoolOptions {
                inflight_limit: limit,
                client_limit: client_limit(limit, SHARE_PERCENT),
                slow_start: Duration::from_millis(self.rng.below(2000)),
                panic_threshold_percent: self.plan.panic_threshold_percent,
                max_ejected_percent: self.plan.max_ejected_percent,
                breaker: (self.rng.below(100) < 80).then_some(self.plan.breaker),
            };
            let now = self.now();
            let watch = |spec: &Spec| spec.probed.then(|| Prober::new(ActiveOptions::default(), now, &mut self.rng));
            probers.push(specs.iter().map(watch).collect::<Vec<_>>());
            for spec in &specs {
                self.behaviours.entry(spec.address.clone()).or_insert(Behaviour::Fast);
            }
            let previous = self.snapshots.last().map(|old| &*old.pools[upstream]);
            pools.push(Arc::new(Pool::build(specs, options, previous).with_limits(&self.scopes[upstream])));
        }
        let upstreams = (0..WORKERS).map(|worker| {
            let build = |upstream: usize| {
                let options = self.upstream_options(generation, upstream);
                Upstream::new(Arc::clone(&pools[upstream]), options)
                    .on_worker(worker)
                    .with_budgets(Arc::clone(&self.budgets[upstream]), Arc::clone(&self.process_budget))
            };
            (0..UPSTREAMS).map(build).collect()
        });
        let upstreams = upstreams.collect();
        for (upstream, list) in probers.iter().enumerate() {
            for (backend, prober) in list.iter().enumerate() {
                if let Some(prober) = prober {
                    self.schedule_clock(prober.due(), Event::Probe { upstream, backend, generation });
                }
            }
        }
        if generation > 0 {
            for (limits, limit) in self.scopes.iter().zip(&mut self.scope_limits) {
                let options = scope_options(&mut self.rng);
                limits.configure(&options);
                *limit = options.inflight_limit;
            }
        }
        self.snapshots.push(SnapshotState { pools, upstreams, probers });
    }

    fn specs(&mut self, upstream: usize) -> Vec<Spec> {
        let probed = self.rng.below(100) < 50;
        let count = 1 + self.rng.below(5);
        let spec = |n| Spec {
            id: format!("b{n}"),
            address: format!("10.0.{upstream}.{n}:80"),
            weight: 1 + self.rng.below(3) as u32 * 50,
            passive: Some(PassiveOptions { cooldown: Duration::from_millis(700), ..Default::default() }),
            probed,
        };
        (0..count).map(spec).collect()
    }

    fn upstream_options(&self, generation: usize, upstream: usize) -> UpstreamOptions {
        let pick = (self.shadow.seed as usize + generation * 5 + upstream * 7) % Algorithm::ALL.len();
        UpstreamOptions {
            algorithm: Algorithm::ALL[pick],
            attempt: AttemptOptions {
                max_retries: self.plan.max_retries,
                response_timeout: Duration::from_secs(1),
                total_timeout: Duration::from_secs(3),
            },
            hedge: upstream.is_multiple_of(2).then(HedgeOptions::default),
            ..Default::default()
        }
    }

    /// The end: nothing is left of anything.
    pub(crate) fn finish(self) -> Totals {
        assert!(self.exchanges.is_empty(), "exchanges never ended: {:?}", self.exchanges.keys());
        assert_eq!((self.global.in_flight(), self.global.queued()), (0, 0));
        for limits in &self.scopes {
            assert_eq!((limits.in_flight(), limits.queued()), (0, 0));
        }
        for pool in self.snapshots.iter().flat_map(|generation| &generation.pools) {
            for member in pool.members() {
                assert_eq!(member.state.in_flight(), 0, "{}", member.spec.address);
            }
        }
        assert!(self.clients.iter().flatten().all(|client| client.held() == 0), "shares of clients are left over");
        self.assert_nobody_is_stuck();
        self.shadow.totals
    }

    /// Long after the last fault every backend that probes do not hold back takes requests again.
    fn assert_nobody_is_stuck(&self) {
        let later = self.now() + Duration::from_secs(3600);
        for pool in &self.snapshots.last().unwrap().pools {
            let fit = |member: &Member| {
                let health = &member.state.health;
                health.active_up() && (health.passive_up() || !member.spec.probed)
            };
            let fit = pool.members().iter().filter(|member| fit(member)).count();
            let mut upstream = Upstream::new(Arc::clone(pool), UpstreamOptions::default());
            let mut held = Vec::new();
            for _ in 0..fit {
                let request = Request { method: b"GET", has_body: false, key: 0 };
                let mut attempt = Attempts::new(&request, &upstream, later);
                let mut cx = Cx { now: later, upstream: &mut upstream, rng: &mut Rng::seeded(0) };
                let step = attempt.on_start(&mut cx);
                let Step::Start { backend, .. } = step else { panic!("{step:?} with {fit} fit: {pool:?}") };
                // Out of the way of the next, and back at the end.
                pool.members()[backend].state.health.set_draining(true);
                held.push(backend);
            }
            for backend in held {
                pool.members()[backend].state.health.set_draining(false);
            }
        }
    }

    /// No client's mistake left a trace.
    pub(crate) fn assert_unblemished(&self) {
        for pool in self.snapshots.iter().flat_map(|generation| &generation.pools) {
            for member in pool.members() {
                assert!(member.state.health.is_healthy());
                assert_eq!(member.state.breaker.state(self.now()), spooky_lb::attempt::breaker::Circuit::Closed);
            }
        }
        let GlobalLimitOptions { inflight_limit, adaptive, .. } = &self.plan.global;
        let limit = adaptive.map_or(*inflight_limit, |options| options.max_limit.min(*inflight_limit));
        assert_eq!(self.global.limit().0, limit);
        assert_eq!(self.process_budget.further(self.now()), 0);
    }

    /// The slot of an exchange that has this serial.
    pub(crate) fn slot_of(&self, exchange: u64, serial: u32) -> Option<SlotId> {
        let exchange = self.exchanges.get(&exchange)?;
        SlotId::ALL
            .into_iter()
            .find(|slot| exchange.slots[slot.index()].as_ref().is_some_and(|run| run.serial == serial))
    }
}

fn scope_options(rng: &mut Rng) -> RouteLimitOptions {
    let limit = 5 + rng.below(40) as u32;
    RouteLimitOptions {
        inflight_limit: limit,
        client_limit: client_limit(limit, SHARE_PERCENT),
        queue_cap: 10 + rng.below(30) as u32,
        max_wait: Duration::from_millis(if rng.below(100) < 10 { 0 } else { 20 + rng.below(500) }),
        core: rng.below(100) < 30,
    }
}
