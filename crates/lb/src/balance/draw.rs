//! A weighted random draw among the available backends, used by three algorithms.
//!
//! It draws by the configured weights and accepts by the effective ones, so a draw costs a binary search. Only if most draws
//! are rejected, because most of the pool is unavailable, it goes through all backends.

use super::View;
use crate::pool::{Pool, WEIGHT_STEPS};
use crate::rng::Rng;

/// Rejected draws before all backends are gone through.
const MAX_REJECTED: usize = 8;

/// Cumulative configured weights.
#[derive(Debug)]
pub struct Draw {
    /// Sum of the weights up to and including each backend, in tenths.
    cumulative: Box<[u64]>,
}

impl Draw {
    /// Creates a draw over the backends of `pool`.
    pub fn new(pool: &Pool) -> Self {
        let mut sum = 0;
        let sums = pool.members().iter().map(|member| {
            sum += u64::from(member.spec.weight * WEIGHT_STEPS);
            sum
        });
        Self { cumulative: sums.collect() }
    }

    /// Draws a backend in proportion to its weight in `view`, among those that `also` accepts.
    pub fn draw(&self, view: &View<'_>, rng: &mut Rng, also: impl Fn(usize) -> bool) -> Option<usize> {
        let total = self.cumulative.last().copied()?;
        for _ in 0..MAX_REJECTED {
            let at = rng.below(total);
            let index = self.cumulative.partition_point(|&sum| sum <= at);
            let weight = if also(index) { view.weight(index) } else { 0 };
            if weight == 0 {
                continue;
            }
            // Accepted with a probability of the effective weight over the configured one.
            let end = self.cumulative.get(index).copied().unwrap_or(total);
            if end - at <= u64::from(weight) {
                return Some(index);
            }
        }
        self.count_out(view, rng, also)
    }

    fn count_out(&self, view: &View<'_>, rng: &mut Rng, also: impl Fn(usize) -> bool) -> Option<usize> {
        let mut tied = Tie::default();
        for index in 0..self.cumulative.len() {
            if also(index) {
                tied.offer(index, view.weight(index), rng);
            }
        }
        tied.chosen
    }
}

/// A weighted draw over a sequence of candidates (reservoir sampling).
#[derive(Debug, Default)]
struct Tie {
    sum: u64,
    chosen: Option<usize>,
}

impl Tie {
    /// Adds a candidate, which replaces the chosen one with the probability of its share so far.
    fn offer(&mut self, index: usize, weight: u32, rng: &mut Rng) {
        if weight == 0 {
            return;
        }
        let first = self.sum == 0;
        self.sum += u64::from(weight);
        if first || rng.below(self.sum) < u64::from(weight) {
            self.chosen = Some(index);
        }
    }
}
