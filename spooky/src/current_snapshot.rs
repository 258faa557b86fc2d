//! The snapshot that is in effect, for threads of the control plane. Workers get it through `Control`.

use crate::snapshot::Snapshot;
use std::sync::{Arc, Mutex, PoisonError};

/// Locked by the control plane and by reloads only, never by a worker.
#[derive(Default)]
pub(crate) struct CurrentSnapshot(Mutex<Option<Arc<Snapshot>>>);

impl CurrentSnapshot {
    /// Returns the snapshot in effect; `None` until the start has reached the point where it takes effect.
    pub(crate) fn get(&self) -> Option<Arc<Snapshot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, snapshot: Arc<Snapshot>) {
        let previous = self.0.lock().unwrap_or_else(PoisonError::into_inner).replace(snapshot);
        drop(previous); // may free a configuration, which is done without the lock
    }
}
