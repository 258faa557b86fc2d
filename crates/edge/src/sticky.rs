//! The backends that one connection keeps, for the algorithm sticky-cid.

/// Upstreams for which one connection remembers a backend; further ones are not remembered.
const MAX_STICKY_BACKENDS: usize = 64;

/// Backends by upstream; empty for most connections.
#[derive(Debug, Default)]
pub(crate) struct StickyBackends(Vec<(u64, u64)>);

impl StickyBackends {
    pub(crate) fn get(&self, upstream: u64) -> Option<u64> {
        self.0.iter().find(|entry| entry.0 == upstream).map(|entry| entry.1)
    }

    /// Sets the backend of an upstream. Does nothing if there are too many upstreams.
    pub(crate) fn set(&mut self, upstream: u64, backend: u64) {
        if let Some(entry) = self.0.iter_mut().find(|entry| entry.0 == upstream) {
            entry.1 = backend;
        } else if self.0.len() < MAX_STICKY_BACKENDS {
            self.0.push((upstream, backend));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_backend_of_each_upstream_is_kept_up_to_a_limit() {
        let mut sticky = StickyBackends::default();
        for upstream in 0..100 {
            sticky.set(upstream, 1);
        }
        sticky.set(3, 7);
        assert_eq!([3, 4, 63, 64].map(|upstream| sticky.get(upstream)), [Some(7), Some(1), Some(1), None]);
    }
}
