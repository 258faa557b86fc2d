//! Measures the codecs and checks of `spooky-bridge` per message.
//!
//! `cargo bench -p spooky-bench --bench codecs [-- FILTER]`
#![allow(missing_docs, reason = "the macros of criterion make undocumented functions")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use spooky_bench::{codec, sample};

fn requests(criterion: &mut Criterion) {
    for (name, request) in [("h2load", sample::h2load()), ("browser", sample::browser())] {
        let mut group = criterion.benchmark_group(name);
        group.bench_function("qpack_decode_and_check", |bencher| bencher.iter(codec::qpack_decode(&request)));
        group.bench_function("h3_receive_and_rewrite", |bencher| bencher.iter(codec::receive_request(&request)));
        group.bench_function("rewrite_to_backend", |bencher| {
            let (head, mut rewrite) = (sample::checked(request.clone()), codec::rewriting());
            let work = |mut head| {
                rewrite(&mut head);
                head
            };
            bencher.iter_batched(|| head.clone(), work, BatchSize::SmallInput);
        });
        group.bench_function("hpack_encode", |bencher| bencher.iter(codec::hpack_encode(&request)));
        group.bench_function("h2_round_trip", |bencher| bencher.iter(codec::h2_round_trip(&request)));
        group.bench_function("h2_serve", |bencher| bencher.iter(codec::h2_serve(&request)));
        group.finish();
    }
}

fn answers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answer");
    group.bench_function("hpack_decode", |bencher| bencher.iter(codec::hpack_decode()));
    group.bench_function("h3_encode_response", |bencher| bencher.iter(codec::encode_answer()));
    group.finish();
}

fn bodies(criterion: &mut Criterion) {
    let mut work = codec::receive_body();
    let mut group = criterion.benchmark_group("body");
    group.throughput(Throughput::Bytes(work() as u64));
    group.bench_function("h3_receive_data", |bencher| bencher.iter(&mut work));
    group.finish();
}

criterion_group!(benches, requests, answers, bodies);
criterion_main!(benches);
