//! Whom a worker passes over after failed connects, why there is no candidate, and who pays for a further attempt.

use super::*;
use crate::attempt::BudgetOptions;
use crate::attempt::breaker::BreakerOptions;
use crate::health::{ActiveOptions, Prober};
use crate::pool::PoolOptions;
use crate::pool::tests::pool;

const NOW: Nanos = Nanos::from_millis(1000);

fn upstream(backends: usize, options: PoolOptions) -> Upstream {
    Upstream::new(Arc::new(pool(&vec![1; backends], options)), UpstreamOptions::default())
}

/// Whether a request at `now` may go to backend 0 while another is usable.
fn is_picked(upstream: &mut Upstream, now: Nanos) -> bool {
    (0..4).any(|_| {
        let pick = upstream.pick(&mut Order::new(0, None), None, now, &mut Rng::seeded(1));
        matches!(pick, Pick::Lease(lease) if lease.index() == 0)
    })
}

/// Milliseconds for which backend 0 is passed over after `now`.
fn rest(upstream: &mut Upstream, now: Nanos) -> u128 {
    let mut later = now;
    while !is_picked(upstream, later) {
        later = later + Duration::from_millis(1);
    }
    later.elapsed_since(now).as_millis()
}

#[test]
fn rests_double_to_ten_seconds_within_their_jitter_and_end_with_a_connection() {
    let (mut upstream, mut rng, mut now) = (upstream(2, PoolOptions::default()), Rng::seeded(3), NOW);
    for nominal in [250, 500, 1000, 2000, 4000, 8000, 10_000, 10_000] {
        assert!(upstream.on_connect_failure(0, now, &mut rng));
        let rest = rest(&mut upstream, now);
        assert!((nominal * 9 / 10..=nominal * 11 / 10 + 1).contains(&rest), "{rest} for {nominal}");
        now = now + Duration::from_secs(11);
    }
    assert!(upstream.on_connect_failure(0, now, &mut rng));
    assert!(!upstream.on_connect_failure(0, now, &mut rng), "the failure of one attempt that several waited for");
    assert!(!is_picked(&mut upstream, now));
    upstream.on_connected(0);
    assert!(is_picked(&mut upstream, now));
    assert!(upstream.on_connect_failure(0, now, &mut rng));
    assert!(rest(&mut upstream, now) < 300, "the next rest is a first one");
}

#[test]
fn a_successful_probe_ends_the_rest() {
    let (mut upstream, mut rng) = (upstream(2, PoolOptions::default()), Rng::seeded(3));
    assert!(upstream.on_connect_failure(0, NOW, &mut rng));
    assert!(!is_picked(&mut upstream, NOW));
    let pool = Arc::clone(upstream.pool());
    let mut prober = Prober::new(ActiveOptions::default(), NOW, &mut rng);
    prober.on_result(&pool.members()[0].state.health, true, NOW);
    assert!(is_picked(&mut upstream, NOW));
    assert!(upstream.on_connect_failure(0, NOW, &mut rng), "a failure after the probe is transitions");
    assert!(rest(&mut upstream, NOW) < 300, "and its rest a first one");
}

#[test]
fn a_resting_backend_is_picked_when_no_other_is_left() {
    let mut upstream = upstream(1, PoolOptions::default());
    assert!(upstream.on_connect_failure(0, NOW, &mut Rng::seeded(3)));
    assert!(is_picked(&mut upstream, NOW));
}

#[test]
fn a_backend_that_becomes_free_while_others_choose_is_waited_for() {
    let upstream = upstream(2, PoolOptions::default());
    let mut order = Order::new(0, None);
    let explain = |order: &Order| upstream.explain(order, None, Nanos::from_millis(1), false);
    // As if both had been full when the choice was made.
    assert!(matches!(explain(&order), Pick::Full));
    order.exclude(0);
    assert!(matches!(explain(&order), Pick::Full));
    order.exclude(1);
    assert!(matches!(explain(&order), Pick::Exhausted), "both were tried");
}

#[test]
fn what_bars_one_backend_explains_the_refusal_unless_another_is_only_full() {
    let breaker = BreakerOptions { max_open_percent: 100, ..BreakerOptions::default() };
    let options = PoolOptions { breaker: Some(breaker), inflight_limit: 1, ..PoolOptions::default() };
    let mut upstream = upstream(3, options);
    let (pool, mut rng) = (Arc::clone(upstream.pool()), Rng::seeded(1));
    let mut pick = || upstream.pick(&mut Order::new(0, None), None, NOW, &mut rng);
    let members = pool.members();
    for member in members {
        member.state.health.set_draining(true);
    }
    assert!(matches!(pick(), Pick::Refused(Reason::NoHealthyBackend)));
    for member in members {
        member.state.health.set_draining(false);
        assert!(member.state.breaker.open(NOW, &breaker));
        assert!(matches!(pick(), Pick::Refused(Reason::CircuitOpen)), "of {}", member.spec.id);
    }
    members[1].state.breaker.close();
    let Pick::Lease(held) = pick() else { panic!("backend 1 is free") };
    assert!(matches!(pick(), Pick::Full));
    drop(held);
    assert!(matches!(pick(), Pick::Lease(_)));
}

#[test]
fn a_place_in_the_budget_of_the_route_is_given_back_if_the_process_has_none() {
    let one = BudgetOptions { ratio_percent: 0, min_retries: 1, ..BudgetOptions::default() };
    let [route, global] = [0, 1].map(|_| Arc::new(Budget::new(1, &one)));
    let upstream = upstream(1, PoolOptions::default()).with_budgets(Arc::clone(&route), Arc::clone(&global));
    assert!(global.take(NOW));
    assert!(!upstream.take_budget(NOW));
    assert_eq!(route.further(NOW), 0);
    global.give_back(NOW);
    assert!(upstream.take_budget(NOW));
    assert_eq!((route.further(NOW), global.further(NOW)), (1, 1));
    assert!(!upstream.take_budget(NOW), "the budget of the route is empty");
    assert_eq!((route.further(NOW), global.further(NOW)), (1, 1));
    upstream.give_back_budget(NOW);
    assert_eq!((route.further(NOW), global.further(NOW)), (0, 0));
}
