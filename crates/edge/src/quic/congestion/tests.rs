//! What the controller makes of simulated paths, each with two seeds, and what it does by hand.

mod link;
mod measures;
mod sim;

use super::{Algorithm, PathController, PathControllerFactory};
use link::Link;
use quinn_proto::congestion::ControllerFactory;
use sim::{Sim, Source};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const SEEDS: [u64; 2] = [1, 2];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Five downloads of 4 MiB at once; gives Mbit/s of payload.
fn goodput(link: Link, seed: u64) -> f64 {
    let sources: Vec<_> = (0..5).map(|start| Source { total: 4 << 20, ..Source::bulk(start) }).collect();
    let mut sim = Sim::new(link, &sources, seed);
    sim.run(ms(60_000));
    let end = sim.flows.iter().map(|flow| flow.finished.expect("done within a minute")).max().unwrap();
    let got = (20u64 << 20) as f64 * 8e-6 / end.as_secs_f64();
    println!("{got:.1} Mbit/s, queue {:?}, dropped {:.1} %", sim.down.queues(), sim.down.dropped_percent());
    got
}

/// Runs from `from` to `to` and gives the bytes that each flow got meanwhile. Statistics are of the same time.
fn shares(sim: &mut Sim, from: Duration, to: Duration) -> Vec<u64> {
    sim.run(from);
    let before: Vec<u64> = sim.flows.iter().map(|flow| flow.received).collect();
    sim.down.forget();
    sim.run(to);
    let got: Vec<u64> = sim.flows.iter().zip(before).map(|(flow, before)| flow.received - before).collect();
    println!("{got:?}, queue {:?}, dropped {:.1} %", sim.down.queues(), sim.down.dropped_percent());
    got
}

fn mbit(bytes: u64, time: Duration) -> f64 {
    bytes as f64 * 8e-6 / time.as_secs_f64()
}

#[test]
fn a_clean_link_is_used() {
    for seed in SEEDS {
        let got = goodput(Link::clean(10, 100), seed);
        assert!(got > 88.0, "{got}");
    }
}

#[test]
fn one_percent_of_loss_costs_little() {
    for seed in SEEDS {
        let got = goodput(Link::lossy(10, 100, 1.0, 0.0), seed);
        assert!(got > 84.0, "{got}");
    }
}

#[test]
fn loss_and_reordering_on_a_long_link_cost_little() {
    for seed in SEEDS {
        let got = goodput(Link::lossy(25, 50, 2.0, 2.0), seed);
        assert!(got > 38.0, "{got}");
    }
}

#[test]
fn reordering_costs_little() {
    for seed in SEEDS {
        let got = goodput(Link::lossy(10, 100, 0.0, 5.0), seed);
        assert!(got > 80.0, "{got}");
    }
}

#[test]
fn jitter_is_not_taken_for_a_queue() {
    for seed in SEEDS {
        let mut sim = Sim::new(Link { jitter: ms(5), ..Link::clean(10, 100) }, &[Source::bulk(0)], seed);
        let got = mbit(shares(&mut sim, ms(1000), ms(4000))[0], ms(3000));
        assert!(got > 80.0, "{got}");
    }
}

#[test]
fn the_queue_of_a_lone_flow_stays_short() {
    for seed in SEEDS {
        let mut sim = Sim::new(Link::clean(10, 100), &[Source::bulk(0)], seed);
        let got = mbit(shares(&mut sim, ms(1000), ms(4000))[0], ms(3000));
        let (mean, longest) = sim.down.queues();
        assert!(got > 92.0, "{got}");
        assert!(mean < ms(5) && longest < ms(12), "{mean:?} {longest:?}");
        assert!(sim.down.dropped_percent() < 0.01);
    }
}

#[test]
fn a_slower_link_is_noticed_and_the_queue_drained() {
    for seed in SEEDS {
        let mut sim = Sim::new(Link { queue: ms(400), ..Link::clean(10, 100) }, &[Source::bulk(0)], seed);
        sim.run(ms(1500));
        sim.down.link.rate /= 4;
        sim.run(ms(1600));
        assert!(sim.down.queues().1 > ms(20), "the old window fills the slower link");
        let got = mbit(shares(&mut sim, ms(2500), ms(4500))[0], ms(2000));
        let (mean, _) = sim.down.queues();
        assert!(got > 21.0, "{got} of 25");
        assert!(mean < ms(12), "{mean:?}");
    }
}

#[test]
fn a_faster_link_is_found() {
    for seed in SEEDS {
        let mut sim = Sim::new(Link::clean(10, 20), &[Source::bulk(0)], seed);
        sim.run(ms(1500));
        sim.down.link.rate *= 5;
        let got = mbit(shares(&mut sim, ms(2500), ms(4500))[0], ms(2000));
        assert!(got > 85.0, "{got} of 100");
    }
}

#[test]
fn two_flows_share() {
    for seed in SEEDS {
        let mut sim = Sim::new(Link::clean(10, 100), &[Source::bulk(0), Source::bulk(1000)], seed);
        let got = shares(&mut sim, ms(2000), ms(7000));
        let total: u64 = got.iter().sum();
        assert!(got.iter().all(|got| *got * 4 > total), "{got:?}");
        assert!(sim.down.queues().0 < ms(10), "{:?}", sim.down.queues());
    }
}

#[test]
fn a_flow_under_cubic_neither_starves_nor_takes_all() {
    for seed in SEEDS {
        let cubic = Source { cubic: true, ..Source::bulk(1500) };
        let mut sim = Sim::new(Link::clean(10, 100), &[Source::bulk(0), cubic], seed);
        let got = shares(&mut sim, ms(3000), ms(11_000));
        let total: u64 = got.iter().sum();
        assert!(got.iter().all(|got| *got * 12 > total), "{got:?}");
    }
}

#[test]
fn an_application_that_sends_little_keeps_the_link_empty_and_the_window_small() {
    for seed in SEEDS {
        let little = Source { piece: 50 << 10, every: ms(50), ..Source::bulk(0) };
        let mut sim = Sim::new(Link::clean(10, 100), &[little], seed);
        let got = shares(&mut sim, ms(1000), ms(4000))[0];
        assert!(got.abs_diff(60 * (50 << 10)) <= 2 * (50 << 10), "{got}");
        assert!(sim.down.queues().0 < ms(5), "{:?}", sim.down.queues());
        let window = sim.servers().map(|conn| conn.congestion_state().window()).max().unwrap();
        assert!(window < 400_000, "{window}");
    }
}

#[test]
fn marks_keep_a_deep_queue_short() {
    for seed in SEEDS {
        let marking = Link { mark: Some(ms(3)), queue: ms(400), ..Link::clean(10, 100) };
        let mut sim = Sim::new(marking, &[Source::bulk(0), Source::bulk(200), Source::bulk(400)], seed);
        let got: u64 = shares(&mut sim, ms(2000), ms(5000)).iter().sum();
        assert!(mbit(got, ms(3000)) > 80.0, "{got}");
        assert!(sim.down.queues().0 < ms(6), "{:?}", sim.down.queues());
    }
}

#[test]
fn a_path_of_less_than_a_millisecond_is_cubics_and_used() {
    for seed in SEEDS {
        let link = Link { one_way: Duration::from_micros(100), queue: ms(2), ..Link::clean(0, 1000) };
        let mut sim = Sim::new(link, &[Source::bulk(0)], seed);
        let got = mbit(shares(&mut sim, ms(50), ms(150))[0], ms(100));
        assert!(got > 900.0, "{got}");
        let controller = sim.servers().next().unwrap().congestion_state().clone_box().into_any();
        assert!(matches!(controller.downcast::<PathController>().unwrap().algorithm, Algorithm::Cubic(_)));
    }
}

#[test]
fn persistent_congestion_begins_anew_with_two_packets() {
    let start = Instant::now();
    let mut controller = Arc::new(PathControllerFactory::default()).build(start, 1350);
    assert_eq!((controller.window(), controller.initial_window()), (32 * 1350, 32 * 1350));
    controller.on_congestion_event(start + ms(900), start, true, 40_000);
    assert_eq!(controller.window(), 2 * 1350);
    controller.on_mtu_update(1452);
    assert_eq!(controller.window(), 4 * 1452, "the least in all other states");
}
