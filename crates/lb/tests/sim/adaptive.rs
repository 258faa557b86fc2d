//! The adaptive limit before a backend with a known capacity: virtual time, real admission, attempts and pool.
//!
//! The backend works on a number of requests at a time, each for the same time, and queues the rest without end: the more
//! are in flight, the later each is answered, and nothing is answered faster for it. What the limit should find is known
//! then: the number in flight at which answers come as late as the operator allows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use spooky_lb::admit::{
    AdaptiveOptions, Admission, GlobalLimitOptions, GlobalLimits, Permit, Queue, RouteLimitOptions, RouteLimits, Wake,
};
use spooky_lb::attempt::{Attempts, Cx, Request, SlotId, Step};
use spooky_lb::health::PassiveOptions;
use spooky_lb::pool::{Pool, PoolOptions, Spec};
use spooky_lb::rng::Rng;
use spooky_lb::time::Nanos;
use spooky_lb::upstream::{Upstream, UpstreamOptions};

const MAX_LIMIT: u32 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// An open-loop client sends a request.
    Arrival,
    /// The backend answers.
    Answer(u64),
}

struct Running {
    permit: Permit,
    attempt: Attempts,
    slot: SlotId,
}

/// A proxy with one upstream of one backend, and its clients.
struct Simulation {
    now: Nanos,
    rng: Rng,
    events: BinaryHeap<Reverse<(Nanos, u64, Event)>>,
    count: u64,
    global: Arc<GlobalLimits>,
    limits: Arc<RouteLimits>,
    queue: Queue,
    upstream: Upstream,
    running: BTreeMap<u64, Running>,
    // The backend.
    slots: u32,
    busy: u32,
    service: Duration,
    backlog: VecDeque<u64>,
    /// Requests a second of the open loop; 0 for none.
    rate: u64,
    /// Clients of a closed loop, each of which sends its next request when the last is answered.
    clients: u32,
    served: u64,
    refused: u64,
}

/// What was seen over a time.
#[derive(Debug)]
struct Seen {
    /// Answers in a second.
    rate: f64,
    refused: u64,
    mean_limit: f64,
    least_limit: u32,
}

impl Simulation {
    fn new(slots: u32, service_ms: u64) -> Self {
        let adaptive = AdaptiveOptions { max_limit: MAX_LIMIT, ..Default::default() };
        let options = GlobalLimitOptions { adaptive: Some(adaptive), brownout: None, ..Default::default() };
        let global = GlobalLimits::new(1, &options);
        let limits = RouteLimitOptions { inflight_limit: 10_000, max_wait: Duration::ZERO, ..Default::default() };
        let limits = RouteLimits::new(Arc::clone(&global), 1, &limits);
        let spec = Spec {
            id: "b1".into(),
            address: "10.0.0.1:80".into(),
            weight: 100,
            passive: Some(PassiveOptions::default()),
            probed: false,
        };
        let options = PoolOptions { inflight_limit: 10_000, ..Default::default() };
        let pool = Arc::new(Pool::build(vec![spec], options, None).with_limits(&limits));
        Self {
            now: Nanos::ZERO + Duration::from_secs(1),
            rng: Rng::seeded(7),
            events: BinaryHeap::new(),
            count: 0,
            queue: Queue::new(Arc::clone(&global), 0),
            global,
            limits,
            upstream: Upstream::new(pool, UpstreamOptions::default()),
            running: BTreeMap::new(),
            slots,
            busy: 0,
            service: Duration::from_millis(service_ms),
            backlog: VecDeque::new(),
            rate: 0,
            clients: 0,
            served: 0,
            refused: 0,
        }
    }

    fn schedule(&mut self, at: Nanos, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }

    /// From now on so many requests come in a second, whatever becomes of them.
    fn offer(&mut self, rate: u64) {
        let is_silent = self.rate == 0;
        self.rate = rate;
        if is_silent && rate > 0 {
            self.schedule(self.now, Event::Arrival);
        }
    }

    /// From now on so many clients each wait for one answer at a time.
    fn loop_clients(&mut self, clients: u32) {
        let new = clients.saturating_sub(self.clients);
        self.clients = clients;
        (0..new).for_each(|_| self.arrive());
    }

    /// Lets so many seconds pass.
    fn run(&mut self, seconds: u64) -> Seen {
        let (start, served, refused) = (self.now, self.served, self.refused);
        let end = start + Duration::from_secs(seconds);
        let (mut sum, mut samples, mut least) = (0.0, 0_u32, MAX_LIMIT);
        let mut sample_at = start;
        while self.now < end {
            let next = self.events.peek().map_or(end, |Reverse((at, ..))| *at).min(end);
            while sample_at <= next {
                let limit = self.global.limit().0;
                (sum, samples, least) = (sum + f64::from(limit), samples + 1, least.min(limit));
                sample_at = sample_at + Duration::from_millis(50);
            }
            self.now = next;
            if next < end {
                let Some(Reverse((_, _, event))) = self.events.pop() else { break };
                self.handle(event);
            }
        }
        Seen {
            rate: (self.served - served) as f64 / seconds as f64,
            refused: self.refused - refused,
            mean_limit: sum / f64::from(samples),
            least_limit: least,
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Arrival if self.rate == 0 => {}
            Event::Arrival => {
                self.arrive();
                // Between half and one and a half of the mean pause.
                let pause = 1_000_000_000 / self.rate;
                let pause = pause / 2 + self.rng.below(pause);
                self.schedule(self.now + Duration::from_nanos(pause), Event::Arrival);
            }
            Event::Answer(id) => self.answer(id),
        }
        self.poll_queue();
    }

    fn arrive(&mut self) {
        match self.queue.admit(&self.limits, None, Nanos::NEVER, self.now) {
            Admission::Granted(permit) => self.start(permit),
            Admission::Queued(_) => panic!("nobody waits here"),
            Admission::Refused(_) => self.refused += 1,
        }
    }

    fn poll_queue(&mut self) {
        while let Some(wake) = self.queue.poll(self.now) {
            assert!(!matches!(wake, Wake::TryBackend(_)), "the backend has no limit");
        }
    }

    fn start(&mut self, permit: Permit) {
        let request = Request { method: b"GET", has_body: false, key: 0 };
        let mut attempt = Attempts::new(&request, &self.upstream, self.now);
        let mut cx = Cx { now: self.now, upstream: &mut self.upstream, rng: &mut self.rng };
        let Step::Start { slot, .. } = attempt.on_start(&mut cx) else { panic!("the backend is there") };
        attempt.on_sent(&mut cx, slot);
        self.count += 1;
        let id = self.count;
        self.running.insert(id, Running { permit, attempt, slot });
        self.backlog.push_back(id);
        self.work();
    }

    /// The backend takes what it has room for.
    fn work(&mut self) {
        while self.busy < self.slots {
            let Some(id) = self.backlog.pop_front() else { return };
            self.busy += 1;
            let service = self.rng.jitter(self.service, 10);
            self.schedule(self.now + service, Event::Answer(id));
        }
    }

    fn answer(&mut self, id: u64) {
        self.busy -= 1;
        let Running { permit, mut attempt, slot } = self.running.remove(&id).unwrap();
        let mut cx = Cx { now: self.now, upstream: &mut self.upstream, rng: &mut self.rng };
        assert_eq!(attempt.on_head(&mut cx, slot, 200), Step::Done);
        attempt.on_complete(&mut cx);
        drop(permit);
        self.served += 1;
        self.work();
        if (self.running.len() as u32) < self.clients {
            self.arrive();
        }
    }
}

fn within(value: f64, of: f64, percent: f64) -> bool {
    (value - of).abs() <= of * percent / 100.0
}

#[test]
fn low_concurrency_never_lowers_the_limit_however_slow_the_answers() {
    let mut world = Simulation::new(1000, 20);
    world.loop_clients(8);
    world.run(10);
    // From 20 ms to 0.55-0.99 s at once: 27 times the baseline.
    world.service = Duration::from_millis(770);
    for _ in 0..20 {
        let seen = world.run(10);
        assert_eq!((seen.least_limit, seen.refused), (MAX_LIMIT, 0), "{seen:?}");
    }
    // Nor with as many as the minimum at a time, which is enough answers for each window to say something.
    world.service = Duration::from_millis(20);
    world.loop_clients(64);
    world.run(10);
    world.service = Duration::from_millis(600);
    let seen = world.run(120);
    assert_eq!((seen.least_limit, seen.refused), (MAX_LIMIT, 0), "{seen:?}");
}

#[test]
fn under_overload_it_follows_what_the_backend_can_do() {
    // 300 at a time, 200 ms each: 1500 a second, and 900 in flight where answers take three times as long as they need.
    let mut world = Simulation::new(300, 200);
    world.offer(1000);
    let seen = world.run(20);
    assert_eq!((seen.least_limit, seen.refused), (MAX_LIMIT, 0), "{seen:?}");
    world.offer(3000);
    world.run(20);
    for _ in 0..10 {
        let seen = world.run(30);
        assert!(within(seen.mean_limit, 900.0, 20.0) && within(seen.rate, 1500.0, 20.0), "{seen:?}");
    }
    // Half of the backend fails.
    world.slots = 150;
    world.run(20);
    for _ in 0..4 {
        let seen = world.run(30);
        assert!(within(seen.mean_limit, 450.0, 20.0) && within(seen.rate, 750.0, 20.0), "{seen:?}");
    }
    world.slots = 300;
    world.run(20);
    for _ in 0..4 {
        let seen = world.run(30);
        assert!(within(seen.mean_limit, 900.0, 20.0) && within(seen.rate, 1500.0, 20.0), "{seen:?}");
    }
}

#[test]
fn it_recovers_by_itself_with_and_without_traffic() {
    for rate in [1000, 0] {
        let mut world = Simulation::new(300, 200);
        world.offer(1000);
        world.run(10);
        world.offer(3000);
        assert!(world.run(60).least_limit < 1200);
        world.offer(rate);
        // 256 windows of 16 lead from nothing to the maximum.
        world.run(30);
        world.offer(1000);
        // The first request after a silence lets the limit rise for all of it.
        world.run(1);
        let seen = world.run(10);
        assert_eq!((seen.least_limit, seen.refused), (MAX_LIMIT, 0), "{rate}: {seen:?}");
    }
}

#[test]
fn a_backend_that_has_become_slower_for_good_gets_its_limit_back() {
    let mut world = Simulation::new(10_000, 100);
    world.offer(1000);
    world.run(20);
    world.service = Duration::from_millis(900);
    assert!(world.run(20).least_limit < MAX_LIMIT);
    world.run(240);
    let seen = world.run(20);
    assert_eq!((seen.least_limit, seen.refused), (MAX_LIMIT, 0), "{seen:?}");
}
