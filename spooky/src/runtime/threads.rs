//! The threads of the process that serve: the workers and the health checker.

use super::{
    control_plane::Endpoints,
    ingress::{BoundListeners, Plan},
    privileges::Privileges,
    worker_thread::WorkerThread,
};
use crate::{
    admin::{Access, Cause, Command, ReloadKind, ReloadRecord, commands},
    control::Control,
    lifecycle::LifePhase,
    listener::Ingress,
    names, probe,
    reload_counts::ReloadResult,
    snapshot::Snapshot,
    start_error::StartError,
    state::State,
    upgrade::{
        child::{Channel, take_over},
        message::{PassedSockets, Restrictions, SocketRole},
    },
    watchdog::{self, WatchdogSetup},
    worker::WorkerSetup,
    worker_layout::WorkerLayout,
};
use spooky_config::{Config, without_userinfo};
use spooky_control::ControlPlane;
use spooky_net::{
    inbox::{InboxLimits, Inboxes},
    inherit::number,
};
use spooky_telemetry::{log::Log, trace::SpanExporter};
use std::{
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::mpsc::Receiver;

/// The running process.
pub(crate) struct Server {
    pub(super) state: Arc<State>,
    /// The current snapshot.
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) listeners: BoundListeners,
    pub(super) workers: Vec<Arc<Control<Arc<WorkerSetup>>>>,
    pub(super) prober: Arc<Control<Arc<Snapshot>>>,
    pub(super) watchdog: Arc<Control<Arc<Snapshot>>>,
    /// The configuration before the current one, if it was another.
    pub(super) previous: Option<Config>,
    /// Commands of the control API.
    pub(super) commands: Receiver<Command>,
    threads: Vec<JoinHandle<()>>,
    /// Answers until the process ends, or another one has taken over.
    control_plane: Option<ControlPlane>,
    /// The sockets of the control plane, for an upgrade.
    endpoint_sockets: Vec<Arc<OwnedFd>>,
    /// Stops after the other threads, which need it while they drain.
    resolver: Option<(Arc<Control<()>>, JoinHandle<()>)>,
    /// Stops last, when nothing makes spans any more.
    exporter: Option<SpanExporter>,
    pub(super) log: Log,
    /// What the process has given up.
    pub(super) restrictions: Restrictions,
    /// Another process has taken over.
    pub(super) is_handed_over: bool,
    /// That process has ended before it could serve.
    pub(super) is_successor_lost: bool,
}

impl Server {
    /// Drops root and starts the threads. `listeners` has no listener yet; those of `plan` are bound.
    pub(super) fn new(
        mut listeners: BoundListeners,
        plan: Plan,
        state: Arc<State>,
        snapshot: Arc<Snapshot>,
        log: Log,
        privileges: Privileges,
        channel: Option<Channel>,
    ) -> Result<Self, StartError> {
        let endpoints = Endpoints::bind(&snapshot.config, listeners.inherited())?;
        let endpoint_sockets = endpoints.sockets()?;
        snapshot.configure_upstreams();
        state.admin.set_access(Access::load(&snapshot.config, plan.certificates(), &state.resumption)?);
        state.current.set(snapshot.clone());
        let ready = listeners.ready();
        let _first = state.log_dropped.set(log.dropped());
        let ingress = listeners.accept(plan, &snapshot.config);
        log_settings(&snapshot.config, listeners.layout());
        endpoints.log(&snapshot.config);
        let restrictions = privileges.give_up(&snapshot.config)?;
        state.watchdog.configure(&snapshot.config.resilience.watchdog);
        let prober = Arc::new(Control::new(snapshot.clone()));
        let watchdog = Arc::new(Control::new(snapshot.clone()));
        let (workers, threads) = (Vec::new(), Vec::new());
        let exporter = start_exporter(&snapshot.config, &state)?;
        let (sender, commands) = commands();
        let mut server = Self {
            state,
            snapshot,
            listeners,
            workers,
            prober,
            watchdog,
            previous: None,
            commands,
            threads,
            control_plane: None,
            endpoint_sockets,
            resolver: None,
            exporter,
            log,
            restrictions,
            is_handed_over: false,
            is_successor_lost: false,
        };
        server.spawn_resolver()?;
        if let Some(channel) = channel {
            take_over(channel, &ready)?;
        }
        // Until here the process before this one has answered, which was ready.
        server.control_plane = endpoints.serve(&server.state, &server.snapshot.config, sender, server.log.level())?;
        server.spawn_workers(ingress)?;
        server.spawn_prober()?;
        server.spawn_watchdog()?;
        server.state.lifecycle.enter(LifePhase::Serving);
        server.record_start();
        Ok(server)
    }

    /// Returns the sockets of the control plane for the process that replaces this one.
    pub(super) fn passed_endpoints(&self) -> impl Iterator<Item = PassedSockets> {
        self.endpoint_sockets.iter().enumerate().map(|(listener, socket)| PassedSockets {
            listener,
            role: SocketRole::ControlPlane,
            is_steered: false,
            descriptors: vec![number(socket)],
        })
    }

    /// Leaves the sockets of the control plane to the process that replaces this one. Requests in progress are answered.
    pub(super) fn leave_control_plane(&mut self) {
        if let Some(plane) = &self.control_plane {
            plane.leave();
        }
        self.endpoint_sockets.clear();
    }

    /// Returns the bound addresses, in the order of the file.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.addresses()
    }

    fn record_start(&self) {
        self.state.admin.record(ReloadRecord {
            kind: ReloadKind::Config,
            cause: Cause::Start,
            result: ReloadResult::Ok,
            generation: self.snapshot.generation,
            changed: Vec::new(),
            error: None,
        });
    }

    fn spawn_workers(&mut self, ingress: Vec<Vec<Ingress>>) -> Result<(), StartError> {
        let performance = &self.snapshot.config.performance;
        let limits = InboxLimits {
            datagrams: performance.packet_shard_queue_capacity,
            bytes: usize::try_from(performance.packet_shard_queue_max_bytes).unwrap_or(usize::MAX),
        };
        let inboxes = Arc::new(Inboxes::new(self.state.workers, limits));
        let _first = self.state.inboxes.set(inboxes.clone());
        for (number, ingress) in ingress.into_iter().enumerate() {
            let setup = Arc::new(WorkerSetup { snapshot: self.snapshot.clone(), ingress, handover: None });
            let control = Arc::new(Control::new(setup));
            let worker = WorkerThread {
                state: self.state.clone(),
                control: control.clone(),
                inboxes: inboxes.clone(),
                access: self.log.access(),
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

    fn spawn_prober(&mut self) -> Result<(), StartError> {
        let (control, state) = (self.prober.clone(), self.state.clone());
        let seed = RandomState::new().hash_one("probes");
        let thread = std::thread::Builder::new().name("probes".to_owned());
        let thread = thread.spawn(move || probe::run(&control, &state, seed));
        self.threads.push(thread.map_err(|error| StartError(format!("Failed to start the health checker: {error}")))?);
        Ok(())
    }

    fn spawn_watchdog(&mut self) -> Result<(), StartError> {
        let (control, workers) = (self.watchdog.clone(), self.workers.clone());
        let setup = WatchdogSetup { state: self.state.clone(), workers };
        let thread = std::thread::Builder::new().name("watchdog".to_owned());
        let thread = thread.spawn(move || watchdog::run(&setup, &control));
        self.threads.push(thread.map_err(|error| StartError(format!("Failed to start the watchdog: {error}")))?);
        Ok(())
    }

    fn spawn_resolver(&mut self) -> Result<(), StartError> {
        let (control, names) = (Arc::new(Control::new(())), self.state.names.clone());
        let own = control.clone();
        let thread = std::thread::Builder::new().name("resolver".to_owned());
        let thread = thread.spawn(move || names::run(&own, &names));
        let thread = thread.map_err(|error| StartError(format!("Failed to start the resolver: {error}")))?;
        self.resolver = Some((control, thread));
        Ok(())
    }

    /// Drains all workers and waits for them.
    pub(crate) fn stop(mut self) {
        let grace = self.snapshot.config.performance.shutdown_drain_timeout_ms;
        self.start_drain(grace).join();
        drop(self.finish());
    }

    /// Tells all threads to end within `grace`, and returns them.
    pub(super) fn start_drain(&mut self, grace: Duration) -> Draining {
        self.state.lifecycle.enter(LifePhase::Draining);
        tracing::info!("Draining connections");
        // Commands that wait get no reply, which the control API reports.
        self.commands.close();
        while self.commands.try_recv().is_ok() {}
        self.watchdog.drain(grace);
        self.workers.iter().for_each(|worker| worker.drain(grace));
        self.prober.drain(grace);
        Draining { threads: std::mem::take(&mut self.threads), resolver: self.resolver.take(), grace }
    }

    /// Closes what is still open. Returns the log.
    pub(super) fn finish(self) -> Log {
        if let Some(plane) = self.control_plane {
            plane.finish();
        }
        if let Some(exporter) = self.exporter {
            exporter.stop();
        }
        let (config, certificates) = (&self.state.config_reloads, &self.state.certificate_reloads);
        tracing::info!("Reloads of the configuration: {config}; of certificates alone: {certificates}");
        self.state.lifecycle.enter(LifePhase::Stopped);
        tracing::info!("Spooky shutdown complete");
        self.log
    }
}

/// Threads that drain.
pub(super) struct Draining {
    threads: Vec<JoinHandle<()>>,
    resolver: Option<(Arc<Control<()>>, JoinHandle<()>)>,
    grace: Duration,
}

impl Draining {
    /// Waits for all of them.
    pub(super) fn join(self) {
        for thread in self.threads {
            let _panicked = thread.join(); // logged by the panic hook
        }
        if let Some((control, thread)) = self.resolver {
            control.drain(self.grace);
            let _panicked = thread.join();
        }
    }
}

fn start_exporter(config: &Config, state: &State) -> Result<Option<SpanExporter>, StartError> {
    let tracing = &config.observability.tracing;
    if !tracing.enabled {
        return Ok(None);
    }
    match SpanExporter::start(tracing, state.spans.clone(), state.epoch) {
        Ok(exporter) => Ok(Some(exporter)),
        Err(error) => Err(StartError(format!("Failed to start the export of traces: {error}"))),
    }
}

fn log_settings(config: &Config, WorkerLayout { threads, shards }: WorkerLayout) {
    let (performance, resilience) = (&config.performance, &config.resilience);
    tracing::info!(
        "Data-plane workers={threads} packet_shards_per_worker={shards} reuseport={} pin_workers={}",
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
    watchdog::log_settings(&resilience.watchdog);
    let tracing = &config.observability.tracing;
    if tracing.enabled {
        let (service_name, ratio) = (&tracing.service_name, tracing.sample_ratio);
        let endpoint = without_userinfo(&tracing.otlp_endpoint);
        tracing::info!(
            "OpenTelemetry tracing enabled (service_name={service_name}, endpoint={endpoint}, sample_ratio={ratio})"
        );
    }
}
