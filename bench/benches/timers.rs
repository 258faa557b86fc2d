//! Compares the timer wheel of exchanges with the heap of connections. Each turn arms deadlines of 30 s for exchanges that end
//! at once.
//!
//! `cargo bench -p spooky-bench --bench timers`
#![allow(missing_docs, reason = "the macros of criterion make undocumented functions")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use spooky_net::timer::{Deadlines, Wheel};
use std::time::{Duration, Instant};

/// Response timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Time between two turns of a worker.
const TURN: Duration = Duration::from_millis(1);
/// Turns before the measurement, until as many entries expire as are added.
const WARM_UP: u32 = 40_000;

fn deadlines(criterion: &mut Criterion) {
    for requests in [2, 20] {
        let mut group = criterion.benchmark_group(format!("{requests}_requests_each_turn"));
        group.throughput(Throughput::Elements(requests));
        let mut now = Instant::now();
        let mut wheel = Wheel::new(now);
        let mut turn = || {
            now += TURN;
            (0..requests).for_each(|request| wheel.arm(request, now + TIMEOUT, &mut None));
            // The wheel checks far deadlines once per revolution; the exchange has ended by then.
            wheel.advance(now, |_| None);
        };
        (0..WARM_UP).for_each(|_| turn());
        group.bench_function("wheel", |bencher| bencher.iter(&mut turn));
        let mut now = Instant::now();
        let mut heap = Deadlines::default();
        let mut turn = || {
            now += TURN;
            (0..requests).for_each(|request| heap.arm(request, now + TIMEOUT, &mut None));
            while heap.pop_due(now).is_some() {}
        };
        (0..WARM_UP).for_each(|_| turn());
        group.bench_function("heap", |bencher| bencher.iter(&mut turn));
        group.finish();
    }
}

criterion_group!(benches, deadlines);
criterion_main!(benches);
