//! Weighted rendezvous hashing: each key has its own order of the backends, the same on every worker and instance
//! (docs/reference/behaviour.md#load-balancing).
//!
//! Each backend has, for each key, a score drawn from an exponential distribution with its weight as rate; the lowest score
//! wins. Unlike a hash ring, shares are exact for any weights, and adding or removing a backend moves only its own keys.
//! `consistent-hash` adds a load bound, `sticky-cid` does not.
//!
//! Among backends of one weight the lowest score is that of the largest hash, so a pick compares integers and needs
//! logarithms only between weights. Only if the first backend is unavailable all of them are compared by score.

use super::View;
use crate::pool::Pool;
use crate::rng::mix;

/// Requests in flight up to which the load bound never applies.
const FREE_LOAD: u32 = 16;

/// Low bits of a hash that the score does not use; they hold the index of a backend in its group.
const INDEX_BITS: u32 = 11;
/// Maximum size of a group; more backends of one weight form several groups.
const MAX_GROUP: usize = 1 << INDEX_BITS;

#[derive(Clone, Copy, Debug)]
struct Candidate {
    seed: u64,
    index: usize,
}

/// Backends of one weight.
#[derive(Debug)]
struct Group {
    weight: f64,
    candidates: Box<[Candidate]>,
}

/// State of the keyed algorithms.
#[derive(Debug)]
pub struct Rendezvous {
    groups: Box<[Group]>,
    /// `load_factor` of consistent-hash; `None` without bound.
    load_factor: Option<f64>,
}

impl Rendezvous {
    /// Creates a balancer over the backends of `pool`; a `load_factor` of 0 or `None` disables the bound.
    pub fn new(pool: &Pool, load_factor: Option<f64>) -> Self {
        let mut weights: Vec<u32> = pool.members().iter().map(|member| member.spec.weight.max(1)).collect();
        weights.sort_unstable();
        weights.dedup();
        let mut groups = Vec::new();
        for weight in weights {
            let members = pool.members().iter().enumerate();
            let alike = members.filter(|(_, member)| member.spec.weight.max(1) == weight);
            let candidates: Vec<Candidate> =
                alike.map(|(index, member)| Candidate { seed: seed(&member.spec.address), index }).collect();
            let weight = f64::from(weight);
            groups
                .extend(candidates.chunks(MAX_GROUP).map(|candidates| Group { weight, candidates: candidates.into() }));
        }
        Self { groups: groups.into_boxed_slice(), load_factor: load_factor.filter(|&factor| factor > 0.0) }
    }

    /// Returns the first available backend for the key of `view`. Skips backends above the load bound if another is below it.
    pub fn pick(&self, view: &View<'_>) -> Option<usize> {
        let preferred = self.first(view.order.key)?;
        let first = if view.is_usable(preferred) { preferred } else { self.after(view, f64::NEG_INFINITY)?.1 };
        let Some(factor) = self.load_factor else { return Some(first) };
        if view.in_flight(first) <= FREE_LOAD {
            return Some(first);
        }
        let per_weight = self.fair_share(view) * factor;
        let mut next = self.after(view, f64::NEG_INFINITY);
        while let Some((score, index)) = next {
            let weight = view.pool.members().get(index).map_or(1.0, |member| f64::from(member.spec.weight.max(1)));
            let bound = f64::from(FREE_LOAD).max(per_weight * weight);
            if f64::from(view.in_flight(index)) <= bound {
                return Some(index);
            }
            next = self.after(view, score);
        }
        Some(first)
    }

    /// Returns the backend with the lowest score, available or not.
    fn first(&self, key: u64) -> Option<usize> {
        match &*self.groups {
            [group] => group.largest(key).map(|(_, index)| index),
            groups => {
                let largest =
                    |group: &Group| group.largest(key).map(|(bits, index)| (score(bits, group.weight), index));
                groups.iter().filter_map(largest).min_by(|one, two| one.0.total_cmp(&two.0)).map(|(_, index)| index)
            }
        }
    }

    /// Returns the usable backend with the lowest score above `after`.
    pub(super) fn after(&self, view: &View<'_>, after: f64) -> Option<(f64, usize)> {
        let mut best: Option<(f64, usize)> = None;
        for group in &self.groups {
            for candidate in &group.candidates {
                let here = score(mix(view.order.key ^ candidate.seed), group.weight);
                let least = best.map_or(f64::INFINITY, |(least, _)| least);
                // The check of the backend costs most, so it is last.
                if here > after && here < least && view.is_usable(candidate.index) {
                    best = Some((here, candidate.index));
                }
            }
        }
        best
    }

    /// Requests in flight per unit of weight over the usable backends, this request included.
    fn fair_share(&self, view: &View<'_>) -> f64 {
        let (mut load, mut weights) = (1.0, 0.0);
        for group in &self.groups {
            for candidate in &group.candidates {
                if view.is_usable(candidate.index) {
                    load += f64::from(view.in_flight(candidate.index));
                    weights += group.weight;
                }
            }
        }
        if weights > 0.0 { load / weights } else { 0.0 }
    }
}

impl Group {
    /// Returns the largest hash for the key and its backend: the lowest score among backends of one weight.
    fn largest(&self, key: u64) -> Option<(u64, usize)> {
        let mut most = 0;
        for (number, candidate) in self.candidates.iter().enumerate() {
            // Packs the index into the low bits of the hash; a branch-free max then yields both. A branch could not be
            // predicted and would cost more than the hashes.
            most = most.max(mix(key ^ candidate.seed) >> INDEX_BITS << INDEX_BITS | number as u64);
        }
        let candidate = self.candidates.get(most as usize & (MAX_GROUP - 1))?;
        Some((most, candidate.index))
    }
}

fn seed(address: &str) -> u64 {
    super::key::hash(address.as_bytes())
}

/// Score of a backend: exponentially distributed with its weight as rate, from uniform bits.
fn score(bits: u64, weight: f64) -> f64 {
    // 53 bits fit into a double exactly; the half excludes 0 and 1.
    let uniform = ((bits >> INDEX_BITS) as f64 + 0.5) / (1_u64 << 53) as f64;
    -uniform.ln() / weight
}
