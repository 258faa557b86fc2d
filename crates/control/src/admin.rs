//! What the program must answer for the endpoints.

use crate::model::{BackendState, Backends, Health, History, ListenerGeneration, Ready, Runtime, Status};
use rustls::ServerConfig;
use serde_json::Value;
use spooky_telemetry::metrics::{Names, Syntax};
use std::{future::Future, sync::Arc, time::Duration};

/// One of the two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Site {
    /// The control API.
    Api,
    /// The metrics.
    Metrics,
}

/// Limits of the connections of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Maximum number of concurrent connections.
    pub connections: usize,
    /// Time after which a connection is closed.
    pub duration: Duration,
}

/// The result of a reload or a rollback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The configuration is in effect.
    Done {
        /// The number of the configuration.
        generation: u64,
        /// The configuration file.
        path: String,
    },
    /// The certificates are in effect.
    Certificates(Vec<ListenerGeneration>),
    /// The configuration has errors.
    Invalid {
        /// The first of them.
        error: String,
        /// All problems, as `check --json` prints them.
        problems: Value,
    },
    /// The change needs a restart, or there is nothing to return to.
    Rejected {
        /// Why.
        error: String,
        /// The keys that need a restart.
        fields: Vec<String>,
    },
    /// A file could not be loaded, or a socket not bound.
    Failed(String),
}

/// The result of a request for a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The process drains and ends.
    Accepted,
    /// A restart is pending, or the last one was too recent.
    Pending,
    /// The watchdog is disabled.
    Disabled,
}

/// The result of a check of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validation {
    /// Whether it has no errors.
    pub is_valid: bool,
    /// All problems, as `check --json` prints them.
    pub problems: Value,
}

/// Whether a backend gets new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draining {
    /// It gets no new request.
    Start,
    /// It gets requests again.
    End,
}

/// The state of the process and its commands. Called on the threads of the control plane.
pub trait Admin: Send + Sync + 'static {
    /// Returns the bearer token, if one is configured.
    fn token(&self) -> Option<Arc<str>>;
    /// Returns the TLS context of the control API, if it serves HTTPS.
    fn tls(&self) -> Option<Arc<ServerConfig>>;
    /// Returns the limits of an endpoint.
    fn limits(&self, site: Site) -> ConnectionLimits;

    /// Answers `health_path`.
    fn health(&self) -> Health;
    /// Answers `ready_path`.
    fn ready(&self) -> Ready;
    /// Answers `runtime_path`.
    fn runtime(&self) -> Runtime;
    /// Returns what the status page shows.
    fn status(&self) -> Status;
    /// Returns the last generations of the configuration.
    fn history(&self) -> History;
    /// Answers `backends_path`.
    fn backends(&self) -> Backends;
    /// Returns a backend.
    fn backend(&self, upstream: &str, id: &str) -> Option<BackendState>;
    /// Changes whether a backend gets new requests, and returns it.
    fn drain(&self, upstream: &str, id: &str, draining: Draining) -> Option<BackendState>;
    /// Returns the effective configuration with redacted secrets.
    fn config(&self) -> Value;
    /// Returns the level of the log, in the form of `RUST_LOG`.
    fn log_level(&self) -> String;
    /// Changes the level of the log until the next reload. Returns false, changing nothing, if the text is no level.
    fn set_log_level(&self, level: &str) -> bool;
    /// Returns the page of metrics.
    fn metrics(&self, syntax: Syntax, names: Names) -> Vec<u8>;

    /// Reads the configuration file and puts it into effect.
    fn reload(&self) -> impl Future<Output = Reload> + Send;
    /// Loads certificates and keys again.
    fn reload_certificates(&self) -> impl Future<Output = Reload> + Send;
    /// Puts the previous configuration into effect again.
    fn rollback(&self) -> impl Future<Output = Reload> + Send;
    /// Checks a configuration without any effect.
    fn validate(&self, text: String) -> impl Future<Output = Validation> + Send;
    /// Makes the process drain and end, so that it is started again.
    fn restart(&self) -> impl Future<Output = Restart> + Send;
}
