//! A second attempt beside a slow one: when it starts, who wins, and what it costs.

use super::*;

pub(super) fn hedging(backends: usize) -> Bench {
    hedging_with(backends, AttemptOptions::default())
}

fn hedging_with(backends: usize, attempt: AttemptOptions) -> Bench {
    let options = UpstreamOptions { hedge: Some(HedgeOptions::default()), attempt, ..Default::default() };
    let pool = Arc::new(pool(&vec![1; backends], PoolOptions::default()));
    Bench { upstream: Upstream::new(pool, options), rng: Rng::seeded(1), now: Nanos::from_millis(1000) }
}

#[test]
fn a_hedge_starts_late_and_the_first_head_wins() {
    for winner_is_hedge in [true, false] {
        let mut bench = hedging(3);
        let (mut attempt, first, primary) = bench.begin("GET", false);
        attempt.on_sent(&mut bench.cx(), first);
        assert_eq!(attempt.timer(&bench.upstream), bench.now + Duration::from_millis(100));
        bench.wait(100);
        let Step::Hedge { slot, backend } = attempt.on_timer(&mut bench.cx()) else { panic!() };
        assert_ne!(backend, primary);
        attempt.on_sent(&mut bench.cx(), slot);
        assert_eq!(bench.in_flight(), 2);
        bench.wait(30);
        let (winner, loser) = if winner_is_hedge { (slot, first) } else { (first, slot) };
        assert_eq!(attempt.on_head(&mut bench.cx(), winner, 200), Step::Cancel { slot: loser });
        assert_eq!(attempt.next(&mut bench.cx()), Step::Done);
        let latency = |index: usize| bench.upstream.pool().members()[index].state.latency.micros();
        let blamed = if winner_is_hedge { backend } else { primary };
        assert!(latency(blamed).is_some());
        assert_eq!((0..3).filter(|&index| latency(index).is_some()).count(), 1, "the loser counts for nothing");
        attempt.on_complete(&mut bench.cx());
        assert_eq!(bench.in_flight(), 0);
    }
}

#[test]
fn an_error_waits_for_the_other_and_both_may_be_followed_by_a_retry() {
    let mut bench = hedging(3);
    let (mut attempt, first, _) = bench.begin("GET", false);
    bench.wait(100);
    let Step::Hedge { slot, .. } = attempt.on_timer(&mut bench.cx()) else { panic!() };
    let step = attempt.on_failure(&mut bench.cx(), first, INTERNAL, Sent::Replayable);
    assert_eq!(step, Step::Wait);
    let step = attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable);
    assert!(matches!(step, Step::Start { .. }), "{step:?}");
}

#[test]
fn hedges_need_a_safe_method_no_body_and_another_backend() {
    for (backends, method, body) in [(2, "POST", false), (2, "GET", true), (1, "GET", false), (2, "PUT", false)] {
        let mut bench = hedging(backends);
        let (mut attempt, ..) = bench.begin(method, body);
        bench.wait(100);
        assert_eq!(attempt.on_timer(&mut bench.cx()), Step::Wait, "{backends} {method} {body}");
    }
}

#[test]
fn a_hedge_is_one_of_the_attempts_that_max_retries_allows() {
    for (max_retries, hedged) in [(0, false), (1, true)] {
        let mut bench = hedging_with(3, AttemptOptions { max_retries, ..AttemptOptions::default() });
        let (mut attempt, first, _) = bench.begin("GET", false);
        bench.wait(100);
        let step = attempt.on_timer(&mut bench.cx());
        let Step::Hedge { slot, .. } = step else {
            assert_eq!((step, hedged), (Step::Wait, false));
            continue;
        };
        assert!(hedged);
        attempt.on_failure(&mut bench.cx(), first, INTERNAL, Sent::Replayable);
        let step = attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable);
        assert!(matches!(step, Step::Answer(_)), "{step:?}");
    }
}

#[test]
fn a_request_that_ends_without_a_body_is_hedged_from_its_start() {
    let mut bench = hedging(2);
    let (mut attempt, slot, _) = bench.begin("GET", true);
    attempt.on_sent(&mut bench.cx(), slot);
    bench.wait(60);
    attempt.on_empty_body();
    attempt.on_upload_end(&bench.cx());
    bench.wait(40);
    assert!(matches!(attempt.on_timer(&mut bench.cx()), Step::Hedge { .. }));
}

#[test]
fn retries_and_hedges_share_the_budget() {
    let mut bench = hedging(3);
    let none = BudgetOptions { ratio_percent: 0, min_retries: 1, ..Default::default() };
    let [route, global] = [0, 1].map(|_| Arc::new(Budget::new(1, &none)));
    bench.upstream = bench.upstream.with_budgets(Arc::clone(&route), global);
    let (mut attempt, slot, _) = bench.begin("GET", false);
    let step = attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable);
    let Step::Start { slot, .. } = step else { panic!("{step:?}") };
    bench.wait(100);
    assert_eq!(attempt.on_timer(&mut bench.cx()), Step::Wait, "no hedge without budget");
    let step = attempt.on_failure(&mut bench.cx(), slot, INTERNAL, Sent::Replayable);
    assert_eq!(step, Step::Answer(Reason::UpstreamReset));
    assert_eq!(route.further(bench.now), 1);
    assert_eq!(bench.in_flight(), 0);
}
