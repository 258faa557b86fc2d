//! Requests in flight: the counts of the process and of each upstream, and the permits that hold them
//! (docs/reference/behaviour.md#admission).
//!
//! Shared by all workers and kept over a reload. A permit is taken by [`super::Queue`] and returns by drop, which also
//! looks at brownout and calls the waiter whose turn it is.

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
    /// `None` when there is no adaptive limit.
    pub adaptive: Option<AdaptiveOptions>,
    /// `None` when there is no brownout.
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
    /// The part of it that one client connection may hold: [`super::client_limit`].
    pub client_limit: u32,
    /// `route_queue.caps`, else `default_cap`.
    pub queue_cap: u32,
    /// `route_queue.max_wait_ms`; zero: never wait.
    pub max_wait: Duration,
    /// Whether it stays served in brownout.
    pub core: bool,
}

impl Default for RouteLimitOptions {
    fn default() -> Self {
        let max_wait = Duration::from_millis(500);
        Self { inflight_limit: 1024, client_limit: u32::MAX, queue_cap: 512, max_wait, core: false }
    }
}

/// Which limit is full.
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
    /// The answer when the wait for it was in vain.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Adaptive => Reason::AdaptiveAdmission,
            Self::Global => Reason::GlobalInflight,
            Self::Upstream => Reason::UpstreamInflight,
            Self::Backend => Reason::BackendInflight,
        }
    }

    /// Whether it is one of the whole process.
    pub(super) const fn is_global(self) -> bool {
        matches!(self, Self::Adaptive | Self::Global)
    }
}

/// The counts of the process.
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
    /// The counts of a process with this many workers.
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

    /// Takes limits in on reload. Requests above a smaller limit finish; waiters see a larger one at once.
    pub fn configure(&self, options: &GlobalLimitOptions) {
        self.inflight_limit.store(options.inflight_limit, SeqCst);
        self.queue_cap.store(options.queue_cap, Relaxed);
        self.adaptive.configure(options.adaptive.as_ref());
        self.brownout.configure(options.brownout.as_ref());
        self.wakers.wake_all();
    }

    /// How a worker is woken when one of its waiters may go; set at each start of the worker.
    pub fn set_waker(&self, worker: usize, waker: Waker) {
        self.wakers.set_waker(worker, waker);
    }

    /// Requests in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// Requests waiting in all queues.
    pub fn queued(&self) -> u32 {
        self.queued.load(Relaxed)
    }

    /// Whether brownout is on.
    pub fn in_brownout(&self) -> bool {
        self.brownout.is_active()
    }

    /// The adaptive limit, if there is one.
    pub fn adaptive_limit(&self) -> Option<u32> {
        self.adaptive.limit()
    }

    /// The limit in effect, and which one it is: an adaptive one that has not sunk is the global one.
    pub fn limit(&self) -> (u32, Limit) {
        let global = self.inflight_limit.load(Relaxed);
        match self.adaptive.limit() {
            Some(adaptive) if adaptive < global => (adaptive, Limit::Adaptive),
            _ => (global, Limit::Global),
        }
    }

    /// The adaptive limit as last logged and as it is, when a line about it is due. To exactly one caller.
    pub fn take_limit_change(&self, now: Nanos) -> Option<(u32, u32)> {
        self.adaptive.take_change(now)
    }

    /// Whether brownout went on or off since the last call. To exactly one caller.
    pub fn take_brownout_change(&self) -> Option<bool> {
        self.brownout.take_change()
    }

    /// Lets the adaptive limit rise with time. Those who wait for it are called.
    pub(super) fn advance(&self, now: Nanos) {
        if self.adaptive.is_enabled() && self.adaptive.advance(now) && self.queued() > 0 {
            self.wake_oldest(&self.waiters);
        }
    }

    /// When the adaptive limit may rise next.
    pub(super) fn next_rise(now: Nanos) -> Nanos {
        Adaptive::window_end(now)
    }

    /// Looks at brownout; whether it is on.
    pub(super) fn evaluate_brownout(&self) -> bool {
        self.brownout.evaluate(self.in_flight(), self.limit().0)
    }

    pub(super) fn wake_oldest(&self, waiters: &Waiters) {
        if let Some((worker, _)) = waiters.oldest() {
            self.wakers.wake(worker);
        }
    }
}

/// The counts of one upstream.
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
    /// Workers whose first waiter needs a permit of this upstream.
    pub(super) permit_waiters: Waiters,
    /// Workers whose first waiter has a permit and needs a backend.
    pub(super) backend_waiters: Waiters,
    /// Workers with requests that have a permit and wait only because their client holds its share of every backend that
    /// has room. Others pass them.
    pub(super) held_back_waiters: Waiters,
}

impl RouteLimits {
    /// The counts of an upstream; `workers` as for the process.
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

    /// Takes limits in on reload.
    pub fn configure(&self, options: &RouteLimitOptions) {
        self.inflight_limit.store(options.inflight_limit, SeqCst);
        self.client_limit.store(options.client_limit, Relaxed);
        self.queue_cap.store(options.queue_cap, Relaxed);
        self.max_wait.store(u64::try_from(options.max_wait.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        self.core.store(options.core, Relaxed);
        self.global.wakers.wake_all();
    }

    /// The counts of the process.
    pub fn global(&self) -> &Arc<GlobalLimits> {
        &self.global
    }

    /// Requests in flight to this upstream.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.load(Relaxed)
    }

    /// The limit in effect.
    pub fn limit(&self) -> u32 {
        self.inflight_limit.load(Relaxed)
    }

    /// Requests waiting for this upstream.
    pub fn queued(&self) -> u32 {
        self.queued.load(Relaxed)
    }

    /// Response headers came after `latency`: for the adaptive limit.
    pub(crate) fn on_head(&self, worker: usize, latency: Duration, now: Nanos) {
        if self.global.adaptive.is_enabled() {
            self.advance(now);
            self.heads.on_head(worker, latency, self.global.in_flight());
        }
    }

    /// No response headers came within a limit that the operator set: for the adaptive limit.
    pub(crate) fn on_timeout(&self, worker: usize, now: Nanos) {
        if self.global.adaptive.is_enabled() {
            self.advance(now);
            self.heads.on_timeout(worker, self.global.in_flight());
        }
    }

    /// Closes the window of this upstream that has ended, and lets the adaptive limit go with the time.
    pub(super) fn advance(&self, now: Nanos) {
        if self.global.adaptive.is_enabled() {
            self.heads.advance(now, &self.global.adaptive);
            self.global.advance(now);
        }
    }

    /// A request got its permit on this worker.
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

    /// Whether requests wait for a backend of this upstream: others must not overtake them.
    pub(crate) fn has_backend_waiters(&self) -> bool {
        self.queued.load(SeqCst) > 0 && self.backend_waiters.oldest().is_some()
    }

    /// A place on a backend became free: the first that waits for one is called, and whoever waits because of its share.
    pub(crate) fn on_backend_free(&self) {
        if self.queued.load(SeqCst) > 0 {
            self.global.wake_oldest(&self.backend_waiters);
            self.held_back_waiters.workers().for_each(|worker| self.global.wakers.wake(worker));
        }
    }

    /// Whether this client already holds its share of the upstream.
    pub(super) fn is_held_by(self: &Arc<Self>, client: &ClientShare) -> bool {
        client.is_at(LimitId::of(self), self.client_limit.load(Relaxed))
    }

    /// Takes a place in the process and the upstream, or names the limit that is full.
    pub(super) fn acquire(self: &Arc<Self>) -> Result<Permit, Limit> {
        let global = &self.global;
        let (limit, which) = global.limit();
        if global.in_flight.load(SeqCst) >= limit {
            return Err(which);
        }
        // Never above the limit, not even for a moment: that could turn another request away for nothing.
        raise(&self.in_flight, self.inflight_limit.load(SeqCst)).ok_or(Limit::Upstream)?;
        if raise(&global.in_flight, limit).is_none() {
            self.in_flight.fetch_sub(1, SeqCst);
            self.on_free();
            return Err(which);
        }
        Ok(Permit { limits: Arc::clone(self), share: None })
    }

    /// Takes a place in the queue, or says which cap is reached.
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

    /// A place became free: the first waiter of this upstream is called, and the first of the process. Both, because
    /// the one of the upstream may find that still full, after a reload with a smaller limit.
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

/// A request's place in the process and in its upstream; held to the end of the exchange, returns by drop.
#[derive(Debug)]
#[must_use = "dropping a permit gives the place back"]
pub struct Permit {
    limits: Arc<RouteLimits>,
    share: Option<ClientShareGuard>,
}

impl Permit {
    /// The upstream's counts.
    pub fn limits(&self) -> &Arc<RouteLimits> {
        &self.limits
    }

    /// The client for which it counts.
    pub(super) fn client(&self) -> Option<&ClientShare> {
        self.share.as_ref().map(ClientShareGuard::client)
    }

    /// Counts it for the client whose request it is for.
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
