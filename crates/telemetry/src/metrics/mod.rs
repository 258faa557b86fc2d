//! Metrics: counts of the workers, their definitions, and pages of them for Prometheus.

mod clients;
mod counter;
mod definitions;
mod histogram;
mod method;
mod native;
mod page;
mod protobuf;
mod reference;
mod registry;
mod sample;
mod series;
mod sparse;
mod text;
mod upstreams;

pub use clients::{
    ALPN_PROTOCOLS, ClientCounts, Dropped, IngressSeries, ListenerSeries, OpenConnection, TLS_FAILURES, TlsFailure,
};
pub use counter::{Counter, SharedCounter};
pub use definitions::{Definition, Family, Kind, OldName};
pub use histogram::{BOUNDS, Distribution, Histogram};
pub use page::{Names, Page};
pub use reference::reference;
pub use registry::{BackendCounts, ConfigSeries, Metrics, RouteCounts};
pub use sample::Syntax;
pub use series::{
    BackendSeries, CODES, DENIAL_REASONS, Direction, FAILURES, HedgeCounts, PASSIVE_REASONS, PROBE_FAILURES,
    RESET_CODES, RETRY_REASONS, ResetCounts, RouteSeries, Side, WorkerSeries,
};
pub use sparse::SparseCounts;
pub use upstreams::{
    BACKEND_PROTOCOLS, CONNECTION_STATES, ConnectionGauge, ConnectionNumbers, OriginGauge, TransportSeries,
};
