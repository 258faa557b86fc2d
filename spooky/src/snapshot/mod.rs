//! A configuration compiled for the data plane: immutable, shared by the workers, replaced as a whole by a reload.
//!
//! [`WorkerSnapshot`] is one worker's view of it. A request keeps the snapshot with which it started.

mod compile;
mod key;
mod lb_options;
mod listener_tls;
mod tcp_settings;
mod worker;

pub(crate) use compile::{compile, edge_settings, has_same_upstream_files, transport_options};
pub(crate) use key::KeySource;
pub(crate) use lb_options::{probe_options, process_limits};
pub(crate) use listener_tls::{changed_quic_secret, listener_tls, quic_keys};
pub(crate) use tcp_settings::tcp_settings;
pub(crate) use worker::{WorkerSnapshot, log_transition};

use rustls::ClientConfig;
use spooky_bridge::message::forwarded::ForwardedMode;
use spooky_config::Config;
use spooky_lb::{
    admit::{Policy, RouteLimitOptions, RouteLimits},
    attempt::{Budget, BudgetOptions, DeadlineOptions},
    pool::Pool,
    route::Table,
    upstream::UpstreamOptions,
};
use spooky_telemetry::metrics::{ConfigSeries, Metrics};
use spooky_transport::{BackendSpec, Scheme};
use std::{sync::Arc, time::SystemTime};

/// Limits that are the same for every upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// `max_request_body_bytes`.
    pub(crate) max_request_body: u64,
    /// `max_response_body_bytes`; `None` is unlimited.
    pub(crate) max_response_body: Option<u64>,
}

/// How `:authority` of a request is rewritten.
pub(crate) enum HostPolicy {
    PassThrough,
    Rewrite(Vec<u8>),
    /// The authority of each backend, by its index.
    Upstream(Vec<Vec<u8>>),
}

/// The TLS context for connections to an upstream's backends.
#[derive(Clone)]
pub(crate) struct ClientTls {
    context: Arc<ClientConfig>,
    /// Hash of the options and files from which the context was built.
    fingerprint: u64,
}

pub(crate) struct CompiledUpstream {
    /// The timeouts that the exchange checks.
    pub(crate) deadline_options: DeadlineOptions,
    pub(crate) forwarded: ForwardedMode,
    pub(crate) host: HostPolicy,
    /// In the order of the file.
    pub(crate) backends: Vec<BackendSpec>,
    tls: Option<ClientTls>,
    /// The state of the same backends, shared by the workers.
    pub(crate) pool: Arc<Pool>,
    pub(crate) options: UpstreamOptions,
    /// Its requests in flight and in the queue, over all workers; carried over from the previous snapshot.
    pub(crate) route_limits: Arc<RouteLimits>,
    /// What `route_limits` is limited to once this snapshot is in effect.
    pub(crate) route_limit_options: RouteLimitOptions,
    /// The limits of `budget`, applied when this snapshot takes effect.
    pub(crate) budget_options: BudgetOptions,
    /// The retry budgets of the upstream and of the process; `None` if only `max_retries` limits retries.
    pub(crate) budgets: Option<[Arc<Budget>; 2]>,
    /// The upstream's retry budget, even if it is not in use; carried over from the previous snapshot.
    pub(crate) budget: Arc<Budget>,
    pub(crate) key: KeySource,
    /// Set for the algorithm sticky-cid (docs/reference/behaviour.md#load-balancing).
    pub(crate) sticky: Option<Sticky>,
}

/// Identifies an upstream and its backends in the sticky entries of client connections. Hashes of names, so that entries
/// stay valid after a reload.
pub(crate) struct Sticky {
    pub(crate) name: u64,
    /// By index of the backend.
    pub(crate) backends: Vec<u64>,
}

impl CompiledUpstream {
    /// Returns `:scheme` for a backend. If the scheme is detected, the transport corrects it.
    pub(crate) fn scheme(&self, backend: usize) -> &'static str {
        match self.backends.get(backend).map(|spec| &spec.scheme) {
            Some(Scheme::Https { .. } | Scheme::Detect { .. }) => "https",
            Some(Scheme::Http) | None => "http",
        }
    }

    /// Returns `:authority` for a backend; `None` keeps the client's.
    pub(crate) fn authority(&self, backend: usize) -> Option<&[u8]> {
        match &self.host {
            HostPolicy::PassThrough => None,
            HostPolicy::Rewrite(host) => Some(host),
            HostPolicy::Upstream(hosts) => hosts.get(backend).map(Vec::as_slice),
        }
    }
}

pub(crate) struct Snapshot {
    /// Number of this configuration, from 1; logged by reloads.
    pub(crate) generation: u64,
    pub(crate) routes: Table,
    pub(crate) upstreams: Vec<CompiledUpstream>,
    pub(crate) limits: Limits,
    pub(crate) timeout_status: u16,
    pub(crate) retry_after_seconds: u32,
    pub(crate) policy: Policy,
    pub(crate) config: Config,
    /// The counts of the process.
    pub(crate) metrics: Arc<Metrics>,
    /// The counts of its routes and backends.
    pub(crate) series: Arc<ConfigSeries>,
    /// When it was compiled.
    pub(crate) loaded_at: SystemTime,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        tracing::debug!("Configuration freed (generation={})", self.generation);
    }
}

impl Snapshot {
    fn upstream(&self, name: &str) -> Option<&CompiledUpstream> {
        let at = self.config.upstreams.iter().position(|upstream| upstream.name == name)?;
        self.upstreams.get(at)
    }

    /// Applies the limits of the upstreams to their shared state.
    pub(crate) fn configure_upstreams(&self) {
        for upstream in &self.upstreams {
            upstream.route_limits.configure(&upstream.route_limit_options);
            upstream.budget.configure(&upstream.budget_options);
        }
    }
}
