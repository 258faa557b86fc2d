//! Counts of lookups, for the metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

/// Counts of lookups. Written by the resolver.
#[derive(Debug, Default)]
pub struct NameCounts {
    succeeded: AtomicU64,
    failed: AtomicU64,
    changed: AtomicU64,
    /// In milliseconds since 1970.
    last_success: AtomicU64,
}

impl NameCounts {
    /// Lookups that succeeded.
    pub fn succeeded(&self) -> u64 {
        self.succeeded.load(Relaxed)
    }

    /// Lookups that failed.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    /// Lookups that returned other addresses than before.
    pub fn changed(&self) -> u64 {
        self.changed.load(Relaxed)
    }

    /// Returns the time from 1970 to the last lookup that succeeded; 0 if none has.
    pub fn last_success(&self) -> Duration {
        Duration::from_millis(self.last_success.load(Relaxed))
    }

    pub(super) fn on_lookup(&self, is_success: bool, now: SystemTime) {
        if !is_success {
            self.failed.fetch_add(1, Relaxed);
            return;
        }
        self.succeeded.fetch_add(1, Relaxed);
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.last_success.store(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(super) fn on_change(&self, has_changed: bool) {
        self.changed.fetch_add(u64::from(has_changed), Relaxed);
    }
}
