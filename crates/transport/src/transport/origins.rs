//! The origins that backends share.

use super::Transport;
use crate::{
    dial::Destination,
    handle::BackendId,
    options::{BackendSpec, Protocol},
    origin::Origin,
    slots::NAMES_SLOT,
};
use spooky_telemetry::metrics::ConnectionGauge;
use std::sync::Arc;

impl Transport {
    /// Returns the origin of this specification, which one more backend shares from now on.
    pub(super) fn share_origin(&mut self, spec: &BackendSpec, connections: &Arc<ConnectionGauge>) -> usize {
        let name = (spec.host.to_ascii_lowercase(), spec.port);
        let same_name = self.names.entry(name).or_default();
        let origins = &mut self.origins;
        let shared = same_name.iter().copied().find(|at| origins.get(*at).is_some_and(|origin| origin.is(spec)));
        if let Some(at) = shared {
            if let Some(origin) = origins.get_mut(at) {
                origin.backends += 1;
                origin.gauge.add(connections);
            }
            return at;
        }
        let waker = self.ready.waker(NAMES_SLOT);
        let destination = Destination::new(&spec.host, spec.port, &self.resolver, waker);
        let mut origin = Origin::new(spec, destination, self.options.first_turn);
        origin.gauge.add(connections);
        let at = origins.insert(origin);
        same_name.push(at);
        at
    }

    /// Returns the origin with HTTP/1.1 for the requests for WebSocket of a backend whose HTTP version was detected as HTTP/2. `None` if
    /// the version is configured.
    pub(super) fn websocket_origin(&mut self, backend: BackendId) -> Option<usize> {
        let entry = self.backend(backend)?;
        if entry.websockets.is_some() {
            return entry.websockets;
        }
        let spec = &self.origins.get(entry.origin)?.spec;
        if spec.protocol != Protocol::Auto {
            return None;
        }
        let spec = BackendSpec { protocol: Protocol::Http1, ..spec.clone() };
        let connections = entry.connections.clone();
        let at = self.share_origin(&spec, &connections);
        self.backends.get_mut(backend.0)?.websockets = Some(at);
        Some(at)
    }
}
