//! A snapshot as one worker uses it: its upstreams with their balancers, and the transport's ids of their backends.
//!
//! Shared by the exchanges that began with it; when the last of them has ended, [`WorkerSnapshot::remove_backends`] gives the
//! ids back.

use super::Snapshot;
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

/// A snapshot with what this worker keeps for it.
pub(crate) struct WorkerSnapshot {
    snapshot: Arc<Snapshot>,
    balanced: Vec<RefCell<Upstream>>,
    /// The transport's id of each backend of each upstream.
    backend_ids: Vec<Vec<BackendId>>,
    by_backend_id: HashMap<BackendId, (usize, usize)>,
    /// When it was last logged of each upstream that no backend is healthy.
    logged: Vec<Cell<Option<Instant>>>,
}

/// How often that is logged at most.
const LOG_EVERY: Duration = Duration::from_secs(1);

impl Deref for WorkerSnapshot {
    type Target = Snapshot;

    fn deref(&self) -> &Snapshot {
        &self.snapshot
    }
}

impl WorkerSnapshot {
    /// Adds every backend of the snapshot to the transport.
    pub(crate) fn new(snapshot: Arc<Snapshot>, transport: &mut Transport, worker: usize) -> Self {
        let mut by_backend_id = HashMap::new();
        let mut backend_ids = Vec::new();
        let mut balanced = Vec::new();
        for compiled in &snapshot.upstreams {
            let ids: Vec<_> = compiled.backends.iter().map(|spec| transport.add_backend(spec)).collect();
            by_backend_id.extend(ids.iter().enumerate().map(|(at, id)| (*id, (backend_ids.len(), at))));
            backend_ids.push(ids);
            let upstream = Upstream::new(compiled.pool.clone(), compiled.options.clone()).on_worker(worker);
            balanced.push(RefCell::new(match compiled.budgets.clone() {
                Some([route, process]) => upstream.with_budgets(route, process),
                None => upstream,
            }));
        }
        let logged = vec![Cell::new(None); balanced.len()];
        Self { snapshot, balanced, backend_ids, by_backend_id, logged }
    }

    /// Removes its backends from the transport. For a snapshot that no exchange uses any more.
    pub(crate) fn remove_backends(&self, transport: &mut Transport) {
        self.backend_ids.iter().flatten().for_each(|id| transport.remove_backend(*id));
    }

    /// An upstream with its balancer, borrowed for one decision; `None` while it is borrowed.
    pub(crate) fn upstream(&self, number: usize) -> Option<RefMut<'_, Upstream>> {
        self.balanced.get(number)?.try_borrow_mut().ok()
    }

    /// The transport's id of a backend.
    pub(crate) fn backend_id(&self, upstream: usize, backend: usize) -> Option<BackendId> {
        self.backend_ids.get(upstream)?.get(backend).copied()
    }

    /// No connection can be made: one line until that changes.
    pub(crate) fn on_down(&self, id: BackendId, reason: &str) {
        if let Some((upstream, name, address)) = self.names(id) {
            tracing::warn!("Backend {address} became unreachable upstream={upstream} id={name} reason={reason}");
        }
    }

    /// A connection stands again.
    pub(crate) fn on_up(&self, id: BackendId) {
        if let Some((upstream, name, address)) = self.names(id) {
            tracing::info!("Backend {address} became reachable upstream={upstream} id={name}");
        }
    }

    /// Logs what this worker's requests changed about the backends of an upstream.
    pub(crate) fn log_transitions(&self, number: usize, upstream: &mut Upstream) {
        while let Some(changed) = upstream.take_transition() {
            match changed.change {
                Change::Health(transition) => log_transition(&self.config, number, changed.backend, transition),
                Change::Circuit(circuit) => log_circuit(&self.config, number, changed.backend, circuit),
            }
        }
    }

    /// Logs that a request found no healthy backend, at most once a second.
    pub(crate) fn log_unhealthy(&self, number: usize, now: Instant) {
        let (Some(logged), Some(compiled)) = (self.logged.get(number), self.snapshot.upstreams.get(number)) else {
            return;
        };
        if logged.get().is_some_and(|at| now.saturating_duration_since(at) < LOG_EVERY) {
            return;
        }
        logged.set(Some(now));
        let (healthy, total) = (compiled.pool.healthy(), compiled.pool.members().len());
        let name = self.config.upstreams.get(number).map_or("", |upstream| &upstream.name);
        tracing::warn!("no healthy backends available: {healthy}/{total} backends healthy upstream={name}");
    }

    fn names(&self, id: BackendId) -> Option<(&str, &str, &str)> {
        let (upstream, backend) = self.by_backend_id.get(&id)?;
        let upstream = self.config.upstreams.get(*upstream)?;
        let backend = upstream.backends.get(*backend)?;
        Some((&upstream.name, &backend.id, &backend.address.written))
    }
}

/// Logs that the circuit of a backend has opened or closed.
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

/// Logs that a backend has become healthy or unhealthy, once for each change (docs/reference/behaviour.md#health).
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
