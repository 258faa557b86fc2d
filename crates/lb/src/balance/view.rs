//! The candidates of one exchange: the input of every algorithm.

use crate::admit::ClientShare;
use crate::pool::Pool;
use crate::time::Nanos;

/// Tried backends that one exchange remembers; the oldest is forgotten first and may be tried again.
const MAX_TRIED: usize = 8;

/// Key and tried backends of one exchange.
#[derive(Clone, Copy, Debug, Default)]
pub struct Order {
    /// Hash of the key for keyed algorithms.
    pub key: u64,
    /// Sticky backend of the connection (sticky-cid), used while it is available.
    pub preferred: Option<usize>,
    tried: [u32; MAX_TRIED],
    count: usize,
}

impl Order {
    /// Creates an order without tried backends.
    pub fn new(key: u64, preferred: Option<usize>) -> Self {
        Self { key, preferred, ..Self::default() }
    }

    /// Excludes a backend from further picks.
    pub fn exclude(&mut self, index: usize) {
        if let (Some(slot), Ok(index)) = (self.tried.get_mut(self.count % MAX_TRIED), u32::try_from(index)) {
            *slot = index;
            self.count += 1;
        }
    }

    /// Allows every backend again.
    pub fn restart(&mut self) {
        self.count = 0;
    }

    /// Returns whether the backend is excluded.
    pub fn is_tried(&self, index: usize) -> bool {
        self.tried.iter().take(self.count).any(|&tried| tried as usize == index)
    }

    fn is_fresh(&self) -> bool {
        self.count == 0
    }
}

/// Back-off of a backend after failed connects of this worker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    pub(crate) until: Nanos,
    pub(crate) failures: u32,
    pub(crate) revived: u32,
}

/// The backends of a pool as candidates of one exchange at one time.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) order: &'a Order,
    pub(crate) backoff: &'a [Backoff],
    pub(crate) now: Nanos,
    pub(crate) panic: bool,
    /// The client, if it may hold its share of a backend.
    pub(crate) client: Option<&'a ClientShare>,
}

impl View<'_> {
    /// Number of backends, unavailable ones included.
    pub fn backends(&self) -> usize {
        self.pool.members().len()
    }

    /// Effective weight in tenths; 0 for a backend that this exchange cannot use now.
    pub fn weight(&self, index: usize) -> u32 {
        if self.is_usable(index) { self.pool.effective_weight(index, self.now) } else { 0 }
    }

    /// Number of requests in flight on the backend, in the process.
    pub fn in_flight(&self, index: usize) -> u32 {
        self.pool.members().get(index).map_or(0, |member| member.state.in_flight())
    }

    /// Average latency in microseconds; `None` before the first sample.
    pub(crate) fn micros(&self, index: usize) -> Option<u32> {
        self.pool.members().get(index)?.state.latency.micros()
    }

    /// Returns whether the backend is in connect back-off, which a successful health check ends.
    fn is_passed_over(&self, index: usize) -> bool {
        let Some(backoff) = self.backoff.get(index).filter(|backoff| backoff.until > self.now) else { return false };
        self.pool.members().get(index).is_some_and(|member| member.state.health.revived() == backoff.revived)
    }

    /// Returns whether this exchange may use the backend now.
    #[inline]
    pub fn is_usable(&self, index: usize) -> bool {
        !self.is_passed_over(index)
            && (self.order.is_fresh() || !self.order.is_tried(index))
            && !self.client.is_some_and(|client| self.pool.is_held_by(client, index))
            && self.pool.check(index, self.now, self.panic).is_ok()
    }
}
