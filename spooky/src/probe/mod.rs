//! Active health checks: one thread that probes all backends concurrently, on its own connections
//! (docs/reference/behaviour.md#active-health-checks).
//!
//! `lb::health` decides when a probe is due and what its result means. This thread shares only the health of the backends
//! with the workers.

mod backend_probe;
mod schedule;

use crate::{
    control::{Control, SeenVersion},
    restart::{RestartBackoff, RunFailure, supervise},
    snapshot::{Snapshot, log_transition, transport_options},
    state::State,
};
use backend_probe::{BackendProbe, ProbeFailure, Target};
use schedule::Schedule;
use spooky_bridge::message::ResetReason;
use spooky_lb::{
    health::{Readiness, Transition},
    rng::Rng,
    time::Nanos,
};
use spooky_net::timer::Timer;
use spooky_telemetry::metrics::BackendSeries;
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

/// Runs the health checker until a drain. Restarts it after a panic.
pub(crate) fn run(control: &Arc<Control<Arc<Snapshot>>>, state: &Arc<State>, seed: u64) {
    let report = |end, pause: Duration| {
        let pause = pause.as_millis();
        match end {
            RunFailure::Error(error) => {
                tracing::error!(
                    "Health checks disabled: no Tokio runtime available: {error}; restarting in {pause} ms"
                );
            }
            RunFailure::Panic => tracing::error!("Background task 'probes' panicked; restarting in {pause} ms"),
        }
    };
    supervise(control, RestartBackoff::new(), |_| run_once(control, state, seed), report);
}

fn run_once(control: &Arc<Control<Arc<Snapshot>>>, state: &Arc<State>, seed: u64) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(async {
        let mut checker = HealthChecker::new(control.clone(), state.clone(), seed)?;
        poll_fn(|cx| checker.turn(cx)).await;
        Ok(())
    })
}

struct HealthChecker {
    control: Arc<Control<Arc<Snapshot>>>,
    seen: SeenVersion,
    snapshot: Arc<Snapshot>,
    state: Arc<State>,
    epoch: Instant,
    transport: Transport,
    timer: Timer,
    rng: Rng,
    probes: Vec<BackendProbe>,
    /// Indexes in `probes`.
    by_id: HashMap<u32, usize>,
    next_id: u32,
    schedule: Schedule,
    /// Number of backends without a first result.
    awaiting_first_result: usize,
}

impl HealthChecker {
    fn new(control: Arc<Control<Arc<Snapshot>>>, state: Arc<State>, seed: u64) -> io::Result<Self> {
        let now = Instant::now();
        // The first turn handles a drain that has already started.
        let snapshot = control.read(&mut SeenVersion::default()).setup;
        let mut transport = Transport::new(transport_options(&snapshot.config), state.names.clone(), now);
        if let Some(counts) = snapshot.metrics.transports().last() {
            transport.count_in(counts.clone());
        }
        // Connections close after each probe, so that every probe tests whether a connection can be made.
        transport.drain();
        let mut checker = Self {
            control,
            seen: SeenVersion::default(),
            snapshot,
            epoch: state.epoch,
            state,
            transport,
            timer: Timer::new()?,
            rng: Rng::seeded(seed),
            probes: Vec::new(),
            by_id: HashMap::new(),
            next_id: 0,
            schedule: Schedule::default(),
            awaiting_first_result: 0,
        };
        checker.apply_snapshot(now);
        Ok(checker)
    }

    /// Adds and removes probes according to the current snapshot. Unchanged probes keep their results.
    fn apply_snapshot(&mut self, now: Instant) {
        let at = Nanos::since(self.epoch, now);
        let probes = std::mem::take(&mut self.probes);
        let mut before: HashMap<_, _> = probes.into_iter().map(|probe| (probe.target.name.clone(), probe)).collect();
        for (of, target) in targets(&self.snapshot) {
            let earlier = before.remove(&target.name);
            if let Some(probe) = earlier.as_ref()
                && probe.target.is_same_check(&target)
            {
                self.probes.extend(earlier.map(|probe| probe.with_position(of)));
                continue;
            }
            // Added before the old one is removed, so that a shared origin is kept.
            let backend = self.transport.add_backend(&target.spec);
            self.next_id = self.next_id.wrapping_add(1);
            self.probes.push(BackendProbe::new(self.next_id, of, backend, target, at, &mut self.rng));
            if let Some(probe) = earlier {
                self.remove(probe);
            }
        }
        for probe in before.into_values() {
            self.remove(probe);
        }
        self.by_id = self.probes.iter().enumerate().map(|(index, probe)| (probe.id, index)).collect();
        self.awaiting_first_result = self.probes.iter().filter(|probe| !probe.is_known()).count();
        if self.awaiting_first_result == 0 {
            self.state.admin.set_probed();
        }
        self.schedule = Schedule::default();
        (0..self.probes.len()).for_each(|index| self.arm(index));
    }

    fn remove(&mut self, mut probe: BackendProbe) {
        if let Some(handle) = probe.stop() {
            self.transport.reset(handle, ResetReason::Cancelled);
        }
        self.transport.remove_backend(probe.backend);
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
                self.apply_snapshot(now);
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
            Event::Failed { tag, failure } => (tag, Err(failure)),
            Event::BackendDown { backend, reason } => return self.set_unreachable(backend, Some(reason)),
            Event::BackendUp { backend } => return self.set_unreachable(backend, None),
            _ => return,
        };
        let Some(&index) = self.by_id.get(&(tag as u32)) else { return };
        if let Some(probe) = self.probes.get_mut(index).filter(|probe| probe.is_running(tag)) {
            let result = probe.evaluate(status);
            self.end(index, result, now);
            self.arm(index);
        }
    }

    /// Keeps the reason why no connection can be made: it is more precise than the failure of the probe.
    fn set_unreachable(&mut self, backend: BackendId, reason: Option<Rc<str>>) {
        if let Some(probe) = self.probes.iter_mut().find(|probe| probe.backend == backend) {
            probe.unreachable = reason;
        }
    }

    fn arm(&mut self, index: usize) {
        let due = self.probes.get(index).and_then(|probe| probe.due(self.epoch));
        self.schedule.arm(index, due);
    }

    /// Fails a probe that has timed out, and starts one that is due.
    fn on_time(&mut self, index: usize, now: Instant) {
        let at = Nanos::since(self.epoch, now);
        let Some(probe) = self.probes.get_mut(index) else { return };
        if probe.is_overdue(now) {
            let late = ProbeFailure::Timeout(probe.target.check.timeout_ms);
            self.end(index, Err(late), now);
        } else if probe.is_due(at) {
            let sent = probe.start(&mut self.transport, &mut self.rng, now, at);
            if !sent {
                self.end(index, Err(ProbeFailure::Unsent), now);
            }
        }
    }

    fn end(&mut self, index: usize, result: Result<u16, ProbeFailure>, now: Instant) {
        let at = Nanos::since(self.epoch, now);
        let Some(probe) = self.probes.get_mut(index) else { return };
        if let Some(handle) = probe.stop() {
            self.transport.reset(handle, ResetReason::Cancelled);
        }
        let (upstream, backend) = probe.of;
        if let Some(totals) = self.snapshot.metrics.prober() {
            let [success, failure] = &totals.probes;
            if result.is_ok() { success } else { failure }.increment();
        }
        // Before the transition, which the control API shows with this reason.
        if let Err(failure) = &result
            && let Some(series) = series(&self.snapshot, upstream, backend)
        {
            series.count_probe_failure(failure.kind());
        }
        let Some(pool) = self.snapshot.upstreams.get(upstream).map(|upstream| &upstream.pool) else { return };
        let Some(member) = pool.members().get(backend) else { return };
        let (transition, is_first) = probe.record_result(&member.state.health, result.is_ok(), at);
        let address = &member.spec.address;
        let name = self.snapshot.config.upstreams.get(upstream).map_or("-", |upstream| &upstream.name);
        let id = &member.spec.id;
        let makes_unhealthy = transition.is_some_and(|transition| !transition.healthy);
        match result {
            Ok(status) => tracing::debug!("Probe of {address} succeeded upstream={name} id={id} status={status}"),
            // Logged before the line that says that the backend is unhealthy.
            Err(failure) if makes_unhealthy => {
                tracing::warn!("Probe of {address} failed upstream={name} id={id} reason={failure}");
            }
            Err(failure) => tracing::debug!("Probe of {address} failed upstream={name} id={id} reason={failure}"),
        }
        if let Some(transition) = transition {
            self.on_transition(upstream, backend, transition);
        }
        if is_first {
            self.awaiting_first_result -= 1;
            if self.awaiting_first_result == 0 {
                self.state.admin.set_probed();
                self.log_first_round();
            }
        }
    }

    fn on_transition(&self, upstream: usize, backend: usize, transition: Transition) {
        log_transition(&self.snapshot.config, upstream, backend, transition);
        if let Some(series) = series(&self.snapshot, upstream, backend) {
            series.count_transition(transition.healthy);
        }
        if transition.healthy
            && let Some(upstream) = self.snapshot.upstreams.get(upstream)
        {
            upstream.pool.on_recovery();
        }
    }

    fn log_first_round(&self) {
        let ready = Readiness::of(self.snapshot.upstreams.iter().map(|upstream| &*upstream.pool));
        let (healthy, total) = (ready.healthy, ready.total);
        tracing::info!("Initial health checks complete: {healthy}/{total} backends healthy");
    }
}

/// Returns the counts that this thread writes for a backend.
fn series(snapshot: &Snapshot, upstream: usize, backend: usize) -> Option<&BackendSeries> {
    snapshot.series.backend(upstream, backend, snapshot.metrics.workers().len())
}

/// Returns all probes of a snapshot, with the indexes of upstream and backend.
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
