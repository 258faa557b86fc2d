//! Books of a pool: places, verdicts, slow start, panic, state over a reload.

use super::*;
use crate::health::Transition;
use crate::time::Nanos;

/// A pool with these weights, ids `b0`, `b1`, ... and defaults otherwise.
pub(crate) fn pool(weights: &[u32], options: PoolOptions) -> Pool {
    Pool::build(specs(weights), options, None)
}

pub(crate) fn specs(weights: &[u32]) -> Vec<Spec> {
    let spec = |(n, &weight): (usize, &u32)| Spec {
        id: format!("b{n}"),
        address: format!("10.0.0.{n}:80"),
        weight,
        passive: Some(PassiveOptions::default()),
        probed: false,
    };
    weights.iter().enumerate().map(spec).collect()
}

const NOW: Nanos = Nanos::from_millis(1_000);

#[test]
fn places_are_bounded_and_return_by_drop() {
    let pool = pool(&[1], PoolOptions { inflight_limit: 2, ..Default::default() });
    let first = pool.lease(0, NOW, false).unwrap();
    let second = pool.lease(0, NOW, false).unwrap();
    assert_eq!(pool.lease(0, NOW, false).unwrap_err(), Bar::Full);
    drop(first);
    let third = pool.lease(0, NOW, false).unwrap();
    assert_eq!(pool.members()[0].state.in_flight(), 2);
    drop((second, third));
    assert_eq!(pool.members()[0].state.in_flight(), 0);
}

#[test]
fn failures_make_a_backend_unhealthy_once_and_one_trial_brings_it_back() {
    let pool = pool(&[1], PoolOptions { breaker: None, ..Default::default() });
    let fail = |now| pool.lease(0, now, false).unwrap().settle(&pool, Verdict::Failed("reset"), now);
    assert_eq!((fail(NOW), fail(NOW)), (None, None));
    assert_eq!(fail(NOW), Some(Transition { healthy: false, reason: "reset" }));
    assert_eq!(pool.lease(0, NOW, false).unwrap_err(), Bar::Unfit);
    let later = Nanos::from_millis(11_000);
    let mut trial = pool.lease(0, later, false).unwrap();
    assert!(trial.is_probe());
    assert_eq!(pool.lease(0, later, false).unwrap_err(), Bar::Unfit, "one trial at a time");
    assert_eq!(trial.settle(&pool, Verdict::Answered(204), later), Some(Transition { healthy: true, reason: "trial" }));
    drop(trial);
    assert!(pool.lease(0, later, false).is_ok_and(|lease| !lease.is_probe()));
}

#[test]
fn a_trial_that_is_dropped_gives_its_place_back_and_one_that_fails_rests_anew() {
    let pool = pool(&[1], PoolOptions { breaker: None, ..Default::default() });
    (0..3).for_each(|_| _ = pool.lease(0, NOW, false).unwrap().settle(&pool, Verdict::Failed("reset"), NOW));
    let at = |ms| Nanos::from_millis(ms);
    drop(pool.lease(0, at(11_000), false).unwrap());
    let mut trial = pool.lease(0, at(11_000), false).unwrap();
    assert_eq!(trial.settle(&pool, Verdict::Failed("reset"), at(12_000)), None);
    drop(trial);
    assert_eq!(pool.lease(0, at(21_999), false).unwrap_err(), Bar::Unfit);
    assert!(pool.lease(0, at(22_000), false).is_ok());
}

#[test]
fn a_probe_of_an_open_circuit_gives_its_place_back_when_it_is_dropped() {
    let mut specs = specs(&[1]);
    specs[0].passive = None;
    let pool = Pool::build(specs, PoolOptions::default(), None);
    (0..3).for_each(|_| _ = pool.lease(0, NOW, false).unwrap().settle(&pool, Verdict::Failed("reset"), NOW));
    assert_eq!(pool.lease(0, NOW, false).unwrap_err(), Bar::Open);
    let later = Nanos::from_millis(31_000);
    let probe = pool.lease(0, later, false).unwrap();
    assert!(probe.is_probe());
    assert_eq!(pool.lease(0, later, false).unwrap_err(), Bar::Open, "one probe at a time");
    drop(probe);
    let mut probe = pool.lease(0, later, false).unwrap();
    assert_eq!(probe.settle(&pool, Verdict::Answered(200), later), None);
    assert!(pool.lease(0, later, false).is_ok_and(|lease| !lease.is_probe()), "the circuit is closed again");
}

#[test]
fn server_errors_count_for_health_and_not_for_the_breaker_by_default() {
    let pool = pool(&[1], PoolOptions::default());
    let answer = |status| pool.lease(0, NOW, false).unwrap().settle(&pool, Verdict::Answered(status), NOW);
    assert_eq!((answer(500), answer(499), answer(503), answer(599)), (None, None, None, None));
    assert_eq!(answer(500), Some(Transition { healthy: false, reason: "5xx" }));
    assert_eq!(pool.members()[0].state.breaker.state(NOW), crate::attempt::breaker::Circuit::Closed);
}

#[test]
fn slow_start_has_ten_equal_steps_and_none_at_start() {
    let pool = pool(&[7], PoolOptions { breaker: None, slow_start: Duration::from_secs(1), ..Default::default() });
    assert_eq!(pool.effective_weight(0, NOW), 70);
    (0..3).for_each(|_| _ = pool.lease(0, NOW, false).unwrap().settle(&pool, Verdict::Failed("reset"), NOW));
    let back = Nanos::from_millis(20_000);
    pool.lease(0, back, false).unwrap().settle(&pool, Verdict::Answered(200), back);
    let weights: Vec<u32> = (0..12).map(|n| pool.effective_weight(0, Nanos::from_millis(20_000 + n * 100))).collect();
    assert_eq!(weights, [7, 14, 21, 28, 35, 42, 49, 56, 63, 70, 70, 70]);
}

#[test]
fn panic_ignores_health_but_not_a_drain() {
    let pool = pool(&[1, 1, 1], PoolOptions { breaker: None, panic_threshold_percent: 50, ..Default::default() });
    let kill = |n| (0..3).for_each(|_| _ = pool.lease(n, NOW, false).unwrap().settle(&pool, Verdict::Failed("x"), NOW));
    kill(0);
    assert!(!pool.in_panic());
    kill(1);
    assert!(pool.in_panic());
    assert!(pool.lease(0, NOW, true).is_ok());
    assert!(pool.members()[1].state.health.set_draining(true));
    assert_eq!(pool.lease(1, NOW, true).unwrap_err(), Bar::Unfit);
}

#[test]
fn a_reload_keeps_the_state_of_backends_that_stay() {
    let old = pool(&[1, 2], PoolOptions { breaker: None, ..Default::default() });
    let lease = old.lease(1, NOW, false).unwrap();
    let mut specs = specs(&[9, 9, 9]);
    specs.swap_remove(0);
    let new = Pool::build(specs, PoolOptions::default(), Some(&old));
    let kept = new.members().iter().position(|member| member.spec.id == "b1").unwrap();
    assert_eq!(new.members()[kept].state.in_flight(), 1);
    drop(lease);
    assert_eq!(new.members()[kept].state.in_flight(), 0);
    assert_eq!(new.effective_weight(kept, NOW), 90);
}
