//! Fewest requests in flight by weight, from the counts of the whole process (behaviour 8, least-connections).
//!
//! Small pools are searched for the exact minimum; above [`EXACT`] usable backends the better of two draws is nearly as
//! good and costs the same for any size.

use super::View;
use super::draw::{Draw, Tie};
use crate::rng::Rng;

/// Up to this many usable backends the minimum is exact.
const EXACT: usize = 16;

/// Nothing but the weights; the counts are the pool's.
#[derive(Debug)]
pub struct Least {
    pub(super) draw: Draw,
}

impl Least {
    /// The next backend.
    pub fn pick(&mut self, view: &View<'_>, rng: &mut Rng) -> Option<usize> {
        let mut usable = 0;
        let mut least = Load { in_flight: 0, weight: 0 };
        let mut tie = Tie::default();
        for index in 0..view.len() {
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
                tie = Tie::default();
            } else if least.is_below(load) {
                continue;
            }
            tie.offer(index, weight, rng);
        }
        tie.chosen
    }

    fn better_of_two(&self, view: &View<'_>, rng: &mut Rng) -> Option<usize> {
        let first = self.draw.draw(view, rng, |_| true)?;
        let second = self.draw.draw(view, rng, |_| true)?;
        let load = |index| Load { in_flight: view.in_flight(index), weight: view.weight(index).max(1) };
        // On a tie the first draw stands, which is weighted as it should be.
        Some(if load(second).is_below(load(first)) { second } else { first })
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
