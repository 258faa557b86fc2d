//! The number of reloads of the process, by result.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// How a reload has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReloadResult {
    Ok,
    /// The configuration has errors or needs a restart.
    Rejected,
    /// A file could not be loaded, or a socket not bound.
    Failed,
}

#[derive(Debug, Default)]
pub(crate) struct ReloadCounts([AtomicU64; 3]);

impl ReloadCounts {
    pub(crate) fn count(&self, result: ReloadResult) {
        let [ok, rejected, failed] = &self.0;
        let count = match result {
            ReloadResult::Ok => ok,
            ReloadResult::Rejected => rejected,
            ReloadResult::Failed => failed,
        };
        count.fetch_add(1, Relaxed);
    }
}

impl ReloadCounts {
    /// Returns the number of each result with its name.
    pub(crate) fn by_result(&self) -> [(&'static str, u64); 3] {
        let [ok, rejected, failed] = self.0.each_ref().map(|count| count.load(Relaxed));
        [("ok", ok), ("rejected", rejected), ("failed", failed)]
    }
}

impl fmt::Display for ReloadCounts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ok, rejected, failed] = self.0.each_ref().map(|count| count.load(Relaxed));
        write!(out, "ok={ok} rejected={rejected} failed={failed}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_has_its_count() {
        let counts = ReloadCounts::default();
        for result in [ReloadResult::Failed, ReloadResult::Ok, ReloadResult::Failed, ReloadResult::Rejected] {
            counts.count(result);
        }
        counts.count(ReloadResult::Failed);
        assert_eq!(counts.to_string(), "ok=1 rejected=1 failed=3");
    }
}
