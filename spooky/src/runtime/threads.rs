//! The threads: one per worker, and the main thread that waits for signals.

use super::{
    ingress::{Listeners, Plan},
    privileges,
    read::read,
    worker_thread::WorkerThread,
};
use crate::{
    control::Control,
    listener::Ingress,
    probe,
    signals::{Action, Signals},
    snapshot::Snapshot,
    start_error::StartError,
    state::State,
    worker::WorkerSetup,
};
use spooky_config::Config;
use spooky_net::inbox::{InboxLimits, Inboxes};
use spooky_telemetry::log::Log;
use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread::JoinHandle,
};
use tokio::{runtime::Runtime, task::spawn_blocking};

/// The running process.
pub(crate) struct Running {
    pub(super) state: Arc<State>,
    /// The configuration in effect.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) listeners: Listeners,
    pub(super) workers: Vec<Arc<Control<Arc<WorkerSetup>>>>,
    pub(super) prober: Arc<Control<Arc<Snapshot>>>,
    threads: Vec<JoinHandle<()>>,
    /// Ends the log when all is over.
    pub(super) log: Log,
}

impl Running {
    /// Opens the certificates and gives up root, then starts the threads. `listeners` are bound, and nothing else yet.
    pub(super) fn new(
        mut listeners: Listeners,
        plan: Plan,
        state: Arc<State>,
        snapshot: Arc<Snapshot>,
        log: Log,
        drop: Option<privileges::Drop>,
    ) -> Result<Self, StartError> {
        snapshot.configure_upstreams();
        let ingress = listeners.accept(plan);
        describe(&snapshot.config, state.workers);
        if let Some(drop) = drop {
            drop.carry_out()?;
        }
        let prober = Arc::new(Control::new(snapshot.clone()));
        let (workers, threads) = (Vec::new(), Vec::new());
        let mut running = Self { state, snapshot, listeners, workers, prober, threads, log };
        running.spawn(ingress)?;
        running.probe()?;
        Ok(running)
    }

    /// Where the listeners are, in the order of the file.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    /// Starts a worker for each element of `ingress`.
    fn spawn(&mut self, ingress: Vec<Vec<Ingress>>) -> Result<(), StartError> {
        let performance = &self.snapshot.config.performance;
        let limits = InboxLimits {
            datagrams: performance.packet_shard_queue_capacity,
            bytes: usize::try_from(performance.packet_shard_queue_max_bytes).unwrap_or(usize::MAX),
        };
        let inboxes = Arc::new(Inboxes::new(self.state.workers, limits));
        for (number, ingress) in ingress.into_iter().enumerate() {
            let setup = Arc::new(WorkerSetup { snapshot: self.snapshot.clone(), ingress });
            let control = Arc::new(Control::new(setup));
            let worker = WorkerThread {
                state: self.state.clone(),
                control: control.clone(),
                inboxes: inboxes.clone(),
                number: number as u16,
                seed: RandomState::new().hash_one(number),
            };
            let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || worker.run());
            let thread = thread.map_err(|error| StartError(format!("Failed to start worker {number}: {error}")))?;
            self.threads.push(thread);
            self.workers.push(control);
        }
        Ok(())
    }

    /// Starts the health checker.
    fn probe(&mut self) -> Result<(), StartError> {
        let (control, epoch) = (self.prober.clone(), self.state.epoch);
        let seed = RandomState::new().hash_one("probes");
        let thread = std::thread::Builder::new().name("probes".to_owned());
        let thread = thread.spawn(move || probe::watch_over(&control, epoch, seed));
        self.threads.push(thread.map_err(|error| StartError(format!("Failed to start the health checker: {error}")))?);
        Ok(())
    }

    /// Reloads `file` on SIGHUP until SIGTERM or SIGINT, then drains. A second one of these ends the process at once.
    pub(super) fn wait(self, runtime: &Runtime, mut signals: Signals, file: &Path) -> ExitCode {
        let drained = runtime.block_on(async {
            let mut running = self;
            while signals.next().await == Action::Reload {
                let path = file.to_owned();
                // A pipe that nobody writes to, or a file server that hangs, does not keep the process from stopping.
                let read = tokio::select! {
                    read = spawn_blocking(move || read(&path)) => read,
                    () = signals.stop() => {
                        tracing::warn!("Configuration reload cancelled by shutdown: {} is still being read", file.display());
                        break;
                    }
                };
                let Ok(read) = read else { return None }; // a panic, reported by the panic hook
                let mut reloading = spawn_blocking(move || {
                    // Logged by itself; the process goes on either way.
                    let _ = running.reload(read);
                    running
                });
                let mut is_stopping = false;
                let back = loop {
                    tokio::select! {
                        back = &mut reloading => break back,
                        () = signals.stop() => {
                            if is_stopping {
                                return None;
                            }
                            is_stopping = true;
                            tracing::info!("Stopping when the reload is done; a second signal stops at once");
                        }
                    }
                };
                let Ok(back) = back else { return None }; // a panic, reported by the panic hook; its threads have been told to stop
                running = back;
                if is_stopping {
                    break;
                }
            }
            let stopped = spawn_blocking(move || running.stop());
            tokio::select! {
                _ = stopped => Some(()),
                () = signals.stop() => None,
            }
        });
        if drained.is_none() {
            std::process::exit(1);
        }
        ExitCode::SUCCESS
    }

    /// Drains all workers and waits for them.
    pub(crate) fn stop(self) {
        tracing::info!("Draining connections");
        let grace = self.snapshot.config.performance.shutdown_drain_timeout_ms;
        self.workers.iter().for_each(|worker| worker.drain(grace));
        self.prober.drain(grace);
        for thread in self.threads {
            let _panicked = thread.join(); // reported by the panic hook
        }
        tracing::info!("Spooky shutdown complete");
        drop(self.log);
    }
}

/// Logs what the configuration makes of the data plane.
fn describe(config: &Config, workers: u16) {
    let (performance, resilience) = (&config.performance, &config.resilience);
    tracing::info!(
        "Data-plane workers={workers} packet_shards_per_worker={} reuseport={} pin_workers={}",
        performance.packet_shards_per_worker,
        performance.reuseport,
        performance.pin_workers
    );
    tracing::info!(
        "Performance profile: global_inflight_limit={} per_upstream_inflight_limit={} per_backend_inflight_limit={} \
         max_active_connections={} max_connections_per_ip={} h2_connections_per_backend={} quic_max_idle_timeout_ms={} \
         adaptive_admission={} circuit_breaker={}",
        performance.global_inflight_limit,
        performance.per_upstream_inflight_limit,
        performance.per_backend_inflight_limit,
        performance.max_active_connections,
        performance.max_connections_per_ip,
        performance.h2_connections_per_backend,
        performance.quic_max_idle_timeout_ms.as_millis(),
        resilience.adaptive_admission.enabled,
        resilience.circuit_breaker.enabled
    );
    for listener in config.listeners.iter().filter(|listener| listener.tls.client_auth.enabled) {
        let required = listener.tls.client_auth.require_client_cert;
        tracing::info!("Downstream mTLS enabled (require_client_cert={required})");
    }
}
