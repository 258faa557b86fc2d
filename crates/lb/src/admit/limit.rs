//! Limits of requests in flight, of the process and of each upstream, and the permits that count them
//! (docs/reference/behaviour.md#admission).
//!
//! Shared by all workers; survives reloads. [`super::Queue`] acquires permits. Dropping one updates brownout and wakes the
//! worker whose request is next.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::task::Waker;
use std::time::Duration;

use super::adaptive::{Adaptive, AdaptiveOptions};
use super::brownout::{Brownout, BrownoutOptions};
use super::heads::Heads;
use super::share::{ClientShare, ClientShareGuard, LimitId};
use super::waiters::{Waiters, WorkerWakers};
use crate::outcome::Reason;
use crate::time::Nanos;

/// Limits of the process.
#[derive(Clone, Copy, Debug)]
pub struct GlobalLimitOptions {
    /// `global_inflight_limit`.
    pub inflight_limit: u32,
    /// `route_queue.global_cap`.
    pub queue_cap: u32,
    /// `None` disables the adaptive limit.
    pub adaptive: Option<AdaptiveOptions>,
    /// `None` disables brownout.
    pub brownout: Option<BrownoutOptions>,
}

impl Default for GlobalLimitOptions {
    fn default() -> Self {
        Self {
            inflight_limit: 4096,
            queue_cap: 2048,
            adaptive: Some(AdaptiveOptions::default()),
            brownout: Some(BrownoutOptions::default()),
        }
    }
}

/// Limits of one upstream.
#[derive(Clone, Copy, Debug)]
pub struct RouteLimitOptions {
    /// `per_upstream_inflight_limit`.
    pub inflight_limit: u32,
    /// Part of `inflight_limit` that one client connection may use: [`super::client_limit`].
    pub client_limit: u32,
    /// `route_queue.caps`, else `default_cap`.
    pub queue_cap: u32,
    /// `route_queue.max_wait_ms`; zero disables the queue.
    pub max_wait: Duration,
    /// Whether it is a core route, which is served in brownout.
    pub core: bool,
}

impl Default for RouteLimitOptions {
    fn default() -> Self {
        let max_wait = Duration::from_millis(500);
        Self { inflight_limit: 1024, client_limit: u32::MAX, queue_cap: 512, max_wait, core: false }
    }
}

/// A limit that can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The adaptive limit.
    Adaptive,
    /// `global_inflight_limit`.
    Global,
    /// `per_upstream_inflight_limit`.
    Upstream,
    /// `per_backend_inflight_limit` of every usable backend.
    Backend,
}

impl Limit {
    /// The answer to a request that waited too long for it.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Adaptive => Reason::AdaptiveAdmission,
            Self::Global => Reason::GlobalInflight,
            Self::Upstream => Reason::UpstreamInflight,
            Self::Backend => Reason::BackendInflight,
        }
    }

    pub(super) const fn is_global(self) -> bool {
        matches!(self, Self::Adaptive | Self::Global)
    }
}

/// Limits and counts of the process.
#[derive(Debug)]
pub struct GlobalLimits {
    in_flight: AtomicU32,
    inflight_limit: AtomicU32,
    queued: AtomicU32,
    queue_cap: AtomicU32,
    adaptive: Adaptive,
    brownout: Brownout,
    pub(super) waiters: Waiters,
    pub(super) wakers: WorkerWakers,
}

impl GlobalLimits {
    /// Creates the limits of a process with this many workers.
    pub fn new(workers: usize, options: &GlobalLimitOptions) -> Arc<Self> {
        let global = Self {
            in_flight: AtomicU32::new(0),
            inflight_limit: AtomicU32::new(0),
            queued: AtomicU32::new(0),
            queue_cap: AtomicU32::new(0),
            adaptive: Adaptive::default(),
            brownout: Brownout::default(),
            waiters: Waiters::new(workers),
            wakers: WorkerWakers::new(workers),
        };
        global.configure(options);
        Arc::new(global)
    }

    /// Applies new limits. Requests above a smaller limit finish; a larger one admits waiting requests at once.
    pub fn configure(&self, options: &GlobalLimitOptions) {
        self.inflight_limit.store(options.inflight_limit, SeqCst);
        self.queue_cap.store(options.queue_cap, Relaxed);
        self.adaptive.configure(options.adaptive.as_ref());
        self.brownout.configure(options.brownout.as_ref());
        self.wakers.wake_all();
    }

    /// Sets how a worker is woken when one of its waiting requests may proceed. Called at each start of the worker.
    pub fn set_waker(&self, worker: usize, waker: Waker) {
        self.wakers.set_waker(worker, waker);
    }

    /// Number of requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Number of requests waiting in all queues.
    pub fn queued(&self) -> u32 {
        self.queued.load(Relaxed)
    }

    /// Returns whether brownout is active.
    pub fn in_brownout(&self) -> bool {
        self.brownout.is_active()
    }

    /// The limit in effect and its kind. An adaptive limit that is not below the global one counts as that.
    pub fn limit(&self) -> (u32, Limit) {
        let global = self.inflight_limit.load(Relaxed);
        match self.adaptive.limit() {
            Some(adaptive) if adaptive < global => (adaptive, Limit::Adaptive),
            _ => (global, Limit::Global),
        }
    }

    /// Takes the logged and the current adaptive limit if a log line is due. Only one caller gets each change.
    pub fn take_limit_change(&self, now: Nanos) -> Option<(u32, u32)> {
        self.adaptive.take_change(now)
    }

    /// Returns whether brownout is active if that changed since the last call. Only one caller gets each change.
    pub fn take_brownout_change(&self) -> Option<bool> {
        self.brownout.take_change()
    }

    /// Raises the adaptive limit with time, and wakes the worker whose request waits longest for it.
    pub(super) fn advance(&self, now: Nanos) {
        if self.adaptive.is_enabled() && self.adaptive.advance(now) && self.queued() > 0 {
            self.wake_oldest(&self.waiters);
        }
    }

    pub(super) fn next_rise(now: Nanos) -> Nanos {
        Adaptive::window_end(now)
    }

    /// Updates brownout. Returns whether it is active.
    pub(super) fn evaluate_brownout(&self) -> bool {
        self.brownout.evaluate(self.in_flight(), self.limit().0)
    }

    pub(super) fn wake_oldest(&self, waiters: &Waiters) {
        if let Some((worker, _)) = waiters.oldest() {
            self.wakers.wake(worker);
        }
    }
}

/// Limits and counts of one upstream.
#[derive(Debug)]
pub struct RouteLimits {
    global: Arc<GlobalLimits>,
    in_flight: AtomicU32,
    inflight_limit: AtomicU32,
    client_limit: AtomicU32,
    queued: AtomicU32,
    queue_cap: AtomicU32,
    max_wait: AtomicU64,
    core: AtomicBool,
    heads: Heads,
    /// Workers whose first waiting request needs a permit of this upstream.
    pub(super) permit_waiters: Waiters,
    /// Workers whose first waiting request has a permit and needs a backend.
    pub(super) backend_waiters: Waiters,
    /// Workers with requests that have a permit and wait only because their client holds its share of every backend with
    /// capacity. Other requests overtake them.
    pub(super) held_back_waiters: Waiters,
}

impl RouteLimits {
    /// Creates the limits of an upstream; `workers` as for [`GlobalLimits::new`].
    pub fn new(global: Arc<GlobalLimits>, workers: usize, options: &RouteLimitOptions) -> Arc<Self> {
        let limits = Self {
            global,
            in_flight: AtomicU32::new(0),
            inflight_limit: AtomicU32::new(0),
            client_limit: AtomicU32::new(0),
            queued: AtomicU32::new(0),
            queue_cap: AtomicU32::new(0),
            max_wait: AtomicU64::new(0),
            core: AtomicBool::new(false),
            heads: Heads::new(workers),
            permit_waiters: Waiters::new(workers),
            backend_waiters: Waiters::new(workers),
            held_back_waiters: Waiters::new(workers),
        };
        limits.configure(options);
        Arc::new(limits)
    }

    /// Applies new limits.
    pub fn configure(&self, options: &RouteLimitOptions) {
        self.inflight_limit.store(options.inflight_limit, SeqCst);
        self.client_limit.store(options.client_limit, Relaxed);
        self.queue_cap.store(options.queue_cap, Relaxed);
        self.max_wait.store(u64::try_from(options.max_wait.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        self.core.store(options.core, Relaxed);
        self.global.wakers.wake_all();
    }

    /// The limits of the process.
    pub fn global(&self) -> &Arc<GlobalLimits> {
        &self.global
    }

    /// Number of requests in flight to this upstream.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Number of requests waiting for this upstream.
    pub fn queued(&self) -> u32 {
        self.queued.load(Relaxed)
    }

    /// Reports a response head to the adaptive limit.
    pub(crate) fn on_head(&self, worker: usize, latency: Duration, now: Nanos) {
        if self.global.adaptive.is_enabled() {
            self.advance(now);
            self.heads.on_head(worker, latency, self.global.in_flight());
        }
    }

    /// Reports to the adaptive limit that no response head came within a timeout of the operator.
    pub(crate) fn on_timeout(&self, worker: usize, now: Nanos) {
        if self.global.adaptive.is_enabled() {
            self.advance(now);
            self.heads.on_timeout(worker, self.global.in_flight());
        }
    }

    /// Evaluates the window of this upstream that has ended, and raises the adaptive limit with time.
    pub(super) fn advance(&self, now: Nanos) {
        if self.global.adaptive.is_enabled() {
            self.heads.advance(now, &self.global.adaptive);
            self.global.advance(now);
        }
    }

    pub(super) fn on_granted(&self, worker: usize) {
        if self.global.adaptive.is_enabled() {
            self.heads.on_in_flight(worker, self.global.in_flight());
        }
    }

    pub(super) fn is_core(&self) -> bool {
        self.core.load(Relaxed)
    }

    pub(super) fn max_wait(&self) -> Duration {
        Duration::from_nanos(self.max_wait.load(Relaxed))
    }

    /// Returns whether requests wait for a backend of this upstream; new ones must not overtake them.
    pub(crate) fn has_backend_waiters(&self) -> bool {
        self.queued.load(SeqCst) > 0 && self.backend_waiters.oldest().is_some()
    }

    /// Wakes the worker with the longest-waiting request, and those with held-back requests. Called when a lease is dropped.
    pub(crate) fn on_backend_free(&self) {
        if self.queued.load(SeqCst) > 0 {
            self.global.wake_oldest(&self.backend_waiters);
            self.held_back_waiters.workers().for_each(|worker| self.global.wakers.wake(worker));
        }
    }

    /// Returns whether this client holds its share of the upstream.
    pub(super) fn is_held_by(self: &Arc<Self>, client: &ClientShare) -> bool {
        client.is_at(LimitId::of(self), self.client_limit.load(Relaxed))
    }

    /// Takes a permit, or returns the limit that is reached.
    pub(super) fn acquire(self: &Arc<Self>) -> Result<Permit, Limit> {
        let global = &self.global;
        let (limit, which) = global.limit();
        if global.in_flight.load(SeqCst) >= limit {
            return Err(which);
        }
        // The count never exceeds the limit, not even for a moment: another request could be refused for that.
        raise(&self.in_flight, self.inflight_limit.load(SeqCst)).ok_or(Limit::Upstream)?;
        if raise(&global.in_flight, limit).is_none() {
            self.in_flight.fetch_sub(1, SeqCst);
            self.on_free();
            return Err(which);
        }
        Ok(Permit { limits: Arc::clone(self), share: None })
    }

    /// Counts a queued request, or returns which cap is reached.
    pub(super) fn enter_queue(&self) -> Result<(), Reason> {
        raise(&self.queued, self.queue_cap.load(Relaxed)).ok_or(Reason::RouteCap)?;
        let global = raise(&self.global.queued, self.global.queue_cap.load(Relaxed));
        if global.is_none() {
            self.queued.fetch_sub(1, SeqCst);
        }
        global.ok_or(Reason::RouteGlobalCap)
    }

    pub(super) fn leave_queue(&self) {
        self.queued.fetch_sub(1, SeqCst);
        self.global.queued.fetch_sub(1, SeqCst);
    }

    /// Wakes the workers with the longest-waiting request of this upstream and of the process. Both, because the upstream
    /// may still be above its limit after a reload with a smaller one.
    fn on_free(&self) {
        if self.global.queued.load(SeqCst) > 0 {
            self.global.wake_oldest(&self.permit_waiters);
            self.global.wake_oldest(&self.global.waiters);
        }
    }
}

/// Adds one unless that would exceed `limit`.
fn raise(count: &AtomicU32, limit: u32) -> Option<()> {
    count.fetch_update(SeqCst, SeqCst, |now| (now < limit).then_some(now + 1)).ok().map(|_| ())
}

/// Counts one request in the process and its upstream until dropped; held to the end of the exchange.
#[derive(Debug)]
#[must_use = "dropping a permit releases it"]
pub struct Permit {
    limits: Arc<RouteLimits>,
    share: Option<ClientShareGuard>,
}

impl Permit {
    /// The limits of its upstream.
    pub fn limits(&self) -> &Arc<RouteLimits> {
        &self.limits
    }

    pub(super) fn client(&self) -> Option<&ClientShare> {
        self.share.as_ref().map(ClientShareGuard::client)
    }

    /// Counts it in the share of a client.
    pub(super) fn for_client(mut self, client: Option<&ClientShare>) -> Self {
        self.share = client.map(|client| client.take(LimitId::of(&self.limits)));
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limits.in_flight.fetch_sub(1, SeqCst);
        self.limits.global.in_flight.fetch_sub(1, SeqCst);
        self.limits.global.evaluate_brownout();
        self.limits.on_free();
    }
}
