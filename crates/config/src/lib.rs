//! Reads and checks the configuration file of Spooky.
//!
//! [`load`] reads a file and [`parse`] a string. Both return a [`Config`] with valid values and all defaults filled in,
//! or all [`Problems`], each with its position. [`preflight`] checks the files, accounts and ports that the configuration
//! names; [`examine`] does both. The data plane reads [`Config`] and does not validate again.
#![forbid(unsafe_code)]

mod diff;
#[cfg(test)]
mod effect;
mod effective;
mod examine;
mod file;
mod filter;
mod load;
mod ocsp;
pub mod pem;
mod preflight;
mod problem;
mod reference;
mod schema;
mod source;
mod spec;
mod terminal;
mod userinfo;
mod value;
mod variables;
mod yaml;

pub use diff::{Change, diff};
pub use effective::{default_config, defaults};
pub use examine::{examine, examine_text};
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
pub use ocsp::OcspStatus;
pub use preflight::{PreflightMode, expiry_warning, ocsp_warning, preflight};
pub use problem::{Code, Problem, Problems, Severity};
pub use reference::reference;
pub use schema::schema;
pub use userinfo::without_userinfo;
pub use value::address::{BackendAddress, BackendScheme};
pub use value::host::{host_of, normalize_host};
pub use value::http::{HashKey, HeaderName, HostPattern, Method, StatusRange, parse_host};
pub use value::network::{Network, is_loopback};
pub use value::number::Auto;
pub use value::path::matching_form;
pub use value::secret::Secret;
