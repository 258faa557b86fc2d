//! Active health checks: one thread that probes all backends concurrently, on connections of its own
//! (docs/reference/behaviour.md#active-health-checks).
//!
//! Decides nothing: `lb::health` says when a probe is due and what its result means. It never touches a request; what it
//! shares with the workers is the health of the backends. Started by `runtime`, ended by the same signal as the workers.

mod schedule;
mod watch;

use crate::{
    control::{Control, Seen},
    restart::{End, RestartBackoff, supervise},
    snapshot::{Snapshot, log_transition, transport_options},
};
use schedule::Schedule;
use spooky_bridge::message::ResetReason;
use spooky_lb::{
    health::{Readiness, Transition},
    rng::Rng,
    time::Nanos,
};
use spooky_net::timer::Timer;
use spooky_transport::{BackendId, Event, Transport};
use std::{
    collections::HashMap,
    future::poll_fn,
    io,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use tokio::runtime::Builder;
use watch::{ProbeFailure, Target, Watch};

/// Probes until it is told to stop, whatever happens to a single run.
pub(crate) fn watch_over(control: &Arc<Control<Arc<Snapshot>>>, epoch: Instant, seed: u64) {
    let report = |end, pause: Duration| {
        let pause = pause.as_millis();
        match end {
            End::Error(error) => {
                tracing::error!("Health checks disabled: no Tokio runtime available: {error}; restarting in {pause} ms")
            }
            End::Panic => tracing::error!("Background task 'probes' panicked; restarting in {pause} ms"),
        }
    };
    supervise(control, RestartBackoff::new(), |_| run(control, epoch, seed), report);
}

fn run(control: &Arc<Control<Arc<Snapshot>>>, epoch: Instant, seed: u64) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let mut probes = Probes::new(control.clone(), epoch, seed)?;
        poll_fn(|cx| probes.turn(cx)).await;
        Ok(())
    })
}

/// The probes of all backends.
struct Probes {
    control: Arc<Control<Arc<Snapshot>>>,
    seen: Seen,
    snapshot: Arc<Snapshot>,
    epoch: Instant,
    transport: Transport,
    timer: Timer,
    rng: Rng,
    watches: Vec<Watch>,
    /// Places in `watches`.
    by_id: HashMap<u32, usize>,
    next_id: u32,
    schedule: Schedule,
    /// Backends whose first probe has not ended.
    unknown: usize,
}

impl Probes {
    fn new(control: Arc<Control<Arc<Snapshot>>>, epoch: Instant, seed: u64) -> io::Result<Self> {
        let now = Instant::now();
        // A drain that was ordered before is seen by the first turn.
        let snapshot = control.read(&mut Seen::default()).setup;
        let mut transport = Transport::new(transport_options(&snapshot.config), now);
        // No connection outlives its probe: each of them shows that a new one can be made.
        transport.drain();
        let mut probes = Self {
            control,
            seen: Seen::default(),
            snapshot,
            epoch,
            transport,
            timer: Timer::new()?,
            rng: Rng::seeded(seed),
            watches: Vec::new(),
            by_id: HashMap::new(),
            next_id: 0,
            schedule: Schedule::default(),
            unknown: 0,
        };
        probes.follow(now);
        Ok(probes)
    }

    /// Begins and ends probes as the snapshot in effect wants it. Backends that stay keep the results they had.
    fn follow(&mut self, now: Instant) {
        let at = Nanos::since(self.epoch, now);
        let watches = std::mem::take(&mut self.watches);
        let mut before: HashMap<_, _> = watches.into_iter().map(|watch| (watch.target.name.clone(), watch)).collect();
        for (of, target) in targets(&self.snapshot) {
            let earlier = before.remove(&target.name);
            if let Some(watch) = earlier.as_ref()
                && watch.target.is_like(&target)
            {
                self.watches.extend(earlier.map(|watch| watch.moved_to(of)));
                continue;
            }
            // Added before the old one is removed, so that what both need stays.
            let backend = self.transport.add_backend(&target.spec);
            self.next_id = self.next_id.wrapping_add(1);
            self.watches.push(Watch::new(self.next_id, of, backend, target, at, &mut self.rng));
            if let Some(watch) = earlier {
                self.forget(watch);
            }
        }
        for watch in before.into_values() {
            self.forget(watch);
        }
        self.by_id = self.watches.iter().enumerate().map(|(index, watch)| (watch.id, index)).collect();
        self.unknown = self.watches.iter().filter(|watch| !watch.is_known()).count();
        self.schedule = Schedule::default();
        (0..self.watches.len()).for_each(|index| self.arm(index));
    }

    fn forget(&mut self, mut watch: Watch) {
        if let Some(handle) = watch.stop() {
            self.transport.reset(handle, ResetReason::Cancelled);
        }
        self.transport.remove_backend(watch.backend);
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        if let Some(orders) = self.control.poll(&mut self.seen, cx) {
            if orders.drain.is_some() {
                return Poll::Ready(());
            }
            if !Arc::ptr_eq(&orders.setup, &self.snapshot) {
                self.snapshot = orders.setup;
                self.transport.configure(transport_options(&self.snapshot.config));
                self.follow(now);
            }
        }
        self.transport.on_time(now);
        self.transport.poll_io(cx, now);
        while let Some(event) = self.transport.next_event() {
            self.on_event(event, now);
        }
        while let Some(index) = self.schedule.pop_due(now) {
            self.on_time(index, now);
            self.arm(index);
        }
        self.transport.flush(cx);
        let deadline = [self.schedule.next(), self.transport.next_deadline()].into_iter().flatten().min();
        if self.timer.set(deadline).is_err() || self.timer.poll_expired(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn on_event(&mut self, event: Event, now: Instant) {
        let (tag, status) = match event {
            Event::Head { tag, head, .. } => (tag, Ok(head.status)),
            Event::Failed { tag, failure } => (tag, Err(failure.kind)),
            Event::BackendDown { backend, reason } => return self.note(backend, Some(reason)),
            Event::BackendUp { backend } => return self.note(backend, None),
            _ => return,
        };
        let Some(&index) = self.by_id.get(&(tag as u32)) else { return };
        if let Some(watch) = self.watches.get_mut(index).filter(|watch| watch.is_running(tag)) {
            let result = watch.result(status);
            self.end(index, result, now);
            self.arm(index);
        }
    }

    /// Keeps why no connection to a backend can be made: it says more than the failure of the probe.
    fn note(&mut self, backend: BackendId, reason: Option<Rc<str>>) {
        if let Some(watch) = self.watches.iter_mut().find(|watch| watch.backend == backend) {
            watch.unreachable = reason;
        }
    }

    fn arm(&mut self, index: usize) {
        let due = self.watches.get(index).and_then(|watch| watch.due(self.epoch));
        self.schedule.arm(index, due);
    }

    /// Ends a probe that takes too long, and begins one that is due.
    fn on_time(&mut self, index: usize, now: Instant) {
        let at = Nanos::since(self.epoch, now);
        let Some(watch) = self.watches.get_mut(index) else { return };
        if watch.is_overdue(now) {
            let late = ProbeFailure::Timeout(watch.target.check.timeout_ms);
            self.end(index, Err(late), now);
        } else if watch.is_due(at) {
            let sent = watch.start(&mut self.transport, &mut self.rng, now, at);
            if !sent {
                self.end(index, Err(ProbeFailure::Unsent), now);
            }
        }
    }

    fn end(&mut self, index: usize, result: Result<u16, ProbeFailure>, now: Instant) {
        let at = Nanos::since(self.epoch, now);
        let Some(watch) = self.watches.get_mut(index) else { return };
        if let Some(handle) = watch.stop() {
            self.transport.reset(handle, ResetReason::Cancelled);
        }
        let (upstream, backend) = watch.of;
        let Some(pool) = self.snapshot.upstreams.get(upstream).map(|upstream| &upstream.pool) else { return };
        let Some(member) = pool.members().get(backend) else { return };
        let (transition, is_first) = watch.judge(&member.state.health, result.is_ok(), at);
        let address = &member.spec.address;
        let name = self.snapshot.config.upstreams.get(upstream).map_or("-", |upstream| &upstream.name);
        let id = &member.spec.id;
        let makes_unhealthy = transition.is_some_and(|transition| !transition.healthy);
        match result {
            Ok(status) => tracing::debug!("Probe of {address} succeeded upstream={name} id={id} status={status}"),
            // The line that says why goes before the one that says what follows.
            Err(failure) if makes_unhealthy => {
                tracing::warn!("Probe of {address} failed upstream={name} id={id} reason={failure}");
            }
            Err(failure) => tracing::debug!("Probe of {address} failed upstream={name} id={id} reason={failure}"),
        }
        if let Some(transition) = transition {
            self.tell(upstream, backend, transition);
        }
        if is_first {
            self.unknown -= 1;
            if self.unknown == 0 {
                self.end_first_round();
            }
        }
    }

    fn tell(&self, upstream: usize, backend: usize, transition: Transition) {
        log_transition(&self.snapshot.config, upstream, backend, transition);
        if transition.healthy
            && let Some(upstream) = self.snapshot.upstreams.get(upstream)
        {
            upstream.pool.on_recovery();
        }
    }

    fn end_first_round(&self) {
        let ready = Readiness::of(self.snapshot.upstreams.iter().map(|upstream| &*upstream.pool));
        let (healthy, total) = (ready.healthy, ready.total);
        tracing::info!("Initial health checks complete: {healthy}/{total} backends healthy");
    }
}

/// Everything that a snapshot wants to be probed, with the numbers of upstream and backend.
fn targets(snapshot: &Snapshot) -> Vec<((usize, usize), Target)> {
    let mut targets = Vec::new();
    for (number, (config, upstream)) in snapshot.config.upstreams.iter().zip(&snapshot.upstreams).enumerate() {
        for (at, backend) in config.backends.iter().enumerate() {
            let target = backend.health_check.as_ref().and_then(|check| {
                let name = (config.name.clone(), backend.address.written.clone());
                Target::new(name, check, upstream, at, &backend.address.authority())
            });
            targets.extend(target.map(|target| ((number, at), target)));
        }
    }
    targets
}
