//! One configuration compiled for the data plane: immutable, shared by the workers, replaced as a whole by a reload.
//!
//! `compile` and `decide` make it; [`WorkerSnapshot`] is what one worker adds to it. A request keeps the snapshot that it
//! began with.

mod compile;
mod decide;
mod key;
mod worker;

pub(crate) use compile::{compile, edge_settings, quic_keys, transport_options};
pub(crate) use decide::{probe_options, process_limits};
pub(crate) use key::KeySource;
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
use spooky_transport::{BackendSpec, Scheme};
use std::sync::Arc;

/// Limits of the data plane that hold for every upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// `max_request_body_bytes`.
    pub(crate) max_request_body: u64,
    /// `max_response_body_bytes`; none = unlimited.
    pub(crate) max_response_body: Option<u64>,
}

/// What becomes of `:authority`.
pub(crate) enum Host {
    /// It stays the client's.
    PassThrough,
    /// It is always this.
    Rewrite(Vec<u8>),
    /// It is the backend's own, in the order of the backends.
    Upstream(Vec<Vec<u8>>),
}

/// The TLS context for connections to an upstream's backends.
#[derive(Clone)]
pub(crate) struct ClientTls {
    context: Arc<ClientConfig>,
    /// Of the options and files that it was made of.
    fingerprint: u64,
}

/// What the exchange needs to know of an upstream.
pub(crate) struct Upstream {
    /// The deadlines outside the attempts.
    pub(crate) deadline_options: DeadlineOptions,
    pub(crate) forwarded: ForwardedMode,
    pub(crate) host: Host,
    /// The backends, in the order of the file.
    pub(crate) backends: Vec<BackendSpec>,
    tls: Option<ClientTls>,
    /// The same backends for the decisions, shared by the workers.
    pub(crate) pool: Arc<Pool>,
    pub(crate) options: UpstreamOptions,
    /// Its requests in flight and in the queue, over all workers; carried over from the previous snapshot.
    pub(crate) route_limits: Arc<RouteLimits>,
    /// What `route_limits` is limited to once this snapshot is in effect.
    pub(crate) route_limit_options: RouteLimitOptions,
    /// What the upstream's retry budget allows once this snapshot is in effect.
    pub(crate) budget_options: BudgetOptions,
    /// The retry budgets of the upstream and of the process; `None` where only `max_retries` bounds retries.
    pub(crate) budgets: Option<[Arc<Budget>; 2]>,
    /// The upstream's retry budget, whether or not it bounds anything; carried over from the previous snapshot.
    pub(crate) budget: Arc<Budget>,
    /// What the algorithm hashes.
    pub(crate) key: KeySource,
    /// How client connections keep their backend with sticky-cid, else `None` (docs/reference/behaviour.md#load-balancing).
    pub(crate) sticky: Option<Sticky>,
}

/// The names under which a client connection keeps its backend: hashes, so that they outlive a reload.
pub(crate) struct Sticky {
    /// Of the upstream.
    pub(crate) name: u64,
    /// Of the backends, in their order.
    pub(crate) backends: Vec<u64>,
}

impl Upstream {
    /// The scheme that is spoken to a backend. Where that is found out when connecting, the transport corrects it.
    pub(crate) fn scheme(&self, backend: usize) -> &'static [u8] {
        match self.backends.get(backend).map(|spec| &spec.scheme) {
            Some(Scheme::Https { .. } | Scheme::Detect { .. }) => b"https",
            Some(Scheme::Http) | None => b"http",
        }
    }

    /// The authority that is sent to a backend; `None` leaves the client's.
    pub(crate) fn authority(&self, backend: usize) -> Option<&[u8]> {
        match &self.host {
            Host::PassThrough => None,
            Host::Rewrite(host) => Some(host),
            Host::Upstream(hosts) => hosts.get(backend).map(Vec::as_slice),
        }
    }
}

/// The snapshot.
pub(crate) struct Snapshot {
    /// Counts the configurations of the process, from 1.
    pub(crate) generation: u64,
    pub(crate) routes: Table,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) limits: Limits,
    pub(crate) timeout_status: u16,
    pub(crate) retry_after_seconds: u32,
    /// What the operator forbids.
    pub(crate) policy: Policy,
    pub(crate) config: Config,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        tracing::debug!("Configuration freed (generation={})", self.generation);
    }
}

impl Snapshot {
    /// The upstream with this name.
    fn upstream(&self, name: &str) -> Option<&Upstream> {
        let at = self.config.upstreams.iter().position(|upstream| upstream.name == name)?;
        self.upstreams.get(at)
    }

    /// Puts the limits of its upstreams into effect.
    pub(crate) fn configure_upstreams(&self) {
        for upstream in &self.upstreams {
            upstream.route_limits.configure(&upstream.route_limit_options);
            upstream.budget.configure(&upstream.budget_options);
        }
    }
}
