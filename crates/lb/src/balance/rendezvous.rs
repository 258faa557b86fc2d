//! Keyed choice: each key has its own order of the backends, the same on every worker and instance
//! (docs/reference/behaviour.md#load-balancing).
//!
//! The order is that of weighted rendezvous hashing: each backend has, for each key, a place on a ring drawn from an
//! exponential distribution with its weight as rate, and the first place wins. Against points scattered on a ring it has
//! exact shares for any weights, and a backend that comes or goes moves no keys but its own. `consistent-hash` adds a
//! bound on the load, `sticky-cid` does not.
//!
//! Among backends of one weight the first place is that of the largest hash, so a pick compares integers, and takes
//! logarithms only to compare weights with each other; only when the first place cannot be taken it looks at all of them
//! one by one.

use super::View;
use crate::pool::Pool;
use crate::rng::mix;

/// Below this many requests in flight a backend is never too loaded to take a key.
const FREE_LOAD: u32 = 16;

/// Bits of a hash that a place does not use: enough to carry the number of a point within its group.
const SPARE_BITS: u32 = 11;
/// Points of one group at most; a weight that more backends have makes several groups.
const MAX_POINTS: usize = 1 << SPARE_BITS;

/// One backend on the ring.
#[derive(Clone, Copy, Debug)]
struct Point {
    seed: u64,
    index: usize,
}

/// Backends of one weight.
#[derive(Debug)]
struct Group {
    weight: f64,
    points: Box<[Point]>,
}

/// Seeds and weights of the backends.
#[derive(Debug)]
pub struct Rendezvous {
    groups: Box<[Group]>,
    /// `load_factor` of consistent-hash; `None` without bound.
    load_factor: Option<f64>,
}

impl Rendezvous {
    /// A ring of the backends of `pool`; a `load_factor` of 0 or `None` is no bound.
    pub fn new(pool: &Pool, load_factor: Option<f64>) -> Self {
        let mut weights: Vec<u32> = pool.members().iter().map(|member| member.spec.weight.max(1)).collect();
        weights.sort_unstable();
        weights.dedup();
        let mut groups = Vec::new();
        for weight in weights {
            let members = pool.members().iter().enumerate();
            let alike = members.filter(|(_, member)| member.spec.weight.max(1) == weight);
            let points: Vec<Point> =
                alike.map(|(index, member)| Point { seed: seed(&member.spec.address), index }).collect();
            let weight = f64::from(weight);
            groups.extend(points.chunks(MAX_POINTS).map(|points| Group { weight, points: points.into() }));
        }
        Self { groups: groups.into_boxed_slice(), load_factor: load_factor.filter(|&factor| factor > 0.0) }
    }

    /// The first backend for the key of `view` that can be taken, the load bound observed while another is below it.
    pub fn pick(&self, view: &View<'_>) -> Option<usize> {
        let home = self.first(view.order.key)?;
        let first = if view.is_usable(home) { home } else { self.after(view, f64::NEG_INFINITY)?.1 };
        let Some(factor) = self.load_factor else { return Some(first) };
        if view.in_flight(first) <= FREE_LOAD {
            return Some(first);
        }
        let per_weight = self.fair_share(view) * factor;
        let mut next = self.after(view, f64::NEG_INFINITY);
        while let Some((place, index)) = next {
            let weight = view.pool.members().get(index).map_or(1.0, |member| f64::from(member.spec.weight.max(1)));
            let bound = f64::from(FREE_LOAD).max(per_weight * weight);
            if f64::from(view.in_flight(index)) <= bound {
                return Some(index);
            }
            next = self.after(view, place);
        }
        Some(first)
    }

    /// The backend with the smallest place of all, whether or not it can be taken.
    fn first(&self, key: u64) -> Option<usize> {
        match &*self.groups {
            [group] => group.largest(key).map(|(_, index)| index),
            groups => {
                let largest =
                    |group: &Group| group.largest(key).map(|(bits, index)| (place(bits, group.weight), index));
                groups.iter().filter_map(largest).min_by(|one, two| one.0.total_cmp(&two.0)).map(|(_, index)| index)
            }
        }
    }

    /// The usable backend with the smallest place above `after`.
    pub(super) fn after(&self, view: &View<'_>, after: f64) -> Option<(f64, usize)> {
        let mut best: Option<(f64, usize)> = None;
        for group in &self.groups {
            for point in &group.points {
                let here = place(mix(view.order.key ^ point.seed), group.weight);
                let least = best.map_or(f64::INFINITY, |(least, _)| least);
                // Looking at the backend costs most, so it comes last.
                if here > after && here < least && view.is_usable(point.index) {
                    best = Some((here, point.index));
                }
            }
        }
        best
    }

    /// Requests in flight per unit of weight over the usable backends, this one included.
    fn fair_share(&self, view: &View<'_>) -> f64 {
        let (mut load, mut weights) = (1.0, 0.0);
        for group in &self.groups {
            for point in &group.points {
                if view.is_usable(point.index) {
                    load += f64::from(view.in_flight(point.index));
                    weights += group.weight;
                }
            }
        }
        if weights > 0.0 { load / weights } else { 0.0 }
    }
}

impl Group {
    /// The largest hash for the key and whose it is: among backends of one weight that is the smallest place.
    fn largest(&self, key: u64) -> Option<(u64, usize)> {
        let mut most = 0;
        for (number, point) in self.points.iter().enumerate() {
            // The number rides in the bits that a place does not use, so that the maximum of plain numbers is all there is
            // to do: which one wins cannot be predicted, and a branch on it would cost more than the hashes.
            most = most.max(mix(key ^ point.seed) >> SPARE_BITS << SPARE_BITS | number as u64);
        }
        let point = self.points.get(most as usize & (MAX_POINTS - 1))?;
        Some((most, point.index))
    }
}

fn seed(address: &str) -> u64 {
    super::key::hash(address.as_bytes())
}

/// The place of a backend for a key: exponential with its weight as rate, from uniform bits.
fn place(bits: u64, weight: f64) -> f64 {
    // 53 bits fill a double exactly; the half keeps it off both ends.
    let uniform = ((bits >> SPARE_BITS) as f64 + 0.5) / (1_u64 << 53) as f64;
    -uniform.ln() / weight
}
