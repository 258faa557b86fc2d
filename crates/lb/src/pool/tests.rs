//! Leases, recorded results, slow start, panic mode, state across a reload.

use super::*;
use crate::attempt::breaker::{BreakerOptions, Circuit};
use crate::attempt::{Blame, ErrorCode, FailureKind};
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
    assert_eq!(pool.lease(0, NOW, false).unwrap_err(), Unavailable::Full);
    drop(first);
    let third = pool.lease(0, NOW, false).unwrap();
    assert_eq!(pool.members()[0].state.in_flight(), 2);
    drop((second, third));
    assert_eq!(pool.members()[0].state.in_flight(), 0);
}

/// A failure that counts for health and circuit alike.
pub(crate) const LOST: AttemptResult = AttemptResult::Failed(Blame { word: "reset", opens_circuit: true });

fn without_breaker() -> PoolOptions {
    PoolOptions { breaker: None, ..Default::default() }
}

fn record(pool: &Pool, index: usize, result: AttemptResult, now: Nanos) -> Transitions {
    pool.lease(index, now, false).unwrap().record(pool, result, now)
}

fn fail_thrice(pool: &Pool, index: usize) {
    (0..3).for_each(|_| _ = record(pool, index, LOST, NOW));
}

#[test]
fn failures_make_a_backend_unhealthy_once_and_one_trial_brings_it_back() {
    let pool = pool(&[1, 1], without_breaker());
    assert_eq!([0; 2].map(|_| record(&pool, 0, LOST, NOW).health), [None, None]);
    assert_eq!(record(&pool, 0, LOST, NOW).health, Some(Transition { healthy: false, reason: "reset" }));
    assert_eq!(pool.lease(0, NOW, false).unwrap_err(), Unavailable::Unhealthy);
    let later = Nanos::from_millis(11_000);
    let mut trial = pool.lease(0, later, false).unwrap();
    assert!(trial.is_probe());
    assert_eq!(pool.lease(0, later, false).unwrap_err(), Unavailable::Unhealthy, "one trial at a time");
    let transitions = trial.record(&pool, AttemptResult::Answered(204), later);
    assert_eq!(transitions.health, Some(Transition { healthy: true, reason: "trial" }));
    drop(trial);
    assert!(pool.lease(0, later, false).is_ok_and(|lease| !lease.is_probe()));
}

#[test]
fn a_trial_that_is_dropped_gives_its_slot_back_and_one_that_fails_starts_the_cooldown_anew() {
    let pool = pool(&[1, 1], without_breaker());
    fail_thrice(&pool, 0);
    let at = |ms| Nanos::from_millis(ms);
    drop(pool.lease(0, at(11_000), false).unwrap());
    let mut trial = pool.lease(0, at(11_000), false).unwrap();
    let failed = Transitions { passive_failure: Some("reset"), ..Transitions::default() };
    assert_eq!(trial.record(&pool, LOST, at(12_000)), failed);
    drop(trial);
    assert_eq!(pool.lease(0, at(21_999), false).unwrap_err(), Unavailable::Unhealthy);
    assert!(pool.lease(0, at(22_000), false).is_ok());
}

#[test]
fn a_probe_of_an_open_circuit_gives_its_slot_back_when_it_is_dropped() {
    let mut specs = specs(&[1, 1]);
    specs[0].passive = None;
    let pool = Pool::build(specs, PoolOptions::default(), None);
    assert_eq!([0; 3].map(|_| record(&pool, 0, LOST, NOW).circuit), [None, None, Some(Circuit::Open)]);
    assert_eq!(pool.lease(0, NOW, false).unwrap_err(), Unavailable::CircuitOpen);
    let later = Nanos::from_millis(31_000);
    let probe = pool.lease(0, later, false).unwrap();
    assert!(probe.is_probe());
    assert_eq!(pool.lease(0, later, false).unwrap_err(), Unavailable::CircuitOpen, "one probe at a time");
    drop(probe);
    let mut probe = pool.lease(0, later, false).unwrap();
    assert_eq!(probe.record(&pool, AttemptResult::Answered(200), later).circuit, Some(Circuit::Closed));
    assert!(pool.lease(0, later, false).is_ok_and(|lease| !lease.is_probe()), "the circuit is closed again");
}

#[test]
fn server_errors_count_only_where_they_are_told_to() {
    let answer = |pool: &Pool, status| record(pool, 0, AttemptResult::Answered(status), NOW);
    let all = pool(&[1, 1], PoolOptions::default());
    assert!((0..100).all(|_| answer(&all, 500) == Transitions::default()));

    let mut specs = specs(&[1, 1]);
    specs[0].passive = Some(PassiveOptions { count_5xx: true, ..Default::default() });
    let pool = Pool::build(specs, PoolOptions::default(), None);
    assert!([500, 499, 503, 599].iter().all(|&status| answer(&pool, status).health.is_none()));
    let transitions = answer(&pool, 500);
    assert_eq!(transitions.health, Some(Transition { healthy: false, reason: "5xx" }));
    assert_eq!(transitions.circuit, None);
}

#[test]
fn failures_to_connect_count_for_health_and_never_for_the_circuit() {
    let pool = pool(&[1, 1], PoolOptions::default());
    let failed = AttemptResult::Failed(FailureKind::ConnectRefused.blame().unwrap());
    let transitions = [0; 3].map(|_| record(&pool, 0, failed, NOW));
    assert!(transitions[2].health.is_some());
    assert!(pool.members()[0].state.breaker.is_closed());
}

#[test]
fn a_failure_that_is_booked_late_counts_like_one_that_is_booked_at_once() {
    for kind in [FailureKind::ConnectRefused, FailureKind::Reset(ErrorCode::Internal)] {
        let [at_once, late] = [(); 2].map(|()| pool(&[1, 1], PoolOptions::default()));
        let blame = kind.blame().unwrap();
        for _ in 0..3 {
            let unrecorded = late.lease(0, NOW, false).unwrap().unrecorded();
            assert_eq!(
                unrecorded.fail(&late, blame, NOW),
                record(&at_once, 0, AttemptResult::Failed(blame), NOW),
                "{kind:?}"
            );
        }
        let state = |pool: &Pool| (pool.healthy(), pool.members()[0].state.breaker.is_closed());
        assert_eq!(state(&late), state(&at_once));
        assert_eq!(state(&late), (1, kind == FailureKind::ConnectRefused));
    }
}

#[test]
fn a_share_of_the_pool_stays_in_service_whatever_fails() {
    for (backends, percent, out) in
        [(1, 50, 0), (1, 99, 0), (2, 50, 1), (3, 50, 1), (3, 67, 2), (4, 50, 2), (3, 0, 0), (3, 100, 3), (1, 100, 1)]
    {
        let breaker = Some(BreakerOptions { max_open_percent: percent, ..Default::default() });
        let options = PoolOptions { max_ejected_percent: percent, breaker, ..Default::default() };
        let pool = pool(&vec![1; backends], options);
        for round in 0..5 {
            for index in 0..backends {
                (0..3).for_each(|_| {
                    if let Ok(mut lease) = pool.lease(index, NOW, false) {
                        lease.record(&pool, LOST, NOW);
                    }
                });
            }
            let ejected = if backends == 1 { 0 } else { out };
            assert_eq!(backends - pool.healthy(), ejected, "{backends} {percent} {round}");
            let open = pool.members().iter().filter(|member| !member.state.breaker.is_closed()).count();
            // What is unhealthy gets no request, so its circuit stays as it was.
            assert_eq!(open, out, "{backends} {percent} {round}");
        }
    }
}

#[test]
fn passive_health_and_circuits_together_never_take_the_last_backend() {
    let mut specs = specs(&[1; 4]);
    // Two whose circuits open, two that are ejected.
    (0..2).for_each(|n| specs[n].passive = None);
    let pool = Pool::build(specs, PoolOptions::default(), None);
    (0..4).for_each(|index| fail_thrice(&pool, index));
    let serving = || (0..4).filter(|&index| pool.lease(index, NOW, false).is_ok()).count();
    assert_eq!(serving(), 1, "{pool:?}");
    // The other three return; the last one is then not spared any more.
    let later = Nanos::from_millis(31_000);
    (0..4).for_each(|index| _ = record(&pool, index, AttemptResult::Answered(200), later));
    assert_eq!(pool.healthy(), 4);
    (0..3).for_each(|_| _ = pool.lease(3, later, false).unwrap().record(&pool, LOST, later));
    assert_eq!(pool.healthy(), 3);
}

#[test]
fn a_backend_that_probes_or_an_operator_took_out_does_not_serve_for_another() {
    let pool = pool(&[1; 4], without_breaker());
    (1..4).for_each(|index| _ = pool.members()[index].state.health.set_draining(true));
    fail_thrice(&pool, 0);
    assert_eq!(pool.healthy(), 4, "the others are drained");
    pool.members()[3].state.health.set_draining(false);
    record(&pool, 0, LOST, NOW);
    assert_eq!(pool.healthy(), 3, "the next failure asks again");
}

#[test]
fn slow_start_has_ten_equal_steps_and_none_at_start() {
    let options = PoolOptions { slow_start: Duration::from_secs(1), ..without_breaker() };
    let pool = pool(&[7, 7], options);
    assert_eq!(pool.effective_weight(0, NOW), 70);
    fail_thrice(&pool, 0);
    let back = Nanos::from_millis(20_000);
    record(&pool, 0, AttemptResult::Answered(200), back);
    let weights: Vec<u32> = (0..12).map(|n| pool.effective_weight(0, Nanos::from_millis(20_000 + n * 100))).collect();
    assert_eq!(weights, [7, 14, 21, 28, 35, 42, 49, 56, 63, 70, 70, 70]);
}

#[test]
fn panic_ignores_health_but_not_a_drain() {
    let options = PoolOptions { panic_threshold_percent: 50, max_ejected_percent: 100, ..without_breaker() };
    let pool = pool(&[1, 1, 1], options);
    fail_thrice(&pool, 0);
    assert!(!pool.in_panic());
    fail_thrice(&pool, 1);
    assert!(pool.in_panic());
    assert!(pool.lease(0, NOW, true).is_ok());
    assert!(pool.members()[1].state.health.set_draining(true));
    assert_eq!(pool.lease(1, NOW, true).unwrap_err(), Unavailable::Unhealthy);
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
