//! The configuration file of Spooky: YAML to typed values, with every problem located.
//!
//! [`load`] reads a file and [`parse`] a text; both give a [`Config`] in which every value is valid and every default
//! filled in, or all [`Problems`] at once. [`check_world`] then looks at what the file points to, [`examine`] does both. Called by the command
//! line, at start and at reload; the data plane reads [`Config`] and never asks again whether a value is valid.
#![forbid(unsafe_code)]

mod diff;
mod effective;
mod examine;
mod file;
mod filter;
mod load;
pub mod pem;
mod pending;
mod problem;
mod reference;
mod schema;
mod source;
mod spec;
mod terminal;
mod value;
mod world;
mod yaml;

pub use diff::{Change, diff};
pub use effective::defaults;
pub use examine::examine;
pub use file::balancing::{Algorithm, LoadBalancing};
pub use file::config::Config;
pub use file::listen::{AltSvc, HttpRedirect, Listener, ProxyProtocol, Tcp, join_host_port};
pub use file::log::{AccessField, AccessLog, Log, LogFile, LogFormat, LogLevel};
pub use file::observability::{ControlApi, Metrics, Observability, Routing, Tracing, TracingProtocol};
pub use file::performance::{Performance, QuicRetry};
pub use file::protocol::Protocol;
pub use file::resilience::{
    AdaptiveAdmission, Brownout, CircuitBreaker, Hedging, Resilience, RetryBudget, RouteQueue, Unsupported, Watchdog,
};
pub use file::security::{Privileges, Reload, Sandbox, Security};
pub use file::tls::{Certificate, ClientAuth, ListenTls, UpstreamTls};
pub use file::upstream::{
    Backend, BackendProtocol, ForwardedHeaders, ForwardedMode, HealthCheck, HostMode, HostPolicy, PassiveHealth,
    PassivePolicy, Route, Timeouts, Upstream,
};
pub use filter::LogFilter;
pub use load::{Loaded, load, parse};
pub use pending::NOT_IN_EFFECT;
pub use problem::{Code, Problem, Problems, Severity};
pub use reference::reference;
pub use schema::schema;
pub use value::address::{BackendAddress, BackendScheme};
pub use value::host::{host_of, normalize_host};
pub use value::http::{HashKey, HeaderName, HostPattern, Method, StatusRange, normal_host};
pub use value::network::{Network, is_loopback};
pub use value::number::Auto;
pub use value::path::matching_form;
pub use value::secret::Secret;
pub use world::{Mode, check_world};
