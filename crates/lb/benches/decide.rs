//! What deciding costs for one request: routing by table size, and the whole path from route to recorded result by algorithm.
//!
//! The whole path must stay below 0.5 us. `shared` is the same path on two threads at once, to see what the shared counts
//! cost when workers meet on them.
#![allow(missing_docs, clippy::unwrap_used, reason = "a bench; the macros of criterion make undocumented functions")]

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use spooky_lb::balance::Algorithm;

#[path = "../tests/checks/worker.rs"]
mod worker;

use worker::{Shared, Worker, table};

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
            group.bench_function(format!("{algorithm:?}"), |b| b.iter(|| worker.request()));
        }
        group.finish();
    }
}

fn shared(c: &mut Criterion) {
    let mut group = c.benchmark_group("shared_2_threads");
    for algorithm in [Algorithm::RoundRobin, Algorithm::LeastConnections] {
        group.bench_function(format!("{algorithm:?}"), |b| {
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
