//! The threads: one per worker, and the main thread that waits for signals.

use super::{bind::Bound, gate::ConnectionGate, privileges, worker_thread::WorkerThread};
use crate::{
    control::Control,
    listener::Ingress,
    probe,
    signals::Signals,
    snapshot::{Snapshot, edge_settings},
    start_error::StartError,
    state::State,
    worker::WorkerSetup,
};
use spooky_config::Config;
use spooky_edge::EdgeSettings;
use spooky_net::{
    inbox::{InboxLimits, Inboxes},
    steer::Sorter,
};
use spooky_telemetry::log::Guard;
use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    os::fd::AsFd,
    process::ExitCode,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::runtime::Runtime;

/// The running process.
pub(crate) struct Running {
    workers: Vec<Arc<Control<Arc<WorkerSetup>>>>,
    /// The health checker, if any backend is probed.
    prober: Option<Arc<Control<Arc<Snapshot>>>>,
    threads: Vec<JoinHandle<()>>,
    grace: Duration,
    /// Ends the log when all is over.
    log: Guard,
    /// Where the listeners are, in the order of the file.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Running {
    /// Opens the certificates of what is `bound`, then gives up root, then starts the threads.
    pub(super) fn new(
        bound: Bound,
        state: &Arc<State>,
        snapshot: &Arc<Snapshot>,
        log: Guard,
        drop: Option<privileges::Drop>,
    ) -> Result<Self, StartError> {
        let workers = state.workers;
        let mut running = Self {
            workers: Vec::new(),
            prober: None,
            log,
            threads: Vec::new(),
            grace: snapshot.config.performance.shutdown_drain_timeout_ms,
            addresses: bound.endpoints.iter().map(|endpoint| endpoint.address).collect(),
        };
        snapshot.configure_upstreams();
        let gate = Arc::new(ConnectionGate::new(state.clone()));
        let mut ingress: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for (endpoint, listener) in bound.endpoints.into_iter().zip(&snapshot.config.listeners) {
            let settings = edge_settings(
                &snapshot.config,
                listener,
                &state.resumption,
                endpoint.max_udp_payload,
                workers,
                gate.clone(),
            )?;
            let subject_header = listener.tls.client_auth.subject_header.as_deref().map(Arc::<str>::from);
            tracing::info!("Ingress: HTTP/3 (QUIC) on UDP {}", endpoint.address);
            for ((worker, of_worker), socket) in ingress.iter_mut().enumerate().zip(endpoint.sockets) {
                let worker = worker as u16;
                let settings = EdgeSettings { worker, ..settings.clone() };
                let sorter = Sorter::new(worker, workers, endpoint.is_steered);
                let socket = socket.as_fd().try_clone_to_owned();
                let socket = socket.map_err(|error| StartError(format!("Failed to keep a UDP socket: {error}")))?;
                let (port, subject_header) = (endpoint.address.port(), subject_header.clone());
                of_worker.push(Ingress { socket, settings, port, sorter, subject_header });
            }
        }
        describe(&snapshot.config, workers);
        if let Some(drop) = drop {
            drop.carry_out()?;
        }
        running.spawn(ingress, state, snapshot)?;
        running.probe(state, snapshot)?;
        Ok(running)
    }

    /// Starts a worker for each element of `ingress`.
    fn spawn(
        &mut self,
        ingress: Vec<Vec<Ingress>>,
        state: &Arc<State>,
        snapshot: &Arc<Snapshot>,
    ) -> Result<(), StartError> {
        let performance = &snapshot.config.performance;
        let limits = InboxLimits {
            datagrams: performance.packet_shard_queue_capacity,
            bytes: usize::try_from(performance.packet_shard_queue_max_bytes).unwrap_or(usize::MAX),
        };
        let inboxes = Arc::new(Inboxes::new(ingress.len() as u16, limits));
        for (number, ingress) in ingress.into_iter().enumerate() {
            let setup = Arc::new(WorkerSetup { snapshot: snapshot.clone(), ingress });
            let control = Arc::new(Control::new(setup));
            let worker = WorkerThread {
                state: state.clone(),
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

    /// Starts the probes, if any backend has them.
    fn probe(&mut self, state: &Arc<State>, snapshot: &Arc<Snapshot>) -> Result<(), StartError> {
        let backends = || snapshot.config.upstreams.iter().flat_map(|upstream| &upstream.backends);
        if backends().all(|backend| backend.health_check.is_none()) {
            return Ok(());
        }
        let (control, epoch) = (Arc::new(Control::new(snapshot.clone())), state.epoch);
        self.prober = Some(control.clone());
        let seed = RandomState::new().hash_one("probes");
        let thread = std::thread::Builder::new().name("probes".to_owned());
        let thread = thread.spawn(move || probe::watch_over(&control, epoch, seed));
        self.threads.push(thread.map_err(|error| StartError(format!("Failed to start the probes: {error}")))?);
        Ok(())
    }

    /// Waits for SIGTERM or SIGINT, then drains. A second signal ends the process at once.
    pub(super) fn wait(self, runtime: &Runtime, mut signals: Signals) -> ExitCode {
        runtime.block_on(async move {
            signals.next().await;
            let stopped = tokio::task::spawn_blocking(move || self.stop());
            tokio::select! {
                _ = stopped => ExitCode::SUCCESS,
                () = signals.next() => std::process::exit(1),
            }
        })
    }

    /// Drains all workers and waits for them.
    pub(crate) fn stop(self) {
        tracing::info!("Draining connections");
        self.workers.iter().for_each(|worker| worker.drain(self.grace));
        self.prober.iter().for_each(|prober| prober.drain(self.grace));
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
