//! Measuring by the clock: rounds of many calls, of which the median round counts.
//!
//! Called by the programs in `src/bin`; no test depends on what it finds.
#![forbid(unsafe_code)]

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

/// Rounds of each measurement.
const ROUNDS: usize = 9;
/// How long a round takes about.
const ROUND: Duration = Duration::from_millis(40);

/// Nanoseconds that one call of `work` takes: the median of several rounds.
pub fn nanos<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut calls = 1_u32;
    while timed(calls, &mut work) < ROUND / 4 && calls < u32::MAX / 4 {
        calls *= 2;
    }
    let mut rounds: Vec<f64> =
        (0..ROUNDS).map(|_| timed(calls, &mut work).as_secs_f64() * 1e9 / f64::from(calls)).collect();
    rounds.sort_by(f64::total_cmp);
    rounds.get(ROUNDS / 2).copied().unwrap_or_default()
}

fn timed<T>(calls: u32, work: &mut impl FnMut() -> T) -> Duration {
    let start = Instant::now();
    for _ in 0..calls {
        black_box(work());
    }
    start.elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_work_takes_longer() {
        let sum = |count: u64| (0..black_box(count)).fold(0_u64, |sum, one| sum.wrapping_mul(31) ^ one);
        assert!(nanos(|| sum(4000)) > nanos(|| sum(10)));
    }
}
