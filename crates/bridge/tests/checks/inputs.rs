//! The inputs of a committed corpus and seeded mutations of them.

use super::prng::Prng;
use std::{fs, path::Path};

/// Calls `check` with each file of the corpus and with this number of mutations of it.
pub(crate) fn each(target: &str, mutations: usize, mut check: impl FnMut(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).expect("corpus").map(|entry| entry.expect("entry").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "an empty corpus in {}", folder.display());
    for (number, file) in (1u64..).zip(&files) {
        let seed_of = |mutation: usize| number << 32 | mutation as u64;
        let data = fs::read(file).expect("readable");
        check(&data);
        for mutation in 0..mutations {
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
