//! Measures the CPU time of a function as the median of several rounds.
//!
//! Uses the CPU time of the calling thread, so that other programs on the machine affect it less.

use std::{hint::black_box, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Number of rounds of a measurement.
pub const ROUNDS: usize = 9;
/// Minimum duration of a round. A round takes at most twice as long.
const MIN_ROUND: Duration = Duration::from_millis(10);

/// Returns the CPU time of one call of `work` in nanoseconds, the median of [`ROUNDS`] rounds.
pub fn nanos<T>(mut work: impl FnMut() -> T) -> f64 {
    let mut calls = 1_u32;
    while timed(calls, &mut work) < MIN_ROUND && calls < u32::MAX / 4 {
        calls *= 2;
    }
    let rounds = (0..ROUNDS).map(|_| timed(calls, &mut work).as_secs_f64() * 1e9 / f64::from(calls));
    median(rounds.collect())
}

/// Returns the median, or NaN without values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn timed<T>(calls: u32, work: &mut impl FnMut() -> T) -> Duration {
    let start = thread_time();
    for _ in 0..calls {
        black_box(work());
    }
    thread_time().saturating_sub(start)
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_work_takes_longer() {
        let sum = |count: u64| (0..black_box(count)).fold(0_u64, |sum, one| sum.wrapping_mul(31) ^ one);
        assert!(nanos(|| sum(4000)) > nanos(|| sum(10)));
    }

    #[test]
    fn the_middle_one() {
        assert_eq!(median(vec![9.0, 1.0, 2.0]).to_bits(), 2.0_f64.to_bits());
        assert!(median(Vec::new()).is_nan());
    }
}
