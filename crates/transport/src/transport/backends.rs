//! Adding and removing backends, and draining.

use super::{BackendEntry, Transport};
use crate::{handle::BackendId, options::BackendSpec, origin::Origin};

impl Transport {
    /// Adds a backend. It is connected with the first request.
    pub fn add_backend(&mut self, spec: &BackendSpec) -> BackendId {
        let name = (spec.host.to_ascii_lowercase(), spec.port);
        let same_name = self.names.entry(name).or_default();
        let origins = &mut self.origins;
        let shared = same_name.iter().copied().find(|at| origins.get(*at).is_some_and(|origin| origin.is(spec)));
        let origin = if let Some(at) = shared {
            if let Some(origin) = origins.get_mut(at) {
                origin.backends += 1;
            }
            at
        } else {
            let at = origins.insert(Origin::new(spec));
            same_name.push(at);
            at
        };
        BackendId(self.backends.insert(BackendEntry { origin, connect_timeout: spec.connect_timeout }))
    }

    /// Removes a backend. Its requests continue. Unless another backend shares the origin, connections close with their last
    /// request.
    pub fn remove_backend(&mut self, backend: BackendId) {
        let Some(BackendEntry { origin: at, .. }) = self.backends.remove(backend.0) else { return };
        if let Some(origin) = self.origins.get_mut(at) {
            origin.backends -= 1;
            let open: Vec<_> = origin.h2.iter().chain(&origin.h1).copied().collect();
            for key in open {
                self.on_streams_changed(key);
            }
            self.remove_if_unused(at);
        }
    }

    /// Closes connections as soon as they are idle from now on. New requests are still accepted.
    pub fn drain(&mut self) {
        self.draining = true;
        for key in self.slots.keys() {
            self.on_streams_changed(key);
        }
    }
}
