//! Probes and traffic apart, thresholds, the first probe, the cooldown.

use super::{ActiveOptions, Fitness, Health, PassiveOptions, Prober, Transition};
use crate::rng::Rng;
use crate::time::Nanos;
use std::time::Duration;

const AT: fn(u64) -> Nanos = Nanos::from_millis;

fn probed() -> (Health, Prober) {
    let health = Health::default();
    health.set_probed(true);
    (health, Prober::new(ActiveOptions::default(), AT(0), &mut Rng::seeded(5)))
}

const DOWN: Option<Transition> = Some(Transition { healthy: false, reason: "probe" });
/// A failed request; the pool permits every ejection.
fn fail(health: &Health, reason: &'static str, now: Nanos, options: &PassiveOptions) -> Option<Transition> {
    health.on_request_failure(false, now, options).then(|| health.eject(reason, now, options)).flatten()
}

const UP: Option<Transition> = Some(Transition { healthy: true, reason: "probe" });

#[test]
fn until_the_first_success_one_probe_decides_without_cooldown() {
    let (health, mut prober) = probed();
    prober.on_start(AT(10), &mut Rng::seeded(1));
    let due = prober.due();
    assert_eq!(prober.on_result(&health, false, AT(20)), DOWN);
    assert_eq!(prober.due(), due);
    assert_eq!(prober.on_result(&health, false, AT(30)), None);
    assert_eq!(prober.on_result(&health, true, AT(40)), UP);
}

#[test]
fn later_the_thresholds_and_the_cooldown_hold() {
    let (health, mut prober) = probed();
    prober.on_result(&health, true, AT(0));
    assert_eq!(prober.on_result(&health, false, AT(1)), None);
    assert_eq!(prober.on_result(&health, false, AT(2)), None);
    prober.on_result(&health, true, AT(3));
    assert_eq!(prober.on_result(&health, false, AT(4)), None);
    assert_eq!(prober.on_result(&health, false, AT(5)), None);
    assert_eq!(prober.on_result(&health, false, AT(6)), DOWN);
    assert!(prober.due() >= AT(5006));
    assert_eq!(prober.on_result(&health, true, AT(6000)), None);
    assert_eq!(prober.on_result(&health, false, AT(6001)), None);
    assert_eq!(prober.on_result(&health, true, AT(6002)), None);
    assert_eq!(prober.on_result(&health, true, AT(6003)), UP);
}

#[test]
fn requests_and_probes_count_apart() {
    let (health, mut prober) = probed();
    let passive = PassiveOptions::default();
    prober.on_result(&health, true, AT(0));
    prober.on_result(&health, false, AT(1));
    prober.on_result(&health, false, AT(2));
    health.on_request_success(false, AT(3), &passive);
    assert_eq!(prober.on_result(&health, false, AT(4)), DOWN);

    let (health, mut prober) = probed();
    fail(&health, "reset", AT(1), &passive);
    fail(&health, "reset", AT(2), &passive);
    prober.on_result(&health, true, AT(3));
    assert_eq!(fail(&health, "reset", AT(4), &passive), Some(Transition { healthy: false, reason: "reset" }));
}

#[test]
fn with_probes_a_passive_rest_ends_with_the_next_good_probe_after_the_cooldown() {
    let (health, mut prober) = probed();
    let passive = PassiveOptions::default();
    prober.on_result(&health, true, AT(0));
    (0..3).for_each(|_| _ = fail(&health, "timeout", AT(100), &passive));
    assert_eq!(health.fitness(AT(20_000)), Fitness::Unhealthy, "no trial request where probes decide");
    assert_eq!(prober.on_result(&health, true, AT(10_099)), None);
    assert_eq!(prober.on_result(&health, true, AT(10_100)), UP);
}

#[test]
fn both_sources_must_agree() {
    let (health, mut prober) = probed();
    let passive = PassiveOptions::default();
    prober.on_result(&health, true, AT(0));
    (0..3).for_each(|_| _ = fail(&health, "timeout", AT(1), &passive));
    (0..3).for_each(|_| assert_eq!(prober.on_result(&health, false, AT(2)), None));
    assert!(!health.active_up() && !health.passive_up());
    assert_eq!(prober.on_result(&health, true, AT(20_000)), None, "passive is over, active not yet");
    assert!(health.passive_up());
    assert_eq!(prober.on_result(&health, true, AT(20_001)), UP);
}

#[test]
fn first_probes_spread_and_intervals_jitter() {
    let mut rng = Rng::seeded(9);
    let options = ActiveOptions { interval: Duration::from_millis(400), ..Default::default() };
    for _ in 0..200 {
        let mut prober = Prober::new(options, AT(1000), &mut rng);
        assert!((AT(1000)..AT(1400)).contains(&prober.due()));
        prober.on_start(AT(2000), &mut rng);
        assert!((AT(2360)..=AT(2440)).contains(&prober.due()));
    }
}

#[test]
fn a_drain_is_reported_once() {
    let health = Health::default();
    assert!(health.set_draining(true));
    assert!(!health.set_draining(true));
    assert_eq!(health.fitness(AT(1)), Fitness::Draining);
    assert!(health.set_draining(false));
    assert_eq!(health.fitness(AT(1)), Fitness::Healthy);
}

#[test]
fn a_trial_needs_as_many_successes_as_configured() {
    let health = Health::default();
    let options = PassiveOptions { failure_threshold: 1, success_threshold: 3, ..PassiveOptions::default() };
    for start in [0, 1_000_000] {
        assert!(fail(&health, "5xx", AT(start), &options).is_some());
        let later = AT(start + 500_000);
        assert_eq!(health.on_request_success(true, later, &options), None);
        assert_eq!(health.on_request_success(true, later, &options), None);
        assert_eq!(health.on_request_success(false, later, &options), None, "sent before it was ejected");
        let up = health.on_request_success(true, later, &options);
        assert_eq!(up.map(|transition| transition.healthy), Some(true));
    }
}
