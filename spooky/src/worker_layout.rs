//! How many sockets a listener has, and how many workers use each of them.

use spooky_config::{Auto, Config};
use spooky_net::sys::affinity::available_parallelism;

/// The number of workers, by the sockets that they use. It does not change while the process runs, nor at an upgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorkerLayout {
    /// `performance.worker_threads`: the number of UDP sockets of each listener.
    pub(crate) threads: u16,
    /// `performance.packet_shards_per_worker`: the number of workers for each of these sockets.
    pub(crate) shards: u16,
}

/// What a message of an earlier version does not say.
impl Default for WorkerLayout {
    fn default() -> Self {
        Self { threads: 0, shards: 1 }
    }
}

impl WorkerLayout {
    /// Returns the layout of a configuration. After an upgrade it is that of the inherited sockets: those that no worker
    /// accepts from would lose connections.
    pub(crate) fn new(config: &Config, inherited: Option<Self>) -> Self {
        let performance = &config.performance;
        let count = |wanted: usize| u16::try_from(wanted).unwrap_or(u16::MAX);
        let threads = count(performance.worker_threads.unwrap_or(available_parallelism()));
        let wanted = Self { threads, shards: count(performance.packet_shards_per_worker) };
        let layout = inherited.unwrap_or(wanted);
        if layout.threads != threads && matches!(performance.worker_threads, Auto::Fixed(_)) {
            let kept = layout.threads;
            tracing::warn!(
                "performance.worker_threads={threads} needs a restart: an upgrade keeps the {kept} sockets of each listener"
            );
        }
        if layout.shards != wanted.shards {
            let (wanted, kept) = (wanted.shards, layout.shards);
            tracing::warn!(
                "performance.packet_shards_per_worker={wanted} needs a restart: an upgrade keeps {kept} for each socket"
            );
        }
        layout
    }

    /// Returns the number of workers.
    pub(crate) fn workers(self) -> u16 {
        self.threads.saturating_mul(self.shards)
    }
}
