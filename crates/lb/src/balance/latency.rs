//! Lowest expected latency: the better of two weighted draws, by peak EWMA and load
//! (docs/reference/behaviour.md#load-balancing).
//!
//! A backend without a sample gets one request at a time and counts with the median latency of the pool, so that a new
//! backend gets requests, but not too many.

use super::View;
use super::draw::Draw;
use crate::pool::Pool;
use crate::rng::Rng;

/// Costs that differ by less than this count as equal, percent.
const TIE_PERCENT: u64 = 10;

/// State of the latency-aware algorithm.
#[derive(Debug)]
pub struct Latency {
    draw: Draw,
    total_weight: u64,
    median: Vec<u32>,
}

impl Latency {
    /// Creates a balancer over the backends of `pool`.
    pub fn new(pool: &Pool) -> Self {
        Self {
            draw: Draw::new(pool),
            total_weight: pool.members().iter().map(|member| u64::from(member.spec.weight)).sum(),
            median: Vec::with_capacity(pool.members().len()),
        }
    }

    /// Returns the next candidate.
    pub fn pick(&mut self, view: &View<'_>, rng: &mut Rng) -> Option<usize> {
        let unproven_and_busy = |index| view.micros(index).is_none() && view.in_flight(index) > 0;
        let proven = |index| !unproven_and_busy(index);
        let first = self.draw.draw(view, rng, proven);
        let Some(first) = first else {
            return self.draw.draw(view, rng, |_| true);
        };
        let second = self.draw.draw(view, rng, proven)?;
        if first == second {
            return Some(first);
        }
        let (one, two) = (self.cost(view, first), self.cost(view, second));
        Some(if two.saturating_mul(100) < one.saturating_mul(100 - TIE_PERCENT) { second } else { first })
    }

    /// Peak-EWMA x (1 + in-flight x mean weight / weight), in nanoseconds to keep the fraction.
    fn cost(&mut self, view: &View<'_>, index: usize) -> u64 {
        let micros = view.micros(index).unwrap_or_else(|| self.median(view));
        let weight = view.pool.members().get(index).map_or(1, |member| u64::from(member.spec.weight.max(1)));
        let scale = weight * view.backends() as u64;
        let load = u64::from(view.in_flight(index)) * self.total_weight;
        u64::from(micros).saturating_mul(1000).saturating_mul(scale + load) / scale
    }

    /// Median of the backends that have a sample; 1 while there is none.
    fn median(&mut self, view: &View<'_>) -> u32 {
        self.median.clear();
        self.median.extend((0..view.backends()).filter_map(|index| view.micros(index)));
        let middle = self.median.len() / 2;
        if self.median.is_empty() { 1 } else { *self.median.select_nth_unstable(middle).1 }
    }
}
