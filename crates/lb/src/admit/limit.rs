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
use super::line::{Bells, Line};
use super::share::{ClientShare, Limited, ShareOfPlace};
use crate::outcome::Reason;
use crate::time::Nanos;

/// Limits of the process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessOptions {
    /// `global_inflight_limit`.
    pub inflight_limit: u32,
    /// `route_queue.global_cap`.
    pub queue_cap: u32,
    /// `None` when there is no adaptive limit.
    pub adaptive: Option<AdaptiveOptions>,
    /// `None` when there is no brownout.
    pub brownout: Option<BrownoutOptions>,
}

impl Default for ProcessOptions {
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
pub struct ScopeOptions {
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

impl Default for ScopeOptions {
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
pub struct Process {
    in_flight: AtomicU32,
    inflight_limit: AtomicU32,
    queued: AtomicU32,
    queue_cap: AtomicU32,
    adaptive: Adaptive,
    brownout: Brownout,
    pub(super) line: Line,
    pub(super) bells: Bells,
}

impl Process {
    /// The counts of a process with this many workers.
    pub fn new(workers: usize, options: &ProcessOptions) -> Arc<Self> {
        let process = Self {
            in_flight: AtomicU32::new(0),
            inflight_limit: AtomicU32::new(0),
            queued: AtomicU32::new(0),
            queue_cap: AtomicU32::new(0),
            adaptive: Adaptive::default(),
            brownout: Brownout::default(),
            line: Line::new(workers),
            bells: Bells::new(workers),
        };
        process.configure(options);
        Arc::new(process)
    }

    /// Takes limits in on reload. Requests above a smaller limit finish; waiters see a larger one at once.
    pub fn configure(&self, options: &ProcessOptions) {
        self.inflight_limit.store(options.inflight_limit, SeqCst);
        self.queue_cap.store(options.queue_cap, Relaxed);
        self.adaptive.configure(options.adaptive.as_ref());
        self.brownout.configure(options.brownout.as_ref());
        self.bells.ring_all();
    }

    /// How a worker is woken when one of its waiters may go; set at each start of the worker.
    pub fn set_waker(&self, worker: usize, waker: Waker) {
        self.bells.set_waker(worker, waker);
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
            self.ring_oldest(&self.line);
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

    pub(super) fn ring_oldest(&self, line: &Line) {
        if let Some((worker, _)) = line.oldest() {
            self.bells.ring(worker);
        }
    }
}

/// The counts of one upstream.
#[derive(Debug)]
pub struct Scope {
    process: Arc<Process>,
    in_flight: AtomicU32,
    inflight_limit: AtomicU32,
    client_limit: AtomicU32,
    queued: AtomicU32,
    queue_cap: AtomicU32,
    max_wait: AtomicU64,
    core: AtomicBool,
    heads: Heads,
    /// Workers whose first waiter needs a permit of this upstream.
    pub(super) permits: Line,
    /// Workers whose first waiter has a permit and needs a backend.
    pub(super) backends: Line,
    /// Workers with requests that have a permit and wait only because their client holds its share of every backend that
    /// has room. Others pass them.
    pub(super) held_back: Line,
}

impl Scope {
    /// The counts of an upstream; `workers` as for the process.
    pub fn new(process: Arc<Process>, workers: usize, options: &ScopeOptions) -> Arc<Self> {
        let scope = Self {
            process,
            in_flight: AtomicU32::new(0),
            inflight_limit: AtomicU32::new(0),
            client_limit: AtomicU32::new(0),
            queued: AtomicU32::new(0),
            queue_cap: AtomicU32::new(0),
            max_wait: AtomicU64::new(0),
            core: AtomicBool::new(false),
            heads: Heads::new(workers),
            permits: Line::new(workers),
            backends: Line::new(workers),
            held_back: Line::new(workers),
        };
        scope.configure(options);
        Arc::new(scope)
    }

    /// Takes limits in on reload.
    pub fn configure(&self, options: &ScopeOptions) {
        self.inflight_limit.store(options.inflight_limit, SeqCst);
        self.client_limit.store(options.client_limit, Relaxed);
        self.queue_cap.store(options.queue_cap, Relaxed);
        self.max_wait.store(u64::try_from(options.max_wait.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        self.core.store(options.core, Relaxed);
        self.process.bells.ring_all();
    }

    /// The counts of the process.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
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
        if self.process.adaptive.is_enabled() {
            self.advance(now);
            self.heads.on_head(worker, latency, self.process.in_flight());
        }
    }

    /// No response headers came within a limit that the operator set: for the adaptive limit.
    pub(crate) fn on_timeout(&self, worker: usize, now: Nanos) {
        if self.process.adaptive.is_enabled() {
            self.advance(now);
            self.heads.on_timeout(worker, self.process.in_flight());
        }
    }

    /// Closes the window of this upstream that has ended, and lets the adaptive limit go with the time.
    pub(super) fn advance(&self, now: Nanos) {
        if self.process.adaptive.is_enabled() {
            self.heads.advance(now, &self.process.adaptive);
            self.process.advance(now);
        }
    }

    /// A request got its permit on this worker.
    pub(super) fn on_granted(&self, worker: usize) {
        if self.process.adaptive.is_enabled() {
            self.heads.on_in_flight(worker, self.process.in_flight());
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
        self.queued.load(SeqCst) > 0 && self.backends.oldest().is_some()
    }

    /// A place on a backend became free: the first that waits for one is called, and whoever waits because of its share.
    pub(crate) fn on_backend_free(&self) {
        if self.queued.load(SeqCst) > 0 {
            self.process.ring_oldest(&self.backends);
            self.held_back.shown().for_each(|worker| self.process.bells.ring(worker));
        }
    }

    /// Whether this client already holds its share of the upstream.
    pub(super) fn is_held_by(self: &Arc<Self>, client: &ClientShare) -> bool {
        client.is_at(Limited::of(self), self.client_limit.load(Relaxed))
    }

    /// Takes a place in the process and the upstream, or names the limit that is full.
    pub(super) fn acquire(self: &Arc<Self>) -> Result<Permit, Limit> {
        let process = &self.process;
        let (limit, which) = process.limit();
        if process.in_flight.load(SeqCst) >= limit {
            return Err(which);
        }
        // Never above the limit, not even for a moment: that could turn another request away for nothing.
        raise(&self.in_flight, self.inflight_limit.load(SeqCst)).ok_or(Limit::Upstream)?;
        if raise(&process.in_flight, limit).is_none() {
            self.in_flight.fetch_sub(1, SeqCst);
            self.on_free();
            return Err(which);
        }
        Ok(Permit { scope: Arc::clone(self), share: None })
    }

    /// Takes a place in the queue, or says which cap is reached.
    pub(super) fn enter_queue(&self) -> Result<(), Reason> {
        raise(&self.queued, self.queue_cap.load(Relaxed)).ok_or(Reason::RouteCap)?;
        let global = raise(&self.process.queued, self.process.queue_cap.load(Relaxed));
        if global.is_none() {
            self.queued.fetch_sub(1, SeqCst);
        }
        global.ok_or(Reason::RouteGlobalCap)
    }

    pub(super) fn leave_queue(&self) {
        self.queued.fetch_sub(1, SeqCst);
        self.process.queued.fetch_sub(1, SeqCst);
    }

    /// A place became free: the first waiter of this upstream is called, and the first of the process. Both, because
    /// the one of the upstream may find that still full, after a reload with a smaller limit.
    fn on_free(&self) {
        if self.process.queued.load(SeqCst) > 0 {
            self.process.ring_oldest(&self.permits);
            self.process.ring_oldest(&self.process.line);
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
    scope: Arc<Scope>,
    share: Option<ShareOfPlace>,
}

impl Permit {
    /// The upstream's counts.
    pub fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    /// The client for which it counts.
    pub(super) fn client(&self) -> Option<&ClientShare> {
        self.share.as_ref().map(ShareOfPlace::client)
    }

    /// Counts it for the client whose request it is for.
    pub(super) fn for_client(mut self, client: Option<&ClientShare>) -> Self {
        self.share = client.map(|client| client.take(Limited::of(&self.scope)));
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.scope.in_flight.fetch_sub(1, SeqCst);
        self.scope.process.in_flight.fetch_sub(1, SeqCst);
        self.scope.process.evaluate_brownout();
        self.scope.on_free();
    }
}
