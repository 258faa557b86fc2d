//! A snapshot at work in one worker: its upstreams with their balancers, and the places of their backends in the transport.

use crate::snapshot::Snapshot;
use spooky_config::Config;
use spooky_lb::{health::Transition, upstream::Upstream};
use spooky_transport::{BackendId, Transport};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// A snapshot with what this worker keeps for it.
pub(crate) struct Generation {
    pub(crate) snapshot: Arc<Snapshot>,
    upstreams: Vec<Upstream>,
    /// The transport's name of each backend of each upstream.
    places: Vec<Vec<BackendId>>,
    by_place: HashMap<BackendId, (usize, usize)>,
    /// When each upstream was last said to have no healthy backend.
    told: Vec<Option<Instant>>,
}

/// How often that is said at most.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Generation {
    /// Enters every backend of the snapshot into the transport.
    pub(crate) fn new(snapshot: Arc<Snapshot>, transport: &mut Transport, worker: usize) -> Self {
        let mut by_place = HashMap::new();
        let mut places = Vec::new();
        let mut upstreams = Vec::new();
        for compiled in &snapshot.upstreams {
            let ids: Vec<_> = compiled.backends.iter().map(|spec| transport.add_backend(spec)).collect();
            by_place.extend(ids.iter().enumerate().map(|(at, id)| (*id, (places.len(), at))));
            places.push(ids);
            let upstream = Upstream::new(compiled.pool.clone(), compiled.options.clone());
            upstreams.push(match compiled.budgets.clone() {
                Some([route, process]) => upstream.with_budgets(worker, route, process),
                None => upstream,
            });
        }
        let told = vec![None; upstreams.len()];
        Self { snapshot, upstreams, places, by_place, told }
    }

    /// An upstream with its balancer.
    pub(crate) fn upstream(&mut self, number: usize) -> Option<&mut Upstream> {
        self.upstreams.get_mut(number)
    }

    /// Where a backend is in the transport.
    pub(crate) fn place(&self, upstream: usize, backend: usize) -> Option<BackendId> {
        self.places.get(upstream)?.get(backend).copied()
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

    /// Logs the transitions that this worker's requests caused in an upstream.
    pub(crate) fn tell_news(&mut self, number: usize) {
        let Some(upstream) = self.upstreams.get_mut(number) else { return };
        while let Some(news) = upstream.take_news() {
            tell_transition(&self.snapshot.config, number, news.backend, news.transition);
        }
    }

    /// A request found no healthy backend: one line a second at most (behaviour 8).
    pub(crate) fn tell_unhealthy(&mut self, number: usize, now: Instant) {
        let (Some(told), Some(compiled)) = (self.told.get_mut(number), self.snapshot.upstreams.get(number)) else {
            return;
        };
        if told.is_some_and(|at| now.saturating_duration_since(at) < TELL_EVERY) {
            return;
        }
        *told = Some(now);
        let (healthy, total) = (compiled.pool.healthy(), compiled.pool.members().len());
        let name = self.snapshot.config.upstreams.get(number).map_or("", |upstream| &upstream.name);
        tracing::warn!("no healthy backends available: {healthy}/{total} backends healthy upstream={name}");
    }

    fn names(&self, id: BackendId) -> Option<(&str, &str, &str)> {
        let (upstream, backend) = self.by_place.get(&id)?;
        let upstream = self.snapshot.config.upstreams.get(*upstream)?;
        let backend = upstream.backends.get(*backend)?;
        Some((&upstream.name, &backend.id, &backend.address.written))
    }
}

/// Logs that a backend has become healthy or unhealthy, once for each change (behaviour 9).
pub(crate) fn tell_transition(config: &Config, upstream: usize, backend: usize, transition: Transition) {
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
