//! What deciding costs for one request: routing by table size, and the whole path from route to settle by algorithm.
//!
//! The whole path must stay below 0.5 us. `shared` is the same path on two threads at once, to see what the shared counts
//! cost when workers meet on them.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench; the macros of criterion make undocumented functions")]

use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use spooky_lb::admit::{Admission, Process, ProcessOptions, Queue, Scope, ScopeOptions};
use spooky_lb::attempt::{Attempt, Budget, BudgetOptions, Cx, Request, Step};
use spooky_lb::balance::{Algorithm, key};
use spooky_lb::health::PassiveOptions;
use spooky_lb::pool::{Pool, PoolOptions, Spec};
use spooky_lb::rng::Rng;
use spooky_lb::route::{HostPattern, Rule, Table};
use spooky_lb::time::Nanos;
use spooky_lb::upstream::{Upstream, UpstreamOptions};

fn table(routes: usize) -> Table {
    Table::build((0..routes).map(|n| Rule {
        upstream: n,
        name: format!("u{n}"),
        host: (n % 2 == 0).then(|| HostPattern::Exact(format!("host{}.example.com", n % 97))),
        path_prefix: format!("/api/v{}/service{n}", n % 7),
        method: None,
    }))
}

/// What workers share.
struct Shared {
    process: Arc<Process>,
    scope: Arc<Scope>,
    pool: Arc<Pool>,
    budgets: [Arc<Budget>; 2],
}

impl Shared {
    fn new(workers: usize, backends: usize) -> Self {
        let process = Process::new(workers, &ProcessOptions::default());
        let scope = Scope::new(Arc::clone(&process), workers, &ScopeOptions::default());
        let spec = |n: usize| Spec {
            id: format!("b{n}"),
            address: format!("10.0.0.{n}:80"),
            weight: 100,
            passive: Some(PassiveOptions::default()),
            probed: true,
        };
        let pool = Pool::build((0..backends).map(spec).collect(), PoolOptions::default(), None).with_scope(&scope);
        let budgets = [0, 1].map(|_| Arc::new(Budget::new(workers, &BudgetOptions::default())));
        Self { process, scope, pool: Arc::new(pool), budgets }
    }
}

/// One worker, as far as it decides.
struct Worker {
    table: Table,
    queue: Queue,
    scope: Arc<Scope>,
    upstream: Upstream,
    rng: Rng,
    scratch: Vec<u8>,
    now: Nanos,
}

impl Worker {
    fn new(shared: &Shared, worker: usize, algorithm: Algorithm) -> Self {
        let options = UpstreamOptions { algorithm, ..Default::default() };
        let [route, process] = shared.budgets.clone();
        Self {
            table: table(100),
            queue: Queue::new(Arc::clone(&shared.process), worker),
            scope: Arc::clone(&shared.scope),
            upstream: Upstream::new(Arc::clone(&shared.pool), options).with_budgets(worker, route, process),
            rng: Rng::seeded(worker as u64),
            scratch: Vec::new(),
            now: Nanos::from_millis(1000),
        }
    }

    /// Route, admit, pick, head, settle.
    fn request(&mut self) {
        let route =
            self.table.lookup(b"host14.example.com", b"/api/v0/service14/users?id=7", b"GET", &mut self.scratch);
        black_box(route.unwrap());
        self.now = self.now + Duration::from_micros(5);
        let Admission::Granted(permit) = self.queue.admit(&self.scope, Nanos::NEVER, self.now) else { return };
        let key = key::hash(&self.now.get().to_le_bytes());
        let request = Request { method: b"GET", has_body: false, key };
        let mut attempt = Attempt::new(&request, &self.upstream, self.now);
        let mut cx = Cx { now: self.now, upstream: &mut self.upstream, rng: &mut self.rng };
        let Step::Start { slot, .. } = attempt.on_start(&mut cx) else { return };
        attempt.on_sent(&mut cx, slot);
        black_box(attempt.on_head(&mut cx, slot, 200));
        attempt.on_complete(&mut cx);
        drop(permit);
        black_box(self.queue.poll(self.now).is_none());
    }
}

fn routing(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    for routes in [10, 1_000, 10_000] {
        let table = table(routes);
        let mut scratch = Vec::new();
        group.bench_function(format!("{routes}_routes"), |b| {
            b.iter(|| {
                table.lookup(b"host4.example.com", black_box(b"/api/v4/service4/users?id=7"), b"GET", &mut scratch)
            });
        });
    }
    group.finish();
}

fn whole(c: &mut Criterion) {
    for backends in [3, 16, 100] {
        let mut group = c.benchmark_group(format!("decide_{backends}_backends"));
        for algorithm in Algorithm::ALL {
            let mut worker = Worker::new(&Shared::new(1, backends), 0, algorithm);
            group.bench_function(algorithm.as_str(), |b| b.iter(|| worker.request()));
        }
        group.finish();
    }
}

fn shared(c: &mut Criterion) {
    let mut group = c.benchmark_group("shared_2_threads");
    for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections] {
        group.bench_function(algorithm.as_str(), |b| {
            b.iter_custom(|rounds| two_threads(algorithm, rounds));
        });
    }
    group.finish();
}

fn two_threads(algorithm: Algorithm, rounds: u64) -> Duration {
    let shared = Shared::new(2, 3);
    let barrier = Barrier::new(2);
    std::thread::scope(|scope| {
        let (shared, barrier) = (&shared, &barrier);
        let run = |number| {
            scope.spawn(move || {
                let mut worker = Worker::new(shared, number, algorithm);
                barrier.wait();
                let start = Instant::now();
                (0..rounds).for_each(|_| worker.request());
                start.elapsed()
            })
        };
        [run(0), run(1)].map(|thread| thread.join().unwrap()).into_iter().max().unwrap()
    })
}

criterion_group!(benches, routing, whole, shared);
criterion_main!(benches);
