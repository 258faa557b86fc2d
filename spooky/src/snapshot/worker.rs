//! One worker's view of a snapshot: the upstreams with their balancers, and the transport's ids of their backends.
//!
//! Shared by the exchanges that started with it. After the last of them, [`WorkerSnapshot::remove_backends`] is called.

use super::Snapshot;
use crate::counts::Counts;
use spooky_config::Config;
use spooky_lb::{
    attempt::breaker::Circuit,
    health::Transition,
    upstream::{Change, Upstream},
};
use spooky_transport::{BackendId, Transport};
use std::{
    cell::{Cell, RefCell, RefMut},
    collections::HashMap,
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) struct WorkerSnapshot {
    snapshot: Arc<Snapshot>,
    upstreams: Vec<RefCell<Upstream>>,
    /// The transport's id of each backend, by upstream.
    backend_ids: Vec<Vec<BackendId>>,
    positions: HashMap<BackendId, (usize, usize)>,
    /// When it was last logged that an upstream has no healthy backend.
    unhealthy_logged: Vec<Cell<Option<Instant>>>,
    /// The worker's counts.
    pub(crate) counts: Counts,
}

/// Minimum time between two such log lines of an upstream.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

impl Deref for WorkerSnapshot {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl WorkerSnapshot {
    /// Creates the view and adds every backend of the snapshot to the transport.
    pub(crate) fn new(snapshot: Arc<Snapshot>, transport: &mut Transport, worker: usize) -> Self {
        let mut positions = HashMap::new();
        let mut backend_ids = Vec::new();
        let mut upstreams = Vec::new();
        for compiled in &snapshot.upstreams {
            let upstream = backend_ids.len();
            let add = |(at, spec)| {
                let series = snapshot.series.backend(upstream, at, worker);
                let connections = series.map(|series| series.connections.clone()).unwrap_or_default();
                transport.add_counted_backend(spec, connections)
            };
            let ids: Vec<_> = compiled.backends.iter().enumerate().map(add).collect();
            positions.extend(ids.iter().enumerate().map(|(at, id)| (*id, (backend_ids.len(), at))));
            backend_ids.push(ids);
            let upstream = Upstream::new(compiled.pool.clone(), compiled.options.clone()).on_worker(worker);
            upstreams.push(RefCell::new(match compiled.budgets.clone() {
                Some([route, process]) => upstream.with_budgets(route, process),
                None => upstream,
            }));
        }
        let unhealthy_logged = vec![Cell::new(None); upstreams.len()];
        let counts = Counts::new(&snapshot.metrics, snapshot.series.clone(), worker);
        Self { snapshot, upstreams, backend_ids, positions, unhealthy_logged, counts }
    }

    /// Removes the backends from the transport. To be called when no exchange uses the snapshot any more.
    pub(crate) fn remove_backends(&self, transport: &mut Transport) {
        self.backend_ids.iter().flatten().for_each(|id| transport.remove_backend(*id));
    }

    /// Borrows an upstream with its balancer; `None` while it is already borrowed.
    pub(crate) fn upstream(&self, number: usize) -> Option<RefMut<'_, Upstream>> {
        self.upstreams.get(number)?.try_borrow_mut().ok()
    }

    pub(crate) fn backend_id(&self, upstream: usize, backend: usize) -> Option<BackendId> {
        self.backend_ids.get(upstream)?.get(backend).copied()
    }

    /// Logs that no connection to a backend can be made.
    pub(crate) fn log_unreachable(&self, id: BackendId, reason: &str) {
        if let Some((upstream, name, address)) = self.names(id) {
            tracing::warn!("Backend {address} became unreachable upstream={upstream} id={name} reason={reason}");
        }
    }

    /// Logs that a backend is connected again.
    pub(crate) fn log_reachable(&self, id: BackendId) {
        if let Some((upstream, name, address)) = self.names(id) {
            tracing::info!("Backend {address} became reachable upstream={upstream} id={name}");
        }
    }

    /// Logs and counts the changes of health and circuits that this worker's requests have caused in an upstream.
    pub(crate) fn log_transitions(&self, number: usize, upstream: &mut Upstream) {
        while let Some(reason) = upstream.take_passive_failure() {
            self.counts.on_passive_failure(reason);
        }
        while let Some(changed) = upstream.take_transition() {
            match changed.change {
                Change::Health(transition) => {
                    self.counts.on_transition(number, changed.backend, transition);
                    log_transition(&self.config, number, changed.backend, transition);
                }
                Change::Circuit(circuit) => log_circuit(&self.config, number, changed.backend, circuit),
            }
        }
    }

    /// Logs that an upstream has no healthy backend, at most once per [`LOG_INTERVAL`].
    pub(crate) fn log_unhealthy(&self, number: usize, now: Instant) {
        let (Some(unhealthy_logged), Some(compiled)) =
            (self.unhealthy_logged.get(number), self.snapshot.upstreams.get(number))
        else {
            return;
        };
        if unhealthy_logged.get().is_some_and(|at| now.saturating_duration_since(at) < LOG_INTERVAL) {
            return;
        }
        unhealthy_logged.set(Some(now));
        let (healthy, total) = (compiled.pool.healthy(), compiled.pool.members().len());
        let name = self.config.upstreams.get(number).map_or("", |upstream| &upstream.name);
        tracing::warn!("no healthy backends available: {healthy}/{total} backends healthy upstream={name}");
    }

    fn names(&self, id: BackendId) -> Option<(&str, &str, &str)> {
        let (upstream, backend) = self.positions.get(&id)?;
        let upstream = self.config.upstreams.get(*upstream)?;
        let backend = upstream.backends.get(*backend)?;
        Some((&upstream.name, &backend.id, &backend.address.written))
    }
}

fn log_circuit(config: &Config, upstream: usize, backend: usize, circuit: Circuit) {
    let Some(upstream) = config.upstreams.get(upstream) else { return };
    let Some(backend) = upstream.backends.get(backend) else { return };
    let (address, upstream, name) = (&backend.address.written, &upstream.name, &backend.id);
    if circuit == Circuit::Closed {
        tracing::info!("Circuit of backend {address} closed upstream={upstream} id={name}");
    } else {
        tracing::warn!("Circuit of backend {address} opened upstream={upstream} id={name}");
    }
}

/// Logs that a backend has become healthy or unhealthy (docs/reference/behaviour.md#health).
pub(crate) fn log_transition(config: &Config, upstream: usize, backend: usize, transition: Transition) {
    let Some(upstream) = config.upstreams.get(upstream) else { return };
    let Some(backend) = upstream.backends.get(backend) else { return };
    let (address, upstream, name) = (&backend.address.written, &upstream.name, &backend.id);
    let reason = transition.reason;
    if transition.healthy {
        tracing::info!("Backend {address} became healthy upstream={upstream} id={name} reason={reason}");
    } else {
        tracing::warn!("Backend {address} became unhealthy upstream={upstream} id={name} reason={reason}");
    }
}
