//! Which backends there are, and the drain of all of them.

use super::{Target, Transport};
use crate::{handle::BackendId, options::BackendSpec, origin::Origin};

impl Transport {
    /// Adds a backend. Nothing is connected before the first request.
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
        BackendId(self.targets.insert(Target { origin, connect_timeout: spec.connect_timeout }))
    }

    /// Removes a backend. Its running and waiting requests go on; the last of them closes the connections, unless another
    /// backend shares the origin.
    pub fn remove_backend(&mut self, backend: BackendId) {
        let Some(Target { origin: at, .. }) = self.targets.remove(backend.0) else { return };
        if let Some(origin) = self.origins.get_mut(at) {
            origin.backends -= 1;
            for key in origin.open.clone() {
                self.on_streams_changed(key);
            }
            self.forget_unused(at);
        }
    }

    /// From now on connections are closed as soon as they are idle. Requests are still taken.
    pub fn drain(&mut self) {
        self.draining = true;
        for key in self.slots.keys() {
            self.on_streams_changed(key);
        }
    }
}
