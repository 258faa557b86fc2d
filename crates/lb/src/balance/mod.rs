//! Load balancing: six algorithms that choose a backend from a view of a pool.
//!
//! A [`Balancer`] belongs to one upstream of one worker. The [`View`] hides the backends that an exchange has tried, so that
//! retries and hedges take the next candidate of the same order. The balancer takes no leases and knows nothing of health: an
//! unavailable backend has weight 0.

mod draw;
pub mod key;
mod latency;
mod least;
mod random;
mod rendezvous;
mod round_robin;
mod view;

pub use draw::Draw;
pub use latency::Latency;
pub use least::Least;
pub use random::Random;
pub use rendezvous::Rendezvous;
pub use round_robin::RoundRobin;
pub(crate) use view::Backoff;
pub use view::{Order, View};

use crate::pool::Pool;
use crate::rng::Rng;

/// Load balancing algorithm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// Smooth weighted round robin.
    #[default]
    RoundRobin,
    /// Weighted random.
    Random,
    /// Fewest requests in flight by weight.
    LeastConnections,
    /// Lowest expected latency.
    LatencyAware,
    /// Weighted rendezvous hashing with bounded loads.
    ConsistentHash,
    /// Weighted rendezvous hashing by connection id, without bound.
    StickyCid,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::RoundRobin,
        Self::Random,
        Self::LeastConnections,
        Self::LatencyAware,
        Self::ConsistentHash,
        Self::StickyCid,
    ];
}

/// The state of one algorithm for one upstream of one worker.
#[derive(Debug)]
pub enum Balancer {
    /// Smooth weighted round robin.
    RoundRobin(RoundRobin),
    /// Weighted random.
    Random(Random),
    /// Fewest requests in flight by weight.
    Least(Least),
    /// Lowest expected latency.
    Latency(Latency),
    /// Weighted rendezvous hashing, for both keyed algorithms.
    Rendezvous(Rendezvous),
}

impl Balancer {
    /// Creates a balancer for the backends of `pool`. `load_factor` is for consistent-hash only; 0 disables the bound.
    pub fn new(algorithm: Algorithm, load_factor: f64, pool: &Pool) -> Self {
        match algorithm {
            Algorithm::RoundRobin => Self::RoundRobin(RoundRobin::new(pool.members().len())),
            Algorithm::Random => Self::Random(Random { draw: Draw::new(pool) }),
            Algorithm::LeastConnections => Self::Least(Least { draw: Draw::new(pool) }),
            Algorithm::LatencyAware => Self::Latency(Latency::new(pool)),
            Algorithm::ConsistentHash => Self::Rendezvous(Rendezvous::new(pool, Some(load_factor))),
            Algorithm::StickyCid => Self::Rendezvous(Rendezvous::new(pool, None)),
        }
    }

    /// Returns the next candidate; `None` if no backend is available.
    pub fn pick(&mut self, view: &View<'_>, rng: &mut Rng) -> Option<usize> {
        if let Some(preferred) = view.order.preferred
            && view.is_usable(preferred)
        {
            return Some(preferred);
        }
        match self {
            Self::RoundRobin(state) => state.pick(view),
            Self::Random(state) => state.pick(view, rng),
            Self::Least(state) => state.pick(view, rng),
            Self::Latency(state) => state.pick(view, rng),
            Self::Rendezvous(state) => state.pick(view),
        }
    }
}

#[cfg(test)]
mod tests;
