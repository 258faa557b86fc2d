//! The JSON of the answers. The fields of each struct are in alphabetical order, which is the order on the wire.

#![allow(missing_docs, reason = "docs/operate/api.md describes each field")]

use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Clone, Debug, Serialize)]
pub struct Health {
    pub status: &'static str,
    pub uptime_ms: u64,
    pub watchdog: WatchdogHealth,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct WatchdogHealth {
    pub degraded: bool,
    pub enabled: bool,
    pub restart_requested: bool,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Ready {
    pub draining: bool,
    pub healthy_backends: usize,
    pub ready: bool,
    pub restart_requested: bool,
    pub total_backends: usize,
    pub unavailable_upstreams: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Runtime {
    pub adaptive_admission: AdaptiveAdmission,
    pub backends: BackendCounts,
    pub brownout: Brownout,
    pub extension_model: ExtensionModel,
    pub metrics: RequestCounts,
    pub runtime: SnapshotInfo,
    pub tls: RuntimeTls,
    pub uptime_ms: u64,
    pub version: &'static str,
    pub watchdog: WatchdogState,
    pub workers: Workers,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct AdaptiveAdmission {
    pub current_limit: u32,
    pub enabled: bool,
    pub inflight_percent: u32,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct BackendCounts {
    pub healthy: usize,
    pub total: usize,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Brownout {
    pub active: bool,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ExtensionModel {
    pub details: &'static str,
    pub status: &'static str,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct RequestCounts {
    pub active_connections: u64,
    pub backend_errors: u64,
    pub backend_timeouts: u64,
    pub requests_failure: u64,
    pub requests_success: u64,
    pub requests_total: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct SnapshotInfo {
    pub config_path: String,
    pub generation: u64,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct RuntimeTls {
    pub listeners: Vec<ListenerTls>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct ListenerTls {
    pub client_auth_enabled: bool,
    pub default_cert: Option<String>,
    pub default_cert_not_after_unix_seconds: Option<u64>,
    pub default_key: Option<String>,
    pub generation: u64,
    pub listener: String,
    pub require_client_cert: bool,
    pub sni_names: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct WatchdogState {
    pub degraded: bool,
    pub enabled: bool,
    pub restart_reason: Option<String>,
    pub restart_requested: bool,
    pub restart_requested_at_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Workers {
    pub expected: usize,
    pub running: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListenerGeneration {
    pub generation: u64,
    pub listener: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Backends {
    pub upstreams: Vec<UpstreamState>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct UpstreamState {
    pub algorithm: String,
    pub backends: Vec<BackendState>,
    pub name: String,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct BackendState {
    pub active: bool,
    pub address: String,
    pub circuit: &'static str,
    pub connections: u64,
    pub draining: bool,
    pub effective_weight: f64,
    pub ewma_ms: Option<f64>,
    pub healthy: bool,
    pub id: String,
    pub in_flight: u32,
    pub last_failure: Option<String>,
    pub last_transition_ms: Option<u64>,
    pub passive: bool,
    pub protocol: String,
    pub weight: u32,
}

/// The last generations of the configuration, the newest first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct History {
    pub generations: Vec<ConfigChange>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ConfigChange {
    pub at_ms: u64,
    pub by: &'static str,
    pub changed: Vec<String>,
    pub error: Option<String>,
    pub generation: u64,
    pub kind: &'static str,
    pub result: &'static str,
}

/// What the status page shows and no other endpoint has.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    /// Requests of the last minute by protocol.
    pub clients: BTreeMap<&'static str, u64>,
    /// Of the last minute.
    pub latency_ms: Quantiles,
    /// The oldest first.
    pub samples: Vec<StatusSample>,
    /// The newest first.
    pub transitions: Vec<Transition>,
}

/// `None` without a request.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Quantiles {
    pub p50: Option<f64>,
    pub p95: Option<f64>,
    pub p99: Option<f64>,
}

/// What happened in one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StatusSample {
    pub at_ms: u64,
    pub classes: StatusClasses,
    pub requests: u64,
}

/// Ended requests by the class of their status; `reset` are those without a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StatusClasses {
    #[serde(rename = "1xx")]
    pub informational: u64,
    #[serde(rename = "2xx")]
    pub successful: u64,
    #[serde(rename = "3xx")]
    pub redirection: u64,
    #[serde(rename = "4xx")]
    pub client_error: u64,
    #[serde(rename = "5xx")]
    pub server_error: u64,
    pub reset: u64,
}

/// A change of a backend's health.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Transition {
    pub at_ms: u64,
    pub backend: String,
    pub reason: Option<String>,
    pub to: &'static str,
    pub upstream: String,
}
