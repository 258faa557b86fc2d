//! A pool as one exchange sees it, and its place in the order of candidates. What every algorithm chooses from.

use crate::admit::ClientShare;
use crate::pool::Pool;
use crate::time::Nanos;

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
