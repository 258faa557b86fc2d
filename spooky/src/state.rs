//! What lives as long as the process, whatever is reloaded: time zero, limits with their counts, TLS sessions.
//!
//! A [`Snapshot`](crate::snapshot::Snapshot) is one configuration; `State` is what all of them share. Limits change in place
//! when a configuration takes effect, so that what is in flight stays counted. The state of single upstreams and backends
//! is carried from one snapshot to the next by name.

use crate::{restart::WorkerCount, start_error::StartError};
use spooky_edge::{QuicKeys, ResponseBudget};
use spooky_lb::{
    admit::{AddressValidation, BodyBudget, ConnectionLimits, GlobalLimitOptions, GlobalLimits, RateOptions},
    attempt::{Budget, BudgetOptions},
};
use spooky_net::tls::server::Resumption;
use std::{sync::Arc, time::Instant};

/// The state of the process.
pub(crate) struct State {
    /// Zero of the time that decisions count, the same for all workers and snapshots.
    pub(crate) epoch: Instant,
    /// Number of workers.
    pub(crate) workers: u16,
    /// The workers that run at the moment. The process is ready for traffic while none is missing.
    pub(crate) running_workers: WorkerCount,
    /// Requests in flight and in queues.
    pub(crate) global_limits: Arc<GlobalLimits>,
    /// Request-body bytes that no backend has taken.
    pub(crate) bodies: Arc<BodyBudget>,
    /// Response bytes that clients have not acknowledged, and those that wait before them.
    pub(crate) responses: Arc<ResponseBudget>,
    /// Client connections.
    pub(crate) connections: Arc<ConnectionLimits>,
    /// The retry budget of the process.
    pub(crate) retries: Arc<Budget>,
    /// TLS sessions that clients may resume, on any worker and listener.
    pub(crate) resumption: Resumption,
    /// Keys of stateless resets and of address tokens. They stay when certificates are reloaded.
    pub(crate) quic_keys: QuicKeys,
}

/// The limits of the process that a configuration sets.
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
}

impl State {
    /// The state of a process with this many workers.
    pub(crate) fn new(workers: u16, limits: &ProcessLimits, quic_keys: QuicKeys) -> Result<Arc<Self>, StartError> {
        let state = Self {
            epoch: Instant::now(),
            workers,
            running_workers: WorkerCount::new(usize::from(workers)),
            global_limits: GlobalLimits::new(usize::from(workers), &limits.global_limits),
            bodies: Arc::new(BodyBudget::new(limits.body_bytes)),
            responses: Arc::new(ResponseBudget::new(limits.response_bytes)),
            connections: Arc::new(ConnectionLimits::default()),
            retries: Arc::new(Budget::new(usize::from(workers), &limits.retries)),
            resumption: Resumption::new().map_err(|error| StartError(error.to_string()))?,
            quic_keys,
        };
        state.configure(limits);
        Ok(Arc::new(state))
    }

    /// Takes over new limits. What is above a smaller limit finishes.
    pub(crate) fn configure(&self, limits: &ProcessLimits) {
        self.global_limits.configure(&limits.global_limits);
        self.bodies.set_cap(limits.body_bytes);
        self.responses.set_cap(limits.response_bytes);
        let (total, per_ip, rate) = (limits.connections, limits.connections_per_ip, limits.connection_rate);
        self.connections.configure(total, per_ip, rate, limits.address_validation);
        self.retries.configure(&limits.retries);
    }
}
