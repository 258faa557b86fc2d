//! A seeded simulator over admission, attempts, balancing and health: virtual time, faults, and a shadow model.
//!
//! Every seed is another world: limits, algorithms, faults, bursts, clock jumps, a reload in the middle. After each event
//! the shadow model compares what the crate believes with what was seen to happen. A failing seed is printed; replay it by
//! `SIM_SEED=<n> cargo test -p spooky-lb --test sim`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test: a broken invariant ends it"
)]

mod adaptive;
mod backend;
mod drive;
mod shadow;
mod simulation;

use simulation::{Plan, Simulation};

/// Seeds of an ordinary run.
const SEEDS: u64 = 256;
/// Requests of one seed.
const REQUESTS: u32 = 1000;

/// Names the seed when the test that holds it fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with SIM_SEED={} cargo test -p spooky-lb --test sim", self.0);
        }
    }
}

fn seeds() -> std::ops::Range<u64> {
    match std::env::var("SIM_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("SIM_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    }
}

#[test]
fn every_seed_keeps_the_books() {
    let mut total = shadow::Totals::default();
    for seed in seeds() {
        let _named = Named(seed);
        let mut world = Simulation::new(seed, Plan::faulty(seed));
        world.run(REQUESTS);
        total.add(&world.finish());
    }
    eprintln!("{total:?}");
    if seeds().end - seeds().start == SEEDS {
        total.assert_everything_happened();
    }
}

#[test]
fn a_seed_replays_to_the_same_end() {
    for seed in seeds().take(8) {
        let _named = Named(seed);
        let [one, two] = [0, 1].map(|_| {
            let mut world = Simulation::new(seed, Plan::faulty(seed));
            world.run(REQUESTS);
            world.finish()
        });
        assert_eq!(one, two);
    }
}

#[test]
fn mistakes_of_clients_lower_nothing_and_mark_nobody() {
    for seed in seeds().take(64) {
        let _named = Named(seed);
        let mut world = Simulation::new(seed, Plan::clients_only(seed));
        world.run(REQUESTS);
        world.assert_unblemished();
        world.finish();
    }
}
