//! The corpus of the fuzz target, and seeded mutations of it, through the check of the fuzz target.

#[path = "../checks/config.rs"]
mod config;

use std::path::Path;

#[test]
fn the_corpus_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut seeds = Vec::new();
    for folder in ["fuzz/corpus/config", "config"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            seeds.push(std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
    seeds.sort();
    assert!(seeds.len() > 5, "only {} seeds", seeds.len());
    let mut state: u64 = 0x5eed;
    let mut next = |bound: usize| {
        // Knuth's MMIX generator is random enough to choose bytes.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % bound.max(1)
    };
    for seed in seeds.iter().filter(|seed| seed.len() < 8192) {
        config::check(seed);
        for _ in 0..40 {
            let mut mutated = seed.clone();
            for _ in 0..=next(4) {
                let (at, length) = (next(mutated.len() + 1), next(12));
                let end = (at + length).min(mutated.len());
                let donor = &seeds[next(seeds.len())];
                let from = next(donor.len() + 1);
                let put = donor[from..(from + next(16)).min(donor.len())].to_vec();
                mutated.splice(at..end, put);
            }
            config::check(&mutated);
        }
    }
}
