//! The life of one worker thread: its runtime, its worker, and another worker when that one panics or cannot start.

use crate::{
    control::{Control, Seen},
    restart::{End, RestartBackoff, supervise},
    state::State,
    worker::{Worker, WorkerSetup},
};
use spooky_net::{inbox::Inboxes, sys::affinity};
use std::{io, sync::Arc, time::Duration};
use tokio::runtime::Builder;

/// What a worker thread is given at its start.
pub(super) struct WorkerThread {
    pub(super) state: Arc<State>,
    pub(super) control: Arc<Control<Arc<WorkerSetup>>>,
    pub(super) inboxes: Arc<Inboxes>,
    pub(super) number: u16,
    pub(super) seed: u64,
}

impl WorkerThread {
    /// Runs workers, one after another, until one has drained or a drain is ordered while none runs. What a panic leaves
    /// behind is dropped with its worker; only counters and health are shared, and those are atomic.
    pub(super) fn run(self) {
        self.pin();
        let report = |end, pause: Duration| {
            let (number, running, pause) = (self.number, &self.state.running_workers, pause.as_millis());
            match end {
                End::Error(error) => tracing::error!(
                    "worker-{number} failed to start: {error}; {running}, not ready; restarting in {pause} ms"
                ),
                End::Panic => tracing::error!(
                    "worker-{number} panicked, its connections are lost; {running}, not ready; restarting in {pause} ms"
                ),
            }
        };
        supervise(&self.control, RestartBackoff::new(), |is_restart| self.run_once(is_restart), report);
        self.inboxes.close(usize::from(self.number));
    }

    fn pin(&self) {
        if !self.control.read(&mut Seen::default()).setup.snapshot.config.performance.pin_workers {
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
            let worker =
                Worker::new(self.state.clone(), self.control.clone(), self.inboxes.clone(), number, self.seed)?;
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
