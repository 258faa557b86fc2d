//! One worker thread: runs a worker, and replaces it when it panics or cannot start.

use crate::{
    control::{Control, SeenVersion},
    restart::{RestartBackoff, RunFailure, supervise},
    state::State,
    worker::{Worker, WorkerSetup},
};
use spooky_net::{inbox::Inboxes, sys::affinity};
use spooky_telemetry::access::AccessOutput;
use std::{
    hash::{BuildHasher, RandomState},
    io,
    sync::Arc,
    time::Duration,
};
use tokio::runtime::Builder;

pub(super) struct WorkerThread {
    pub(super) state: Arc<State>,
    pub(super) control: Arc<Control<Arc<WorkerSetup>>>,
    pub(super) inboxes: Arc<Inboxes>,
    pub(super) access: Arc<AccessOutput>,
    pub(super) number: u16,
    pub(super) seed: u64,
}

impl WorkerThread {
    /// Runs workers until one has drained, or a drain starts while none is running. A panic leaves no broken state: it is
    /// dropped with the worker, and what workers share is atomic.
    pub(super) fn run(self) {
        self.pin();
        self.state.worker_cpu.register(usize::from(self.number));
        let report = |end, pause: Duration| {
            if let Some(restarts) = self.state.metrics.restarts.get(usize::from(self.number)) {
                restarts.increment();
            }
            let (number, running, pause) = (self.number, &self.state.running_workers, pause.as_millis());
            match end {
                RunFailure::Error(error) => tracing::error!(
                    "worker-{number} failed to start: {error}; {running}, not ready; restarting in {pause} ms"
                ),
                RunFailure::Panic => tracing::error!(
                    "worker-{number} panicked, its connections are lost; {running}, not ready; restarting in {pause} ms"
                ),
            }
        };
        supervise(&self.control, RestartBackoff::new(), |is_restart| self.run_once(is_restart), report);
        self.inboxes.close(usize::from(self.number));
        self.control.end();
    }

    fn pin(&self) {
        if !self.control.read(&mut SeenVersion::default()).setup.snapshot.config.performance.pin_workers {
            return;
        }
        let cores = affinity::allowed_cores();
        if let Some(core) = cores.get(usize::from(self.number) % cores.len().max(1))
            && let Err(error) = affinity::pin(*core)
        {
            tracing::warn!("worker-{} could not be pinned to core {core}: {error}", self.number);
        }
    }

    fn run_once(&self, is_restart: bool) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        runtime.block_on(async {
            let number = usize::from(self.number);
            // A worker that replaces another one must not create the same ids again.
            let seed = if is_restart { RandomState::new().hash_one(number) } else { self.seed };
            let (state, control, inboxes) = (self.state.clone(), self.control.clone(), self.inboxes.clone());
            let worker = Worker::new(state, control, inboxes, self.access.clone(), number, seed)?;
            let running = &self.state.running_workers;
            let _counted = running.enter();
            if is_restart {
                let ready = if running.is_complete() { "ready" } else { "not ready" };
                tracing::info!("worker-{} restarted; {running}, {ready}", self.number);
            }
            worker.run().await;
            Ok(())
        })
    }
}
