//! Runs the checks of the fuzz targets on the committed corpora and on seeded mutations of them.
//!
//! The checks are in `checks/`; `fuzz/fuzz_targets` includes the same files.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic is how a test fails")]

mod checks {
    pub(crate) mod h1_request;
    pub(crate) mod h1_response;
    pub(crate) mod h1_wire;
    pub(crate) mod h2_frames;
    pub(crate) mod h2_server;
    pub(crate) mod h3_frames;
    pub(crate) mod hpack;
    pub(crate) mod message;
    pub(crate) mod padding;
    pub(crate) mod prng;
    pub(crate) mod proxy_protocol;
    pub(crate) mod qpack;
}

use checks::prng::Prng;
use std::{fs, path::Path};

/// Mutations of each file.
const MUTATIONS: usize = 300;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).expect("corpus").map(|entry| entry.expect("entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "an empty corpus in {}", folder.display());
    for (number, file) in (1u64..).zip(&files) {
        let seed_of = |mutation: usize| number << 32 | mutation as u64;
        let data = fs::read(file).expect("readable");
        check(&data);
        for mutation in 0..MUTATIONS {
            let seed = seed_of(mutation);
            println!("{} seed {seed:#x}", file.display()); // shown when the check fails
            check(&mutate(&data, &mut Prng(seed)));
        }
    }
}

/// Flips, replaces, removes, repeats and inserts a few bytes.
fn mutate(data: &[u8], prng: &mut Prng) -> Vec<u8> {
    let mut data = data.to_vec();
    for _ in 0..=prng.below(4) {
        let at = prng.below(data.len() + 1);
        let end = at + prng.below((data.len() - at).min(8) + 1);
        let piece = data[at..end].to_vec();
        match prng.below(5) {
            0 => data.splice(at..end, piece.iter().map(|byte| byte ^ (1 << prng.below(8)))).for_each(drop),
            1 => data.splice(at..end, piece.iter().map(|_| prng.next() as u8)).for_each(drop),
            2 => data.splice(at..end, []).for_each(drop),
            3 => data.splice(at..at, piece).for_each(drop),
            _ => data.splice(at..at, [[0, 0xff, b'\n', b' ', 0x80][prng.below(5)]]).for_each(drop),
        }
    }
    data
}

#[test]
fn qpack() {
    replay("qpack", checks::qpack::check);
}

#[test]
fn h3_frames() {
    replay("h3_frames", checks::h3_frames::check);
}

#[test]
fn message() {
    replay("message", checks::message::check);
}

#[test]
fn hpack() {
    replay("hpack", checks::hpack::check);
}

#[test]
fn h2_frames() {
    replay("h2_frames", checks::h2_frames::check);
}

#[test]
fn h2_server() {
    replay("h2_server", checks::h2_server::check);
}

#[test]
fn h1_request() {
    replay("h1_request", checks::h1_request::check);
}

#[test]
fn h1_response() {
    replay("h1_response", checks::h1_response::check);
}

#[test]
fn padding() {
    replay("padding", checks::padding::check);
}

#[test]
fn proxy_protocol() {
    replay("proxy_protocol", checks::proxy_protocol::check);
}
