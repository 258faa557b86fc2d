//! The HTTP side of the control plane: the control API with its status page, and the metrics endpoint.
//!
//! Serves HTTP/1.1 on threads of its own, never on those of a worker. What is asked for is answered by an [`Admin`], which the
//! program implements: this crate knows connections, paths, access rights and JSON, but not the state of the process.
#![forbid(unsafe_code)]

mod access;
mod admin;
mod answer;
mod api;
mod body;
mod connection;
mod decode;
mod metrics;
mod model;
mod open_connections;
mod openapi;
mod plane;
mod routes;
mod schema;
mod unread;

pub use admin::{Admin, ConnectionLimits, Draining, Reload, Restart, Site, Validation};
pub use model::{
    AdaptiveAdmission, BackendCounts, BackendState, Backends, Brownout, ConfigChange, ExtensionModel, Health, History,
    ListenerGeneration, ListenerTls, Quantiles, Ready, RequestCounts, Runtime, RuntimeTls, SnapshotInfo, Status,
    StatusClasses, StatusSample, Transition, UpstreamState, WatchdogHealth, WatchdogState, Workers,
};
pub use plane::{ApiOptions, ControlPlane, MetricsOptions};

#[cfg(test)]
mod tests;
