//! Which backend next: six algorithms over one view of a pool.
//!
//! A [`Balancer`] belongs to one upstream of one worker. It yields candidates one by one: the backends already tried by an
//! exchange are hidden from the [`View`], so that failover, retry and hedge take the next of the same order. It takes no
//! place on a backend and knows no health: a backend that cannot be taken has weight 0.

mod draw;
pub mod key;
mod latency;
mod least;
mod random;
mod ring;
mod round_robin;

pub use draw::Draw;
pub use latency::Latency;
pub use least::Least;
pub use random::Random;
pub use ring::Ring;
pub use round_robin::RoundRobin;

use crate::admit::ClientShare;
use crate::pool::Pool;
use crate::rng::Rng;
use crate::time::Nanos;

/// The six algorithms.
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
    /// Weighted hash ring with bounded loads.
    ConsistentHash,
    /// The same ring by connection id, without bound.
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

    /// Its name in logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::LeastConnections => "least-connections",
            Self::LatencyAware => "latency-aware",
            Self::ConsistentHash => "consistent-hash",
            Self::StickyCid => "sticky-cid",
        }
    }

    /// Whether it chooses by key.
    pub const fn is_keyed(self) -> bool {
        matches!(self, Self::ConsistentHash | Self::StickyCid)
    }
}

/// How many tried backends one exchange remembers; beyond that the oldest is forgotten and may be tried again.
const MAX_TRIED: usize = 8;

/// The place of one exchange in the order of candidates.
#[derive(Clone, Copy, Debug, Default)]
pub struct Order {
    /// Hash of the key, for keyed algorithms.
    pub key: u64,
    /// The backend that the connection keeps (sticky-cid); first choice while it can be taken.
    pub preferred: Option<usize>,
    tried: [u32; MAX_TRIED],
    count: usize,
}

impl Order {
    /// The beginning of the order for `key`.
    pub fn new(key: u64, preferred: Option<usize>) -> Self {
        Self { key, preferred, ..Self::default() }
    }

    /// Hides a backend from further picks.
    pub fn exclude(&mut self, index: usize) {
        if let (Some(slot), Ok(index)) = (self.tried.get_mut(self.count % MAX_TRIED), u32::try_from(index)) {
            *slot = index;
            self.count += 1;
        }
    }

    /// Starts over: every backend may be picked again.
    pub fn restart(&mut self) {
        self.count = 0;
    }

    /// Whether the backend was tried already.
    pub fn is_tried(&self, index: usize) -> bool {
        self.tried.iter().take(self.count).any(|&tried| tried as usize == index)
    }

    fn is_fresh(&self) -> bool {
        self.count == 0
    }
}

/// When a worker passes a backend over because it just failed to connect to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    pub(crate) until: Nanos,
    pub(crate) failures: u32,
    pub(crate) revived: u32,
}

/// A pool as one exchange sees it at one moment.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) order: &'a Order,
    pub(crate) backoff: &'a [Backoff],
    pub(crate) now: Nanos,
    pub(crate) panic: bool,
    /// The client of the request, where it may hold its share of a backend.
    pub(crate) client: Option<&'a ClientShare>,
}

impl View<'_> {
    /// Number of backends, those that cannot be taken included.
    pub fn len(&self) -> usize {
        self.pool.members().len()
    }

    /// Whether the pool has no backend.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Effective weight in tenths; 0 for a backend that cannot be taken by this exchange now.
    pub fn weight(&self, index: usize) -> u32 {
        if self.is_usable(index) { self.pool.effective_weight(index, self.now) } else { 0 }
    }

    /// Requests on the backend in the whole process.
    pub fn in_flight(&self, index: usize) -> u32 {
        self.pool.members().get(index).map_or(0, |member| member.state.in_flight())
    }

    /// Its expected response time in microseconds, `None` before the first sample.
    pub(crate) fn micros(&self, index: usize) -> Option<u32> {
        self.pool.members().get(index)?.state.latency.micros()
    }

    /// Whether the last attempt to connect to it failed so recently that another is preferred. A successful probe since
    /// then ends that.
    fn is_passed_over(&self, index: usize) -> bool {
        let Some(backoff) = self.backoff.get(index).filter(|backoff| backoff.until > self.now) else { return false };
        self.pool.members().get(index).is_some_and(|member| member.state.health.revived() == backoff.revived)
    }

    /// Whether this exchange may take the backend now.
    #[inline]
    pub fn is_usable(&self, index: usize) -> bool {
        !self.is_passed_over(index)
            && (self.order.is_fresh() || !self.order.is_tried(index))
            && !self.client.is_some_and(|client| self.pool.is_held_by(client, index))
            && self.pool.check(index, self.now, self.panic).is_ok()
    }
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
    /// By key, for both keyed algorithms.
    Ring(Ring),
}

impl Balancer {
    /// A balancer for the backends of `pool`. `load_factor` is for consistent-hash only; 0 is no bound.
    pub fn new(algorithm: Algorithm, load_factor: f64, pool: &Pool) -> Self {
        match algorithm {
            Algorithm::RoundRobin => Self::RoundRobin(RoundRobin::new(pool.members().len())),
            Algorithm::Random => Self::Random(Random { draw: Draw::new(pool) }),
            Algorithm::LeastConnections => Self::Least(Least { draw: Draw::new(pool) }),
            Algorithm::LatencyAware => Self::Latency(Latency::new(pool)),
            Algorithm::ConsistentHash => Self::Ring(Ring::new(pool, Some(load_factor))),
            Algorithm::StickyCid => Self::Ring(Ring::new(pool, None)),
        }
    }

    /// The next candidate, `None` when no backend can be taken.
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
            Self::Ring(state) => state.pick(view),
        }
    }
}

#[cfg(test)]
mod tests;
