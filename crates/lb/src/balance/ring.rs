//! Keyed choice: each key has its own order of the backends, the same on every worker and instance (behaviour 8).
//!
//! The order is that of weighted rendezvous hashing: each backend has, for each key, a place on a ring drawn from an
//! exponential distribution with its weight as rate, and the first place wins. Against points scattered on a ring it has
//! exact shares for any weights, and a backend that comes or goes moves no keys but its own. `consistent-hash` adds a
//! bound on the load, `sticky-cid` does not.

use super::View;
use crate::pool::Pool;
use crate::rng::mix;

/// Below this many requests in flight a backend is never too loaded to take a key.
const FREE_LOAD: u32 = 16;

/// Seeds and weights of the backends.
#[derive(Debug)]
pub struct Ring {
    seeds: Box<[(u64, f64)]>,
    /// `load_factor` of consistent-hash; `None` without bound.
    load_factor: Option<f64>,
}

impl Ring {
    /// A ring of the backends of `pool`; a `load_factor` of 0 or `None` is no bound.
    pub fn new(pool: &Pool, load_factor: Option<f64>) -> Self {
        let seed = |address: &str| super::key::hash(address.as_bytes());
        let seeds =
            pool.members().iter().map(|member| (seed(&member.spec.address), f64::from(member.spec.weight.max(1))));
        Self { seeds: seeds.collect(), load_factor: load_factor.filter(|&factor| factor > 0.0) }
    }

    /// The first backend for the key of `view` that can be taken, the load bound observed while another is below it.
    pub fn pick(&self, view: &View<'_>) -> Option<usize> {
        let first = self.after(view, f64::NEG_INFINITY)?;
        let Some(factor) = self.load_factor else { return Some(first.1) };
        if view.in_flight(first.1) <= FREE_LOAD {
            return Some(first.1);
        }
        let per_weight = self.fair_share(view) * factor;
        let mut next = Some(first);
        while let Some((place, index)) = next {
            let weight = self.seeds.get(index).map_or(1.0, |seed| seed.1);
            let bound = f64::from(FREE_LOAD).max(per_weight * weight);
            if f64::from(view.in_flight(index)) <= bound {
                return Some(index);
            }
            next = self.after(view, place);
        }
        Some(first.1)
    }

    /// The usable backend with the smallest place above `place`.
    fn after(&self, view: &View<'_>, place: f64) -> Option<(f64, usize)> {
        let mut best: Option<(f64, usize)> = None;
        for (index, &(seed, weight)) in self.seeds.iter().enumerate() {
            let uniform = uniform(mix(view.order.key ^ seed));
            let least = best.map_or(f64::INFINITY, |(least, _)| least);
            // 1 - u is a lower bound of -ln u and close to it where it counts: few logarithms are taken.
            if 1.0 - uniform >= least * weight {
                continue;
            }
            let here = -uniform.ln() / weight;
            // Looking at the backend costs most, so it comes last.
            if here > place && here < least && view.is_usable(index) {
                best = Some((here, index));
            }
        }
        best
    }

    /// Requests in flight per unit of weight over the usable backends, this one included.
    fn fair_share(&self, view: &View<'_>) -> f64 {
        let (mut load, mut weights) = (1.0, 0.0);
        for (index, &(_, weight)) in self.seeds.iter().enumerate() {
            if view.is_usable(index) {
                load += f64::from(view.in_flight(index));
                weights += weight;
            }
        }
        if weights > 0.0 { load / weights } else { 0.0 }
    }
}

/// A number between 0 and 1, neither of them, from uniform bits.
fn uniform(bits: u64) -> f64 {
    // 53 bits fill a double exactly; the half keeps it off both ends.
    ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}
