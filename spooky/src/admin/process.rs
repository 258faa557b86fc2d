//! Answers the control API from the state of the process.

use super::{
    backends,
    command::{CommandKind, Commands},
    config, runtime,
};
use crate::{metrics, snapshot::Snapshot, state::State, watchdog::Refused};
use rustls::ServerConfig;
use serde_json::Value;
use spooky_control::{
    Admin, BackendState, Backends, ConnectionLimits, Draining, Health, History, Ready, Reload, Restart, Runtime, Site,
    Status, Validation,
};
use spooky_lb::time::Nanos;
use spooky_net::sys::privileges::raise_retained;
use spooky_telemetry::{
    LevelHandle,
    metrics::{Names, Syntax},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::Semaphore,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};

/// Maximum number of configurations that are checked at the same time.
const MAX_VALIDATIONS: usize = 2;
/// Why the process restarts, for the log and the restart command.
const RESTART_REASON: &str = "admin_runtime_api";
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Takes a sample every second as long as the process runs.
pub(crate) async fn sample_forever(state: Arc<State>) {
    let mut ticks = interval(SAMPLE_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(snapshot) = state.current.get() {
            state.samples.add(&state.metrics, &snapshot);
        }
    }
}

pub(crate) struct ProcessAdmin {
    state: Arc<State>,
    commands: Commands,
    level: LevelHandle,
    validations: Semaphore,
}

impl ProcessAdmin {
    pub(crate) fn new(state: Arc<State>, commands: Commands, level: LevelHandle) -> Self {
        Self { state, commands, level, validations: Semaphore::new(MAX_VALIDATIONS) }
    }

    fn now(&self) -> Nanos {
        Nanos::since(self.state.epoch, Instant::now())
    }

    /// Calls `show` with the snapshot in effect. There is one since before the endpoints are served.
    fn with_snapshot<T: Default>(&self, show: impl FnOnce(&Snapshot) -> T) -> T {
        self.state.current.get().map(|snapshot| show(&snapshot)).unwrap_or_default()
    }
}

impl Admin for ProcessAdmin {
    fn token(&self) -> Option<Arc<str>> {
        self.state.admin.access().token
    }

    fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.state.admin.access().tls
    }

    fn limits(&self, site: Site) -> ConnectionLimits {
        let limits = self.state.current.get().map(|snapshot| {
            let (metrics, api) = (&snapshot.config.observability.metrics, &snapshot.config.observability.control_api);
            match site {
                Site::Api => (api.max_connections, api.connection_timeout_ms),
                Site::Metrics => (metrics.max_connections, metrics.connection_timeout_ms),
            }
        });
        let (connections, duration) = limits.unwrap_or((0, Duration::ZERO));
        ConnectionLimits { connections, duration }
    }

    fn health(&self) -> Health {
        runtime::health(&self.state)
    }

    fn ready(&self) -> Ready {
        self.with_snapshot(|snapshot| runtime::ready(&self.state, snapshot))
    }

    fn runtime(&self) -> Runtime {
        self.with_snapshot(|snapshot| runtime::runtime(&self.state, snapshot))
    }

    fn status(&self) -> Status {
        self.state.samples.status()
    }

    fn history(&self) -> History {
        self.state.admin.history()
    }

    fn backends(&self) -> Backends {
        self.with_snapshot(|snapshot| backends::all(snapshot, &self.state.samples, self.now()))
    }

    fn backend(&self, upstream: &str, id: &str) -> Option<BackendState> {
        self.with_snapshot(|snapshot| backends::one(snapshot, &self.state.samples, upstream, id, self.now()))
    }

    fn drain(&self, upstream: &str, id: &str, draining: Draining) -> Option<BackendState> {
        self.with_snapshot(|snapshot| {
            backends::drain(snapshot, upstream, id, draining);
            backends::one(snapshot, &self.state.samples, upstream, id, self.now())
        })
    }

    fn config(&self) -> Value {
        self.with_snapshot(|snapshot| config::effective(&snapshot.config))
    }

    fn log_level(&self) -> String {
        self.level.get()
    }

    fn set_log_level(&self, level: &str) -> bool {
        let is_set = self.level.set(level);
        if is_set {
            tracing::info!("Log level set to '{level}' until the next reload");
        }
        is_set
    }

    fn metrics(&self, syntax: Syntax, names: Names) -> Vec<u8> {
        self.with_snapshot(|snapshot| metrics::render(&self.state, snapshot, syntax, names))
    }

    async fn reload(&self) -> Reload {
        self.commands.execute(CommandKind::Reload).await
    }

    async fn reload_certificates(&self) -> Reload {
        self.commands.execute(CommandKind::ReloadCertificates).await
    }

    async fn rollback(&self) -> Reload {
        self.commands.execute(CommandKind::Rollback).await
    }

    async fn validate(&self, text: String) -> Validation {
        let invalid = Validation { is_valid: false, problems: Value::Array(Vec::new()) };
        let Ok(_permit) = self.validations.acquire().await else { return invalid };
        let check = move || {
            // Files that a reload may read are checked with the same rights.
            let _raised = raise_retained();
            config::validate(&text)
        };
        spawn_blocking(check).await.unwrap_or(invalid)
    }

    async fn restart(&self) -> Restart {
        match self.state.watchdog.request_restart(RESTART_REASON) {
            Ok(()) => Restart::Accepted,
            Err(Refused::PendingOrCooldown) => Restart::Pending,
            Err(Refused::Disabled) => Restart::Disabled,
        }
    }
}
