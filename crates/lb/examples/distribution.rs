//! Draws where ten thousand requests go under each algorithm: `cargo run -p spooky-lb --example distribution > FILE.svg`.
//!
//! Four backends with the weights 4, 2, 1 and 1, of which the last takes four times as long. One request a millisecond, in
//! virtual time and from one seed, so that the picture is the same on every machine.
#![allow(clippy::expect_used, reason = "a drawing: what cannot happen ends it")]

use spooky_lb::attempt::{Attempts, Cx, Request, SlotId, Step};
use spooky_lb::balance::{Algorithm, key};
use spooky_lb::pool::{Pool, PoolOptions, Spec};
use spooky_lb::rng::Rng;
use spooky_lb::time::Nanos;
use spooky_lb::upstream::{Upstream, UpstreamOptions};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const WEIGHTS: [u32; 4] = [4, 2, 1, 1];
const SERVICE_MS: [u64; 4] = [10, 10, 10, 40];
const REQUESTS: u64 = 10_000;
const ALGORITHMS: [(&str, Algorithm); 6] = [
    ("round-robin", Algorithm::RoundRobin),
    ("random", Algorithm::Random),
    ("least-connections", Algorithm::LeastConnections),
    ("latency-aware", Algorithm::LatencyAware),
    ("consistent-hash", Algorithm::ConsistentHash),
    ("sticky-cid", Algorithm::StickyCid),
];
const COLOURS: [&str; 4] = ["#4878a8", "#68a868", "#d8a048", "#b85858"];

fn main() {
    let (left, width, row) = (150, 560, 44);
    let height = row * (ALGORITHMS.len() + 1) + 40;
    println!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 740 {height}\" font-family=\"sans-serif\" font-size=\"14\">"
    );
    println!("<rect width=\"740\" height=\"{height}\" fill=\"#ffffff\"/>");
    let total = u64::from(WEIGHTS.iter().sum::<u32>());
    let shares = WEIGHTS.map(|weight| u64::from(weight) * REQUESTS / total);
    let rows = std::iter::once(("weights", shares)).chain(ALGORITHMS.map(|(name, algorithm)| (name, run(algorithm))));
    for (number, (name, counts)) in rows.enumerate() {
        let top = 10 + row * number;
        println!("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>", left - 12, top + 21);
        let mut at = left;
        for (count, colour) in counts.iter().zip(COLOURS) {
            let part = usize::try_from(*count).expect("a small number") * width / 10_000;
            println!("<rect x=\"{at}\" y=\"{top}\" width=\"{part}\" height=\"30\" fill=\"{colour}\"/>");
            if part > 30 {
                let percent = (count + 50) / 100;
                println!(
                    "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\" fill=\"#fff\">{percent} %</text>",
                    at + part / 2,
                    top + 20
                );
            }
            at += part;
        }
    }
    let legend = ["weight 4", "weight 2", "weight 1", "weight 1, four times as slow"];
    let mut at = left;
    for (text, colour) in legend.iter().zip(COLOURS) {
        println!("<rect x=\"{at}\" y=\"{}\" width=\"12\" height=\"12\" fill=\"{colour}\"/>", height - 28);
        println!("<text x=\"{}\" y=\"{}\">{text}</text>", at + 18, height - 17);
        at += 100;
    }
    println!("</svg>");
}

/// Requests by backend.
fn run(algorithm: Algorithm) -> [u64; 4] {
    let spec = |(number, weight): (usize, &u32)| Spec {
        id: format!("b{number}"),
        address: format!("10.0.0.{number}:80"),
        weight: *weight,
        passive: None,
        probed: false,
    };
    let pool = Pool::build(WEIGHTS.iter().enumerate().map(spec).collect(), PoolOptions::default(), None);
    let mut upstream = Upstream::new(Arc::new(pool), UpstreamOptions { algorithm, ..Default::default() });
    let (mut rng, mut counts) = (Rng::seeded(1), [0; 4]);
    let mut running: BTreeMap<(u64, u64), (Attempts, SlotId)> = BTreeMap::new();
    for number in 0..REQUESTS {
        while let Some(first) = running.first_entry().filter(|first| first.key().0 <= number) {
            let ((at, _), (mut attempt, slot)) = first.remove_entry();
            let mut cx = Cx { now: Nanos::ZERO + Duration::from_millis(at), upstream: &mut upstream, rng: &mut rng };
            attempt.on_head(&mut cx, slot, 200);
            attempt.on_complete(&mut cx);
        }
        let request = Request { method: b"GET", has_body: false, key: key::hash(&number.to_le_bytes()) };
        let now = Nanos::ZERO + Duration::from_millis(number);
        let mut attempt = Attempts::new(&request, &upstream, now);
        let mut cx = Cx { now, upstream: &mut upstream, rng: &mut rng };
        let Step::Start { slot, backend } = attempt.on_start(&mut cx) else { continue };
        attempt.on_sent(&mut cx, slot);
        let (Some(count), Some(service)) = (counts.get_mut(backend), SERVICE_MS.get(backend)) else { continue };
        *count += 1;
        running.insert((number + service, number), (attempt, slot));
    }
    counts
}
