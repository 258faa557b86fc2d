//! A worker as far as it decides, and what workers share: the bench times it, the test of allocations counts it.
#![allow(dead_code, clippy::expect_used, reason = "each of both uses a part; a broken assumption ends it")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use spooky_lb::admit::{Admission, GlobalLimitOptions, GlobalLimits, Queue, RouteLimitOptions, RouteLimits};
use spooky_lb::attempt::{Attempts, Budget, BudgetOptions, Cx, Request, Step};
use spooky_lb::balance::{Algorithm, key};
use spooky_lb::health::PassiveOptions;
use spooky_lb::pool::{Pool, PoolOptions, Spec};
use spooky_lb::rng::Rng;
use spooky_lb::route::{HostPattern, Rule, Table};
use spooky_lb::time::Nanos;
use spooky_lb::upstream::{Upstream, UpstreamOptions};

/// Routes with prefixes of three segments, half of them with a host.
pub(crate) fn table(routes: usize) -> Table {
    Table::build((0..routes).map(|n| Rule {
        upstream: n,
        name: format!("u{n}"),
        host: (n % 2 == 0).then(|| HostPattern::Exact(format!("host{}.example.com", n % 97))),
        path_prefix: format!("/api/v{}/service{n}", n % 7),
        method: None,
    }))
}

/// What workers share.
pub(crate) struct Shared {
    global: Arc<GlobalLimits>,
    limits: Arc<RouteLimits>,
    pool: Arc<Pool>,
    budgets: [Arc<Budget>; 2],
}

impl Shared {
    pub(crate) fn new(workers: usize, backends: usize) -> Self {
        let global = GlobalLimits::new(workers, &GlobalLimitOptions::default());
        let limits = RouteLimits::new(Arc::clone(&global), workers, &RouteLimitOptions::default());
        let spec = |n: usize| Spec {
            id: format!("b{n}"),
            address: format!("10.0.0.{n}:80"),
            weight: 100,
            passive: Some(PassiveOptions::default()),
            probed: true,
        };
        let pool = Pool::build((0..backends).map(spec).collect(), PoolOptions::default(), None).with_limits(&limits);
        let budgets = [0, 1].map(|_| Arc::new(Budget::new(workers, &BudgetOptions::default())));
        Self { global, limits, pool: Arc::new(pool), budgets }
    }
}

/// One worker, as far as it decides.
pub(crate) struct Worker {
    table: Table,
    queue: Queue,
    limits: Arc<RouteLimits>,
    upstream: Upstream,
    rng: Rng,
    scratch: Vec<u8>,
    now: Nanos,
}

impl Worker {
    pub(crate) fn new(shared: &Shared, worker: usize, algorithm: Algorithm) -> Self {
        let options = UpstreamOptions { algorithm, ..Default::default() };
        let [route, global] = shared.budgets.clone();
        Self {
            table: table(100),
            queue: Queue::new(Arc::clone(&shared.global), worker),
            limits: Arc::clone(&shared.limits),
            upstream: Upstream::new(Arc::clone(&shared.pool), options).on_worker(worker).with_budgets(route, global),
            rng: Rng::seeded(worker as u64),
            scratch: Vec::new(),
            now: Nanos::ZERO + Duration::from_secs(1),
        }
    }

    /// Route, admit, pick, head, record.
    pub(crate) fn request(&mut self) {
        let route =
            self.table.lookup(b"host14.example.com", b"/api/v0/service14/users?id=7", b"GET", &mut self.scratch);
        black_box(route.expect("the route is in the table"));
        self.now = self.now + Duration::from_micros(5);
        let Admission::Granted(permit) = self.queue.admit(&self.limits, None, Nanos::NEVER, self.now) else { return };
        let key = key::hash(&self.now.get().to_le_bytes());
        let request = Request { method: b"GET", has_body: false, key };
        let mut attempt = Attempts::new(&request, &self.upstream, self.now);
        let mut cx = Cx { now: self.now, upstream: &mut self.upstream, rng: &mut self.rng };
        let Step::Start { slot, .. } = attempt.on_start(&mut cx) else { return };
        attempt.on_sent(&mut cx, slot);
        black_box(attempt.on_head(&mut cx, slot, 200));
        attempt.on_complete(&mut cx);
        drop(permit);
        black_box(self.queue.poll(self.now).is_none());
    }
}
