//! Adding and removing backends, and draining.

use super::{BackendEntry, Transport};
use crate::{handle::BackendId, options::BackendSpec};
use spooky_telemetry::metrics::ConnectionGauge;
use std::sync::Arc;

impl Transport {
    /// Adds a backend. It is connected with the first request.
    pub fn add_backend(&mut self, spec: &BackendSpec) -> BackendId {
        self.add_counted_backend(spec, Arc::default())
    }

    /// Adds a backend, and counts its open connections in `connections`, of which this transport must be the only writer.
    pub fn add_counted_backend(&mut self, spec: &BackendSpec, connections: Arc<ConnectionGauge>) -> BackendId {
        let origin = self.share_origin(spec, &connections);
        let entry = BackendEntry { origin, connect_timeout: spec.connect_timeout, connections, websockets: None };
        BackendId(self.backends.insert(entry))
    }

    /// Removes a backend. Its requests continue. Unless another backend shares the origin, connections close with their last
    /// request.
    pub fn remove_backend(&mut self, backend: BackendId) {
        let Some(BackendEntry { origin, websockets, connections, .. }) = self.backends.remove(backend.0) else {
            return;
        };
        for at in [Some(origin), websockets].into_iter().flatten() {
            self.leave_origin(at, &connections);
        }
    }

    fn leave_origin(&mut self, at: usize, connections: &Arc<ConnectionGauge>) {
        let Some(origin) = self.origins.get_mut(at) else { return };
        origin.backends -= 1;
        origin.gauge.remove(connections);
        let open: Vec<_> = origin.h2.iter().chain(&origin.h1).copied().collect();
        for key in open {
            self.on_streams_changed(key);
        }
        self.remove_if_unused(at);
    }

    /// Closes connections as soon as they are idle from now on. New requests are still accepted.
    pub fn drain(&mut self) {
        self.draining = true;
        for key in self.slots.keys() {
            self.on_streams_changed(key);
        }
    }
}
