//! State that survives reloads: time zero, limits with their counts, TLS sessions.
//!
//! A [`Snapshot`](crate::snapshot::Snapshot) is one configuration; all snapshots share the `State`. A reload changes limits in
//! place, so that requests in flight stay counted. State of upstreams and backends is carried from one snapshot to the next
//! by name.

use crate::{
    admin::AdminState,
    current_snapshot::CurrentSnapshot,
    lifecycle::Lifecycle,
    listener_views::ListenerViews,
    reload_counts::ReloadCounts,
    restart::WorkerCount,
    samples::{Samples, sample_every},
    start_error::StartError,
    upgrade::previous::PreviousSockets,
    watchdog::{REASON_VARIABLE, WatchdogState},
    worker_cpu::WorkerCpu,
};
use spooky_edge::{QuicKeys, ResponseBudget};
use spooky_lb::{
    admit::{AddressValidation, BodyBudget, ConnectionLimits, GlobalLimitOptions, GlobalLimits, RateOptions},
    attempt::{Budget, BudgetOptions},
};
use spooky_net::{inbox::Inboxes, steer::ProcessNumber, tls::server::Resumption};
use spooky_telemetry::{QlogFiles, metrics::Metrics, trace::SpanQueues};
use spooky_transport::NameTable;
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, Instant},
};

/// The state of the process.
pub(crate) struct State {
    /// Time zero of [`Nanos`](spooky_lb::time::Nanos), the same for all workers and snapshots.
    pub(crate) epoch: Instant,
    pub(crate) workers: u16,
    /// The configuration in effect.
    pub(crate) current: CurrentSnapshot,
    /// Whether the process starts, serves or stops.
    pub(crate) lifecycle: Lifecycle,
    /// The process is ready for traffic while all workers are running.
    pub(crate) running_workers: WorkerCount,
    /// Requests in flight and in queues.
    pub(crate) global_limits: Arc<GlobalLimits>,
    /// Request-body bytes that are buffered.
    pub(crate) bodies: Arc<BodyBudget>,
    /// Response bytes that are unacknowledged or wait to be sent.
    pub(crate) responses: Arc<ResponseBudget>,
    pub(crate) connections: Arc<ConnectionLimits>,
    /// The retry budget of the process.
    pub(crate) retries: Arc<Budget>,
    /// TLS sessions, which clients can resume on any worker and listener.
    pub(crate) resumption: Resumption,
    /// Keys of stateless resets and address tokens. They do not change when certificates are reloaded.
    pub(crate) quic_keys: QuicKeys,
    /// Addresses of the names of backends.
    pub(crate) names: Arc<NameTable>,
    /// The counts of workers.
    pub(crate) metrics: Arc<Metrics>,
    /// Sampled requests on their way to the exporter; without a queue if tracing is disabled.
    pub(crate) spans: Arc<SpanQueues>,
    pub(crate) admin: AdminState,
    /// Files for the events of QUIC connections. Empty unless `log.qlog_dir` is set.
    pub(crate) qlog: OnceLock<QlogFiles>,
    pub(crate) upgrade: UpgradeState,
    /// The listeners in effect.
    pub(crate) listeners: ListenerViews,
    /// The inboxes of the workers, once these have started.
    pub(crate) inboxes: OnceLock<Arc<Inboxes>>,
    pub(crate) worker_cpu: WorkerCpu,
    /// Lines that the log has dropped, once it has started.
    pub(crate) log_dropped: OnceLock<Arc<AtomicU64>>,
    pub(crate) samples: Samples,
    /// `SPOOKY_ROUTE_LATENCY_SAMPLE_EVERY`.
    pub(crate) latency_sample_every: u64,
    pub(crate) config_reloads: ReloadCounts,
    /// Reloads of the certificates alone.
    pub(crate) certificate_reloads: ReloadCounts,
    pub(crate) watchdog: WatchdogState,
}

/// The place of this process among those that share its sockets after upgrades.
#[derive(Debug, Default)]
pub(crate) struct UpgradeState {
    /// The number in its connection ids.
    pub(crate) process: ProcessNumber,
    /// The processes that it has replaced.
    pub(crate) previous: Vec<PreviousSockets>,
    /// Set when this process is told to stop: a new one that is not ready yet must not replace it.
    pub(crate) is_cancelled: AtomicBool,
}

/// The limits that a configuration sets for the process.
pub(crate) struct ProcessLimits {
    pub(crate) global_limits: GlobalLimitOptions,
    /// `request_buffer_global_cap_bytes`.
    pub(crate) body_bytes: u64,
    /// `response_buffer_global_cap_bytes`.
    pub(crate) response_bytes: u64,
    /// `max_active_connections`.
    pub(crate) connections: u32,
    /// `max_connections_per_ip`.
    pub(crate) connections_per_ip: u32,
    pub(crate) connection_rate: RateOptions,
    /// `quic_retry` and `quic_retry_handshakes`.
    pub(crate) address_validation: AddressValidation,
    pub(crate) retries: BudgetOptions,
    /// Longest time between two lookups of a backend's name: `backend_dns_refresh_interval_ms`; `None` if that is disabled.
    pub(crate) name_refresh: Option<Duration>,
    /// Whether tracing is enabled. Never changes.
    pub(crate) is_tracing: bool,
}

impl State {
    pub(crate) fn new(
        workers: u16,
        limits: &ProcessLimits,
        quic_keys: QuicKeys,
        upgrade: UpgradeState,
    ) -> Result<Arc<Self>, StartError> {
        let epoch = Instant::now();
        let is_restarted = std::env::var_os(REASON_VARIABLE).is_some();
        let state = Self {
            epoch,
            workers,
            current: CurrentSnapshot::default(),
            lifecycle: Lifecycle::default(),
            running_workers: WorkerCount::new(usize::from(workers)),
            global_limits: GlobalLimits::new(usize::from(workers), &limits.global_limits),
            bodies: Arc::new(BodyBudget::new(limits.body_bytes)),
            responses: Arc::new(ResponseBudget::new(limits.response_bytes)),
            connections: Arc::new(ConnectionLimits::default()),
            retries: Arc::new(Budget::new(usize::from(workers), &limits.retries)),
            resumption: Resumption::new().map_err(|error| StartError(error.to_string()))?,
            quic_keys,
            names: Arc::default(),
            qlog: OnceLock::new(),
            metrics: Arc::new(Metrics::new(usize::from(workers))),
            spans: Arc::new(SpanQueues::new(if limits.is_tracing { workers } else { 0 })),
            admin: AdminState::default(),
            upgrade,
            listeners: ListenerViews::default(),
            inboxes: OnceLock::new(),
            log_dropped: OnceLock::new(),
            worker_cpu: WorkerCpu::new(usize::from(workers)),
            samples: Samples::default(),
            latency_sample_every: sample_every(std::env::var("SPOOKY_ROUTE_LATENCY_SAMPLE_EVERY").ok().as_deref()),
            config_reloads: ReloadCounts::default(),
            certificate_reloads: ReloadCounts::default(),
            watchdog: WatchdogState::new(workers, is_restarted.then_some(epoch)),
        };
        state.configure(limits);
        Ok(Arc::new(state))
    }

    /// Changes the limits. Requests and connections above a lowered limit finish.
    pub(crate) fn configure(&self, limits: &ProcessLimits) {
        self.global_limits.configure(&limits.global_limits);
        self.bodies.set_cap(limits.body_bytes);
        self.responses.set_cap(limits.response_bytes);
        let (total, per_ip, rate) = (limits.connections, limits.connections_per_ip, limits.connection_rate);
        self.connections.configure(total, per_ip, rate, limits.address_validation);
        self.retries.configure(&limits.retries);
        self.names.configure(limits.name_refresh);
    }
}
