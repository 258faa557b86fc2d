//! The part of the state of the process that only the control plane and the main thread use.

use super::{
    access::Access,
    history::{Records, ReloadRecord},
};
use spooky_control::History;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

#[derive(Default)]
pub(crate) struct AdminState {
    file: OnceLock<PathBuf>,
    access: Mutex<Access>,
    records: Mutex<Records>,
    /// Connections to the control API that were closed because there were too many.
    pub(crate) dropped_connections: Arc<AtomicU64>,
    is_probed: AtomicBool,
}

impl AdminState {
    /// Sets the path of the configuration file.
    pub(crate) fn set_file(&self, file: &Path) {
        let _already_set = self.file.set(file.to_owned());
    }

    pub(crate) fn file(&self) -> String {
        self.file.get().map(|file| file.display().to_string()).unwrap_or_default()
    }

    pub(crate) fn set_access(&self, access: Access) {
        let previous = std::mem::replace(&mut *lock(&self.access), access);
        drop(previous); // may free certificates, which is done without the lock
    }

    pub(super) fn access(&self) -> Access {
        lock(&self.access).clone()
    }

    pub(crate) fn record(&self, record: ReloadRecord) {
        lock(&self.records).add(record);
    }

    pub(super) fn history(&self) -> History {
        lock(&self.records).get()
    }

    /// Records that every backend with health checks has a first result.
    pub(crate) fn set_probed(&self) {
        self.is_probed.store(true, Relaxed);
    }

    pub(super) fn is_probed(&self) -> bool {
        self.is_probed.load(Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
