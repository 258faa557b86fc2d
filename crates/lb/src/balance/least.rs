//! Fewest requests in flight by weight, from the counts of the whole process (docs/reference/behaviour.md#load-balancing).
//!
//! Small pools are searched for the exact minimum. Above [`EXACT`] usable backends, the better of two draws is nearly as good
//! at a constant cost.

use super::View;
use super::draw::Draw;
use crate::rng::Rng;

/// Number of usable backends up to which the minimum is exact.
const EXACT: usize = 16;

/// State of the least-connections algorithm.
#[derive(Debug)]
pub struct Least {
    pub(super) draw: Draw,
}

impl Least {
    /// Returns the next candidate.
    pub fn pick(&mut self, view: &View<'_>, rng: &mut Rng) -> Option<usize> {
        let mut usable = 0;
        let mut least = Load { in_flight: 0, weight: 0 };
        let mut tied = Tied::default();
        for index in 0..view.backends() {
            let weight = view.weight(index);
            if weight == 0 {
                continue;
            }
            usable += 1;
            if usable > EXACT {
                return self.better_of_two(view, rng);
            }
            let load = Load { in_flight: view.in_flight(index), weight };
            if least.weight == 0 || load.is_below(least) {
                least = load;
                tied.clear();
            } else if least.is_below(load) {
                continue;
            }
            tied.add(index, weight);
        }
        tied.draw(rng)
    }

    fn better_of_two(&self, view: &View<'_>, rng: &mut Rng) -> Option<usize> {
        let first = self.draw.draw(view, rng, |_| true)?;
        let second = self.draw.draw(view, rng, |_| true)?;
        let load = |index| Load { in_flight: view.in_flight(index), weight: view.weight(index).max(1) };
        // On a tie the first draw is used, which keeps the weights.
        Some(if load(second).is_below(load(first)) { second } else { first })
    }
}

/// Backends with the same load, and their weights.
#[derive(Default)]
struct Tied {
    members: [(usize, u32); EXACT],
    count: usize,
    sum: u64,
}

impl Tied {
    fn clear(&mut self) {
        (self.count, self.sum) = (0, 0);
    }

    fn add(&mut self, index: usize, weight: u32) {
        if let Some(slot) = self.members.get_mut(self.count) {
            *slot = (index, weight);
            self.count += 1;
            self.sum += u64::from(weight);
        }
    }

    /// Draws one of them by weight. Needs one random number, and none for a single backend.
    fn draw(&self, rng: &mut Rng) -> Option<usize> {
        let members = self.members.get(..self.count)?;
        let mut at = if self.count > 1 { rng.below(self.sum) } else { 0 };
        let passes = |&&(_, weight): &&(usize, u32)| {
            let is_here = at < u64::from(weight);
            at = at.saturating_sub(u64::from(weight));
            is_here
        };
        members.iter().find(passes).map(|&(index, _)| index)
    }
}

/// In-flight requests by weight, compared without division.
#[derive(Clone, Copy)]
struct Load {
    in_flight: u32,
    weight: u32,
}

impl Load {
    fn is_below(self, other: Self) -> bool {
        u64::from(self.in_flight) * u64::from(other.weight) < u64::from(other.in_flight) * u64::from(self.weight)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_backend_costs_no_random_number() {
        let (mut tied, mut rng) = (Tied::default(), Rng::seeded(1));
        tied.add(3, 7);
        assert_eq!(tied.draw(&mut rng), Some(3));
        assert_eq!(rng.next_u64(), Rng::seeded(1).next_u64());
        tied.add(4, 1);
        assert!((0..100).any(|_| tied.draw(&mut rng) == Some(4)));
        tied.clear();
        assert_eq!(tied.draw(&mut rng), None);
    }
}
