//! Samples about the process as a whole: limits, connections, configuration.

use crate::{snapshot::Snapshot, state::State};
use spooky_lb::admit::Limit;
use spooky_telemetry::metrics::{Family, Page};
use std::{sync::atomic::Ordering::Relaxed, time::UNIX_EPOCH};

pub(super) fn add(page: &mut Page, state: &State, snapshot: &Snapshot) {
    page.add(Family::BuildInfo, &[env!("CARGO_PKG_VERSION"), env!("SPOOKY_COMMIT")], 1);
    let limits = &state.global_limits;
    let (limit, kind) = limits.limit();
    let global = snapshot.config.performance.global_inflight_limit;
    page.add(
        Family::AdmissionLimit,
        &["adaptive"],
        if kind == Limit::Adaptive { u64::from(limit) } else { global as u64 },
    );
    page.add(Family::AdmissionLimit, &["global"], global as u64);
    page.add(Family::AdmissionInFlight, &[], u64::from(limits.in_flight()));
    page.add_bool(Family::BrownoutActive, &[], limits.in_brownout());
    page.add(Family::RequestBuffered, &[], state.bodies.used());
    page.add(Family::RequestBufferedHigh, &[], state.bodies.most());
    page.add(Family::ActiveConnections, &[], u64::from(state.connections.active()));
    for (family, count) in [
        (Family::WatchdogRestartRequests, &state.watchdog.restart_requests),
        (Family::WatchdogRestartHooks, &state.watchdog.restart_hooks),
        (Family::WatchdogDegradedWindows, &state.watchdog.degraded_windows),
    ] {
        page.add(family, &[], count.get());
    }
    page.add(Family::ControlApiDrops, &[], state.admin.dropped_connections.load(Relaxed));
    page.add(Family::TraceSpansExported, &[], state.spans.exported());
    page.add(Family::TraceSpansDropped, &[], state.spans.dropped());
    let [connects, rotations] = state.metrics.transports().iter().fold([0, 0], |[connects, rotations], series| {
        [connects + series.connects.get(), rotations + series.rotations.get()]
    });
    page.add(Family::BackendConnectAttempts, &[], connects);
    page.add(Family::BackendClientRotations, &[], rotations);
    let names = state.names.counts();
    page.add(Family::DnsRefreshSuccess, &[], names.succeeded());
    page.add(Family::DnsRefreshFailure, &[], names.failed());
    page.add(Family::DnsAddressSetChanges, &[], names.changed());
    page.add_float(Family::DnsLastSuccess, &[], names.last_success().as_secs_f64());
    page.add(Family::DnsAddresses, &[], state.names.addresses() as u64);
    page.add(Family::LogDropped, &[], state.log_dropped.get().map_or(0, |dropped| dropped.load(Relaxed)));
    page.add(Family::ConfigGeneration, &[], snapshot.generation);
    let loaded = snapshot.loaded_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    page.add_float(Family::ConfigLastReload, &[], loaded.as_secs_f64());
    for (kind, counts) in [("config", &state.config_reloads), ("certificates", &state.certificate_reloads)] {
        for (result, count) in counts.by_result() {
            page.add(Family::ConfigReloads, &[kind, result], count);
        }
    }
}
