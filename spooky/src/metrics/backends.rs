//! Samples about each backend: its state, and what its attempts have counted.

use crate::{snapshot::Snapshot, state::State};
use spooky_lb::{attempt::breaker::Circuit, pool::WEIGHT_STEPS, time::Nanos};
use spooky_telemetry::metrics::{
    BACKEND_PROTOCOLS, BackendCounts, BackendSeries, CODES, CONNECTION_STATES, Counter, FAILURES, Family, Page,
};
use std::time::Instant;

pub(super) fn add(page: &mut Page, state: &State, snapshot: &Snapshot) {
    let now = Nanos::since(state.epoch, Instant::now());
    for (route, compiled) in snapshot.series.routes.iter().zip(&snapshot.upstreams) {
        for (at, (member, counts)) in compiled.pool.members().iter().zip(&route.backends).enumerate() {
            let labels = [route.name.as_str(), counts.id.as_str()];
            let backend = &member.state;
            page.add_bool(Family::BackendHealthy, &labels, backend.health.is_healthy());
            page.add_bool(Family::BackendDraining, &labels, backend.health.is_draining());
            let weight = f64::from(compiled.pool.effective_weight(at, now)) / f64::from(WEIGHT_STEPS);
            page.add_float(Family::BackendWeight, &labels, weight);
            page.add(Family::BackendInFlight, &labels, u64::from(backend.in_flight()));
            page.add_float(Family::BackendEwma, &labels, backend.latency.average().as_secs_f64());
            let circuit = match backend.breaker.state(now) {
                Circuit::Closed => 0,
                Circuit::HalfOpen => 1,
                Circuit::Open => 2,
            };
            page.add(Family::BackendCircuit, &labels, circuit);
            add_counts(page, &route.name, counts);
        }
    }
}

fn add_counts(page: &mut Page, upstream: &str, counts: &BackendCounts) {
    let id = counts.id.as_str();
    let sum = |count: &dyn Fn(&BackendSeries) -> Option<&Counter>| {
        counts.writers.iter().filter_map(|series| count(series)).map(Counter::get).sum::<u64>()
    };
    for (at, code) in CODES.into_iter().enumerate() {
        page.add(Family::BackendRequests, &[upstream, id, code], sum(&|series| series.attempts.get(at)));
    }
    for (protocol, name) in BACKEND_PROTOCOLS.into_iter().enumerate() {
        for (at, state) in CONNECTION_STATES.into_iter().enumerate() {
            let open = counts.writers.iter().map(|series| series.connections.get(protocol, at)).sum();
            page.add(Family::BackendConnections, &[upstream, id, name, state], open);
        }
    }
    for (at, reason) in FAILURES.into_iter().enumerate() {
        page.add(Family::BackendFailures, &[upstream, id, reason], sum(&|series| series.failures.get(at)));
    }
    for (at, to) in ["healthy", "unhealthy"].into_iter().enumerate() {
        page.add(Family::BackendTransitions, &[upstream, id, to], sum(&|series| series.transitions.get(at)));
    }
    let series = &counts.writers;
    page.add_histograms(Family::BackendResponse, &[upstream, id], series.iter().map(|series| &series.response));
    page.add_histograms(Family::BackendConnect, &[upstream, id], series.iter().map(|series| &series.connect));
}
