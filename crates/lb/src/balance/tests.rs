//! Tests the distributions of docs/reference/behaviour.md#load-balancing with seeded draws.

use std::time::Duration;

use super::*;
use crate::pool::tests::LOST;
use crate::pool::tests::{pool, specs};
use crate::pool::{AttemptResult, Lease, PoolOptions, Spec};
use crate::time::Nanos;

const NOW: Nanos = Nanos::from_millis(1000);

fn options() -> PoolOptions {
    PoolOptions { inflight_limit: 100_000, ..Default::default() }
}

struct Picker {
    balancer: Balancer,
    pool: Pool,
    rng: Rng,
    next_key: u64,
}

impl Picker {
    fn new(algorithm: Algorithm, pool: Pool) -> Self {
        let balancer = Balancer::new(algorithm, 1.25, &pool);
        Self { balancer, pool, rng: Rng::seeded(42), next_key: 0 }
    }

    fn pick(&mut self) -> Option<usize> {
        let key = key::hash(format!("key-{}", self.next_key).as_bytes());
        self.next_key += 1;
        self.pick_for(&Order::new(key, None))
    }

    fn pick_for(&mut self, order: &Order) -> Option<usize> {
        let view = View { pool: &self.pool, order, backoff: &[], now: NOW, panic: false, client: None };
        self.balancer.pick(&view, &mut self.rng)
    }

    fn lease(&self, index: usize) -> Lease {
        self.pool.lease(index, NOW, false).unwrap()
    }

    fn counts(&mut self, picks: usize) -> Vec<usize> {
        let mut counts = vec![0; self.pool.members().len()];
        (0..picks).for_each(|_| counts[self.pick().unwrap()] += 1);
        counts
    }
}

/// Pearson's statistic against shares by weight.
fn chi_square(counts: &[usize], weights: &[u32]) -> f64 {
    let total: usize = counts.iter().sum();
    let sum: u32 = weights.iter().sum();
    let terms = counts.iter().zip(weights).map(|(&seen, &weight)| {
        let expected = total as f64 * f64::from(weight) / f64::from(sum);
        (seen as f64 - expected).powi(2) / expected
    });
    terms.sum()
}

#[test]
fn shares_follow_weights_within_five_points_in_all_six() {
    for algorithm in Algorithm::ALL {
        for weights in [&[1, 1, 1][..], &[1, 2, 3], &[100, 50, 25, 1], &[1; 20], &[1, 1000], &[5; 17]] {
            let mut picker = Picker::new(algorithm, pool(weights, options()));
            for member in picker.pool.members() {
                member.state.latency.observe(Duration::from_millis(5), NOW);
            }
            let counts = picker.counts(10_000);
            let sum: u32 = weights.iter().sum();
            for (&seen, &weight) in counts.iter().zip(weights) {
                let off = seen as f64 / 100.0 - f64::from(weight) * 100.0 / f64::from(sum);
                assert!(off.abs() < 5.0, "{algorithm:?} {weights:?}: {counts:?}");
            }
        }
    }
}

#[test]
fn random_and_keyed_choices_spread_evenly_by_chi_square() {
    // 0.1 % critical values for 3, 9 and 99 degrees of freedom.
    for (weights, critical) in [(vec![1, 2, 3, 4], 16.3), (vec![7; 10], 27.9), (vec![1; 100], 148.3)] {
        for algorithm in [Algorithm::Random, Algorithm::ConsistentHash, Algorithm::StickyCid] {
            let mut picker = Picker::new(algorithm, pool(&weights, options()));
            let statistic = chi_square(&picker.counts(100_000), &weights);
            assert!(statistic < critical, "{algorithm:?} {}: {statistic}", weights.len());
        }
    }
}

#[test]
fn round_robin_is_exact_in_every_window_and_smooth() {
    let mut picker = Picker::new(Algorithm::RoundRobin, pool(&[1, 1, 1], options()));
    let picks: Vec<_> = (0..7).map(|_| picker.pick().unwrap()).collect();
    assert_eq!(picks, [0, 1, 2, 0, 1, 2, 0]);

    let weights = [50, 10, 10];
    let mut picker = Picker::new(Algorithm::RoundRobin, pool(&weights, options()));
    let picks: Vec<_> = (0..70).map(|_| picker.pick().unwrap()).collect();
    for window in picks.windows(7) {
        let share = |backend| window.iter().filter(|&&pick| pick == backend).count();
        assert_eq!((share(0), share(1), share(2)), (5, 1, 1), "{window:?}");
    }
    assert!(!picks.windows(5).any(|run| run == [0; 5]), "spread out: {picks:?}");
}

#[test]
fn each_yields_every_backend_once_and_then_none() {
    for algorithm in Algorithm::ALL {
        let mut picker = Picker::new(algorithm, pool(&[3, 1, 2, 1], options()));
        let mut order = Order::new(99, None);
        let mut seen = Vec::new();
        while let Some(index) = picker.pick_for(&order) {
            order.exclude(index);
            seen.push(index);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3], "{algorithm:?}");
    }
}

#[test]
fn backends_that_cannot_be_taken_are_never_picked() {
    for algorithm in Algorithm::ALL {
        let mut picker = Picker::new(algorithm, pool(&[1000, 1, 1], options()));
        picker.pool.members()[0].state.health.set_draining(true);
        let counts = picker.counts(1000);
        assert_eq!(counts[0], 0, "{algorithm:?}");
        assert!(counts[1] > 350 && counts[2] > 350, "{algorithm:?}: {counts:?}");
        picker.pool.members()[1].state.health.set_draining(true);
        picker.pool.members()[2].state.health.set_draining(true);
        assert_eq!(picker.pick(), None, "{algorithm:?}");
    }
}

#[test]
fn least_connections_takes_the_exact_minimum_by_weight() {
    let mut picker = Picker::new(Algorithm::LeastConnections, pool(&[1, 2, 4], options()));
    let _held: Vec<_> = [0, 1, 1, 2, 2, 2].map(|index| picker.lease(index)).into();
    assert_eq!(picker.pick(), Some(2), "3/4 is below 1 and 2/2");
    let _more = picker.lease(2);
    let counts = picker.counts(7000);
    assert!(chi_square(&counts, &[1, 2, 4]) < 13.9, "ties are drawn by weight: {counts:?}");
}

#[test]
fn least_connections_keeps_large_pools_level() {
    let mut picker = Picker::new(Algorithm::LeastConnections, pool(&[1; 40], options()));
    let mut held = Vec::new();
    for _ in 0..400 {
        let index = picker.pick().unwrap();
        held.push(picker.lease(index));
    }
    let most = picker.pool.members().iter().map(|member| member.state.in_flight()).max().unwrap();
    assert!(most <= 14, "{most} on one of 40 where 10 are fair");
}

#[test]
fn latency_aware_avoids_the_slow_and_the_loaded() {
    let mut picker = Picker::new(Algorithm::LatencyAware, pool(&[1, 1], options()));
    picker.pool.members()[0].state.latency.observe(Duration::from_millis(10), NOW);
    picker.pool.members()[1].state.latency.observe(Duration::from_millis(100), NOW);
    let counts = picker.counts(1000);
    assert!((200..300).contains(&counts[1]), "only when drawn twice: {counts:?}");
    let _held: Vec<_> = (0..20).map(|_| picker.lease(0)).collect();
    let counts = picker.counts(1000);
    assert!((200..300).contains(&counts[0]), "21 x 10 ms is worse than 100 ms: {counts:?}");
}

#[test]
fn costs_within_ten_percent_are_a_tie() {
    let mut picker = Picker::new(Algorithm::LatencyAware, pool(&[1, 1], options()));
    picker.pool.members()[0].state.latency.observe(Duration::from_millis(100), NOW);
    picker.pool.members()[1].state.latency.observe(Duration::from_millis(109), NOW);
    let counts = picker.counts(1000);
    assert!((430..570).contains(&counts[1]), "the first draw decides: {counts:?}");
    picker.pool.members()[1].state.latency.observe(Duration::from_millis(115), NOW);
    let counts = picker.counts(1000);
    assert!((200..300).contains(&counts[1]), "only when drawn twice: {counts:?}");
}

#[test]
fn a_keys_first_backend_is_the_first_of_its_order_whatever_the_weights() {
    for weights in [vec![1; 16], vec![3, 1, 2, 2, 7, 1, 1], vec![1; 2500]] {
        let pool = pool(&weights, options());
        let rendezvous = Rendezvous::new(&pool, None);
        for number in 0..500_u64 {
            let order = Order::new(key::hash(&number.to_le_bytes()), None);
            let view = View { pool: &pool, order: &order, backoff: &[], now: NOW, panic: false, client: None };
            assert_eq!(
                rendezvous.pick(&view),
                rendezvous.after(&view, f64::NEG_INFINITY).map(|(_, index)| index),
                "{number}"
            );
        }
    }
}

#[test]
fn keys_come_back_at_once_while_others_start_slowly() {
    let slow = PoolOptions { breaker: None, ..options() };
    let back = Nanos::from_millis(20_000);
    for (algorithm, returns_at_once) in [(Algorithm::ConsistentHash, true), (Algorithm::Random, false)] {
        let mut picker = Picker::new(algorithm, pool(&[1, 1], slow.clone()));
        let record = |picker: &Picker, result, now| {
            picker.pool.lease(0, now, false).unwrap().record(&picker.pool, result, now);
        };
        (0..3).for_each(|_| record(&picker, LOST, NOW));
        record(&picker, AttemptResult::Answered(200), back);
        let mut taken = 0;
        for number in 0..1000_u64 {
            let order = Order::new(key::hash(&number.to_le_bytes()), None);
            let view = View { pool: &picker.pool, order: &order, backoff: &[], now: back, panic: false, client: None };
            taken += u32::from(picker.balancer.pick(&view, &mut picker.rng) == Some(0));
        }
        assert_eq!((400..600).contains(&taken), returns_at_once, "{algorithm:?}: {taken} of 1000");
    }
}

#[test]
fn a_backend_without_samples_carries_one_request_until_it_has_one() {
    let mut picker = Picker::new(Algorithm::LatencyAware, pool(&[1, 1], options()));
    picker.pool.members()[0].state.latency.observe(Duration::from_millis(10), NOW);
    assert!(picker.counts(100)[1] > 20, "it is tried");
    let _only = picker.lease(1);
    assert_eq!(picker.counts(100), [100, 0]);
    picker.pool.members()[0].state.health.set_draining(true);
    assert_eq!(picker.pick(), Some(1), "nobody else can take the rest");
}

fn owners(picker: &mut Picker, keys: usize) -> Vec<String> {
    picker.next_key = 0;
    (0..keys)
        .map(|_| {
            let index = picker.pick().unwrap();
            picker.pool.members()[index].spec.address.clone()
        })
        .collect()
}

#[test]
fn a_backend_that_leaves_or_comes_moves_its_own_keys_only() {
    for algorithm in [Algorithm::ConsistentHash, Algorithm::StickyCid] {
        let weights = [1, 3, 2, 5, 1];
        let mut all = Picker::new(algorithm, pool(&weights, options()));
        let before = owners(&mut all, 10_000);
        for gone in 0..weights.len() {
            let mut rest: Vec<Spec> = specs(&weights);
            let removed = rest.remove(gone);
            let mut fewer = Picker::new(algorithm, Pool::build(rest, options(), None));
            let after = owners(&mut fewer, 10_000);
            let moved = before.iter().zip(&after).filter(|(old, new)| old != new).count();
            let owned = before.iter().filter(|&owner| *owner == removed.address).count();
            assert_eq!(moved, owned, "{algorithm:?} without {}", removed.id);
            let share = f64::from(removed.weight) / 12.0 * 100.0;
            assert!(moved as f64 / 100.0 <= share + 2.0, "read the other way: one that comes takes {moved}");
        }
    }
}

#[test]
fn keyed_choices_do_not_depend_on_the_order_in_the_file() {
    let mut straight = Picker::new(Algorithm::ConsistentHash, pool(&[1, 3, 2, 5], options()));
    let mut reversed = specs(&[1, 3, 2, 5]);
    reversed.reverse();
    let mut reversed = Picker::new(Algorithm::ConsistentHash, Pool::build(reversed, options(), None));
    assert_eq!(owners(&mut straight, 2000), owners(&mut reversed, 2000));
}

#[test]
fn the_load_bound_passes_a_hot_key_on_and_sticky_does_not() {
    let order = Order::new(7, None);
    let hot = |algorithm| {
        let mut picker = Picker::new(algorithm, pool(&[1, 1, 1], options()));
        let mut held = Vec::new();
        for _ in 0..300 {
            let index = picker.pick_for(&order).unwrap();
            held.push(picker.lease(index));
        }
        let mut loads: Vec<u32> = picker.pool.members().iter().map(|member| member.state.in_flight()).collect();
        loads.sort_unstable();
        loads
    };
    let bounded = hot(Algorithm::ConsistentHash);
    assert!(bounded[2] <= 127, "no more than 1.25 x 100 and a little: {bounded:?}");
    assert_eq!(hot(Algorithm::StickyCid), [0, 0, 300]);
}

#[test]
fn a_kept_backend_stays_first_until_it_is_unusable() {
    let mut picker = Picker::new(Algorithm::StickyCid, pool(&[1, 1, 1], options()));
    for keep in 0..3 {
        assert_eq!(picker.pick_for(&Order::new(5, Some(keep))), Some(keep));
    }
    let natural = picker.pick_for(&Order::new(5, None)).unwrap();
    picker.pool.members()[natural].state.health.set_draining(true);
    let next = picker.pick_for(&Order::new(5, Some(natural))).unwrap();
    assert_ne!(next, natural);
    picker.pool.members()[natural].state.health.set_draining(false);
    assert_eq!(picker.pick_for(&Order::new(5, Some(next))), Some(next), "it keeps the next");
}
