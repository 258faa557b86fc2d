//! The state of the process as a whole.

use super::access::Access;
use crate::{lifecycle::LifePhase, snapshot::Snapshot, state::State};
use spooky_config::Listener;
use spooky_control::{
    AdaptiveAdmission, BackendCounts, Brownout, ExtensionModel, Health, ListenerTls, Ready, RequestCounts, Runtime,
    RuntimeTls, SnapshotInfo, WatchdogHealth, WatchdogState, Workers,
};
use spooky_lb::health::Readiness;
use spooky_net::tls::CertificateStore;
use std::{path::Path, time::UNIX_EPOCH};

pub(super) fn health(state: &State) -> Health {
    Health { status: "ok", uptime_ms: uptime_ms(state), watchdog: watchdog(state) }
}

/// Ready: all threads run, the backends have been probed once, the process neither stops nor restarts, and a backend is
/// healthy.
pub(super) fn ready(state: &State, snapshot: &Snapshot) -> Ready {
    let backends = readiness(snapshot);
    let draining = state.lifecycle.is_stopping();
    let restart_requested = state.watchdog.restart_request().is_some();
    let has_started =
        state.lifecycle.phase() >= LifePhase::Serving && state.running_workers.is_complete() && state.admin.is_probed();
    let name = |number: usize| Some(snapshot.config.upstreams.get(number)?.name.clone());
    Ready {
        draining,
        healthy_backends: backends.healthy,
        ready: has_started && !draining && !restart_requested && backends.healthy > 0,
        restart_requested,
        total_backends: backends.total,
        unavailable_upstreams: backends.unavailable.into_iter().filter_map(name).collect(),
    }
}

pub(super) fn runtime(state: &State, snapshot: &Snapshot) -> Runtime {
    let backends = readiness(snapshot);
    let (limit, _) = state.global_limits.limit();
    let percent = u64::from(state.global_limits.in_flight()) * 100 / u64::from(limit.max(1));
    Runtime {
        adaptive_admission: AdaptiveAdmission {
            current_limit: limit,
            enabled: snapshot.config.resilience.adaptive_admission.enabled,
            inflight_percent: u32::try_from(percent).unwrap_or(u32::MAX),
        },
        backends: BackendCounts { healthy: backends.healthy, total: backends.total },
        brownout: Brownout { active: state.global_limits.in_brownout() },
        extension_model: ExtensionModel {
            details: "Spooky loads no extensions; its behaviour is decided by the configuration file alone",
            status: "non_goal",
        },
        metrics: counts(state),
        runtime: SnapshotInfo { config_path: state.admin.file(), generation: snapshot.generation },
        tls: RuntimeTls { listeners: listeners(snapshot, &state.admin.access()) },
        uptime_ms: uptime_ms(state),
        version: env!("CARGO_PKG_VERSION"),
        watchdog: watchdog_state(state),
        workers: Workers { expected: usize::from(state.workers), running: state.running_workers.running() },
    }
}

fn watchdog(state: &State) -> WatchdogHealth {
    WatchdogHealth {
        degraded: state.watchdog.is_degraded(),
        enabled: state.watchdog.is_enabled(),
        restart_requested: state.watchdog.restart_request().is_some(),
    }
}

fn watchdog_state(state: &State) -> WatchdogState {
    let WatchdogHealth { degraded, enabled, restart_requested } = watchdog(state);
    let request = state.watchdog.restart_request();
    WatchdogState {
        degraded,
        enabled,
        restart_reason: request.as_ref().map(|request| request.reason.clone()),
        restart_requested,
        restart_requested_at_ms: request.map(|request| request.at_ms),
    }
}

fn counts(state: &State) -> RequestCounts {
    let metrics = &state.metrics;
    RequestCounts {
        active_connections: u64::from(state.connections.active()),
        backend_errors: metrics.total(|series| series.backend_failures[1].get()),
        backend_timeouts: metrics.total(|series| series.backend_failures[0].get()),
        requests_failure: metrics.total(|series| series.failure.get()),
        requests_success: metrics.total(|series| series.success.get()),
        requests_total: metrics.total(|series| series.requests.get()),
    }
}

fn readiness(snapshot: &Snapshot) -> Readiness {
    Readiness::of(snapshot.upstreams.iter().map(|upstream| &*upstream.pool))
}

fn uptime_ms(state: &State) -> u64 {
    u64::try_from(state.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn listeners(snapshot: &Snapshot, access: &Access) -> Vec<ListenerTls> {
    let all = snapshot.config.listeners.iter().zip(&access.certificates);
    all.map(|(listener, certificates)| listener_tls(listener, certificates, snapshot.generation)).collect()
}

fn listener_tls(listener: &Listener, certificates: &CertificateStore, generation: u64) -> ListenerTls {
    let tls = &listener.tls;
    let path = |path: &Path| path.display().to_string();
    let expiry = certificates.expiries().into_iter().find(|(name, _)| name == "default").map(|(_, expiry)| expiry);
    let not_after = expiry.and_then(|expiry| expiry.duration_since(UNIX_EPOCH).ok()).map(|passed| passed.as_secs());
    let mut sni_names = certificates.names();
    sni_names.sort_unstable();
    ListenerTls {
        client_auth_enabled: tls.client_auth.enabled,
        default_cert: tls.cert.as_deref().map(path),
        default_cert_not_after_unix_seconds: not_after,
        default_key: tls.key.as_deref().map(path),
        generation,
        listener: listener.name.clone(),
        require_client_cert: tls.client_auth.enabled && tls.client_auth.require_client_cert,
        sni_names,
    }
}
