//! A snapshot at work in one worker: its upstreams with their balancers, and the places of their backends in the transport.

use crate::snapshot::Snapshot;
use spooky_lb::upstream::Upstream;
use spooky_transport::{BackendId, Transport};
use std::{collections::HashMap, sync::Arc};

/// A snapshot with what this worker keeps for it.
pub(crate) struct Generation {
    pub(crate) snapshot: Arc<Snapshot>,
    upstreams: Vec<Upstream>,
    /// The transport's name of each backend of each upstream.
    places: Vec<Vec<BackendId>>,
    by_place: HashMap<BackendId, (usize, usize)>,
}

impl Generation {
    /// Enters every backend of the snapshot into the transport.
    pub(crate) fn new(snapshot: Arc<Snapshot>, transport: &mut Transport) -> Self {
        let mut by_place = HashMap::new();
        let mut places = Vec::new();
        let mut upstreams = Vec::new();
        for compiled in &snapshot.upstreams {
            let ids: Vec<_> = compiled.backends.iter().map(|spec| transport.add_backend(spec)).collect();
            by_place.extend(ids.iter().enumerate().map(|(at, id)| (*id, (places.len(), at))));
            places.push(ids);
            upstreams.push(Upstream::new(compiled.pool.clone(), compiled.options.clone()));
        }
        Self { snapshot, upstreams, places, by_place }
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
            let Some(&id) = self.places.get(number).and_then(|ids| ids.get(news.backend)) else { continue };
            let Some((pool, backend)) = self.by_place.get(&id) else { continue };
            let Some(config) = self.snapshot.config.upstreams.get(*pool) else { continue };
            let Some(backend) = config.backends.get(*backend) else { continue };
            let (address, upstream, name) = (&backend.address.written, &config.name, &backend.id);
            let reason = news.transition.reason;
            if news.transition.healthy {
                tracing::info!("Backend {address} became healthy upstream={upstream} id={name} reason={reason}");
            } else {
                tracing::warn!("Backend {address} became unhealthy upstream={upstream} id={name} reason={reason}");
            }
        }
    }

    fn names(&self, id: BackendId) -> Option<(&str, &str, &str)> {
        let (upstream, backend) = self.by_place.get(&id)?;
        let upstream = self.snapshot.config.upstreams.get(*upstream)?;
        let backend = upstream.backends.get(*backend)?;
        Some((&upstream.name, &backend.id, &backend.address.written))
    }
}
