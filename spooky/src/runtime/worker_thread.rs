//! The life of one worker thread: its runtime, its worker, and another worker if that panics.

use crate::{
    control::{Control, Seen},
    exchange::{Clock, Exchanges},
    listener::Listener,
    snapshot::{WorkerSnapshot, transport_options},
    state::State,
    worker::{Worker, WorkerSetup},
};
use spooky_net::{inbox::Inboxes, sys::affinity, udp::UdpOptions};
use spooky_transport::Transport;
use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};
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
    /// Runs workers, one after another, until one has drained.
    pub(super) fn run(self) {
        self.pin();
        loop {
            // What a panic leaves behind is dropped with the worker; only counters and health are shared, and those are atomic.
            match catch_unwind(AssertUnwindSafe(|| self.run_once())) {
                Ok(Ok(())) => break,
                Ok(Err(error)) => break tracing::error!("worker-{} cannot run: {error}", self.number),
                Err(_) => tracing::error!("worker-{} is replaced after a panic; its connections are lost", self.number),
            }
        }
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

    fn run_once(&self) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        runtime.block_on(async {
            self.worker()?.run().await;
            Ok(())
        })
    }

    /// A worker on the configuration that is in effect.
    fn worker(&self) -> io::Result<Worker> {
        // A drain that was ordered before is seen by the worker's first turn.
        let setup = self.control.read(&mut Seen::default()).setup;
        let (config, now, number) = (&setup.snapshot.config, Instant::now(), usize::from(self.number));
        let mut transport = Transport::new(transport_options(config, self.seed), now);
        let snapshot = WorkerSnapshot::new(setup.snapshot.clone(), &mut transport, number);
        let exchanges = Exchanges::new(self.state.clone(), snapshot, Clock::new(self.seed), number, now);
        let options = UdpOptions {
            recv_buffer: config.performance.udp_recv_buffer_bytes as usize,
            send_buffer: config.performance.udp_send_buffer_bytes as usize,
            reuseport: false, // it is bound already
        };
        let listeners = setup.ingress.iter().map(|ingress| Listener::new(ingress, &options));
        let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
        Worker::new(listeners, transport, exchanges, self.control.clone(), self.inboxes.clone(), number)
    }
}
