//! Replays the corpus of the route fuzz target, and runs the same check over random inputs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    unreachable_pub,
    reason = "tests, and a check shared with the fuzz target"
)]

#[path = "checks/route.rs"]
mod route;

use spooky_lb::rng::Rng;
use std::path::Path;

#[test]
fn the_corpus_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/route");
    let mut seen = 0;
    for entry in std::fs::read_dir(&folder).expect("corpus") {
        route::check(&std::fs::read(entry.expect("entry").path()).expect("file"));
        seen += 1;
    }
    assert!(seen > 0, "an empty corpus in {}", folder.display());
}

#[test]
fn random_inputs_pass() {
    let pieces = [
        "/", "/", ".", "..", "%2e", "%2f", "%5c", "%00", "%", "\\", "a", "b", "?", "*", "*.", "[", "]", ":", " ", "\n",
        "\n", "GET", "x.y", "A.", "%41", "\u{e4}",
    ];
    for seed in 0..20_000 {
        let mut rng = Rng::seeded(seed);
        let mut text = String::from("GET\n");
        for _ in 0..rng.below(60) {
            text.push_str(pieces[rng.below(pieces.len() as u64) as usize]);
        }
        let result = std::panic::catch_unwind(|| route::check(text.as_bytes()));
        assert!(result.is_ok(), "seed {seed}: {text:?}");
    }
}
