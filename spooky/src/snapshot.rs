//! One generation of the configuration, compiled for the data plane: immutable, shared by the workers, swapped on reload.

use spooky_bridge::message::forwarded::ForwardedMode;
use spooky_config::Config;
use spooky_lb::{pool::Pool, route::Table, upstream::UpstreamOptions};
use spooky_transport::{BackendSpec, Scheme};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// The deadlines that the exchange itself watches over (behaviour 6); those until the response head are `lb`'s.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Timeouts {
    /// From response head to first body byte.
    pub(crate) first_byte: Duration,
    /// Between body bytes.
    pub(crate) body_idle: Duration,
    /// Between bytes of the upload, while the backend would take them.
    pub(crate) client_body_idle: Duration,
}

/// Limits of the data plane that hold for every upstream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// `max_request_body_bytes`.
    pub(crate) max_request_body: u64,
    /// `max_response_body_bytes`.
    pub(crate) max_response_body: u64,
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

/// What the exchange needs to know of an upstream.
pub(crate) struct Upstream {
    pub(crate) timeouts: Timeouts,
    pub(crate) forwarded: ForwardedMode,
    pub(crate) host: Host,
    /// The backends, in the order of the file.
    pub(crate) backends: Vec<BackendSpec>,
    /// The same backends for the decisions, shared by the workers.
    pub(crate) pool: Arc<Pool>,
    pub(crate) options: UpstreamOptions,
}

impl Upstream {
    /// The scheme that is spoken to a backend.
    pub(crate) fn scheme(&self, backend: usize) -> &'static [u8] {
        match self.backends.get(backend).map(|spec| &spec.scheme) {
            Some(Scheme::Https { .. }) => b"https",
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
    pub(crate) routes: Table,
    pub(crate) upstreams: Vec<Upstream>,
    pub(crate) limits: Limits,
    pub(crate) timeout_status: u16,
    pub(crate) retry_after_seconds: u32,
    /// The value of `allow`.
    pub(crate) allowed_methods: String,
    /// The zero of the decisions' time, the same in all workers.
    pub(crate) epoch: Instant,
    pub(crate) config: Config,
}
