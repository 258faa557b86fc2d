//! Samples about requests: totals, routes, answers, retries, hedges.

use crate::{samples::UNROUTED, snapshot::Snapshot, state::State};
use spooky_lb::outcome::{ErrorKind, Reason};
use spooky_telemetry::{
    ClientProtocol,
    log::panics,
    metrics::{
        Counter, DENIAL_REASONS, Distribution, Family, Metrics, PASSIVE_REASONS, Page, RETRY_REASONS, RouteSeries,
        SharedCounter, WorkerSeries,
    },
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

type WorkerCounter = fn(&WorkerSeries) -> &Counter;
type RouteCounter = fn(&RouteSeries) -> &Counter;

pub(super) fn add(page: &mut Page, state: &State, snapshot: &Snapshot) {
    let metrics = &state.metrics;
    add_totals(page, metrics);
    add_answers(page, metrics);
    add_attempts(page, metrics);
    add_resets(page, metrics);
    add_workers(page, state);
    let configured = snapshot.series.routes.iter().map(|route| (route.name.as_str(), &route.workers));
    let mut all: Vec<(&str, &[Arc<RouteSeries>])> = configured.map(|(name, workers)| (name, &**workers)).collect();
    all.push((UNROUTED, metrics.unrouted()));
    for (name, workers) in all {
        add_route(page, name, workers);
        add_recent(page, state, name, workers);
    }
    page.add(Family::RouteLatencySampleEvery, &[], state.latency_sample_every);
    for (upstream, compiled) in snapshot.config.upstreams.iter().zip(&snapshot.upstreams) {
        page.add(Family::RouteQueueDepth, &[&upstream.name], u64::from(compiled.route_limits.queued()));
    }
}

fn add_totals(page: &mut Page, metrics: &Metrics) {
    let totals: [(Family, WorkerCounter); 8] = [
        (Family::RequestsSuccess, |series| &series.success),
        (Family::RequestsFailure, |series| &series.failure),
        (Family::RequestsCancelled, |series| &series.cancelled),
        // After those that it is the sum of: a request that ends meanwhile is then in flight, and never counted twice.
        (Family::RequestsTotal, |series| &series.requests),
        (Family::ValidationRejects, |series| &series.validation_rejects),
        (Family::PolicyDenied, |series| &series.policy_denied),
        (Family::EarlyDataAccepted, |series| &series.early_data[0]),
        (Family::EarlyDataRejected, |series| &series.early_data[1]),
    ];
    for (family, count) in totals {
        page.add(family, &[], metrics.total(|series| count(series).get()));
    }
    for (scope, at) in [("global", 0), ("upstream", 1)] {
        let count = |series: &WorkerSeries| series.waited.get(at).map_or(0, Counter::get);
        page.add(Family::InflightWaitAdmit, &[scope], metrics.total(count));
    }
}

/// Adds the answers made by Spooky, and the refusals because of overload among them.
fn add_answers(page: &mut Page, metrics: &Metrics) {
    let mut answers = BTreeMap::new();
    let mut reasons = BTreeMap::new();
    for series in metrics.writers() {
        series.for_each_answer(|reason, status, count| {
            *answers.entry((status, reason.row().label)).or_insert(0) += count;
            *reasons.entry(reason.number()).or_insert(0) += count;
        });
    }
    for ((status, reason), count) in answers {
        page.add(Family::LocalResponses, &[&status.to_string(), reason], count);
    }
    let of = |reason: Reason| reasons.get(&reason.number()).copied().unwrap_or(0);
    let cap_rejects = metrics.ingress().iter().map(|series| series.cap_rejects.get()).sum();
    page.add(Family::ConnectionCapRejects, &[], cap_rejects);
    page.add(Family::OverloadShedByReason, &["connection_cap"], cap_rejects);
    let mut shed = cap_rejects;
    for &reason in Reason::ALL.iter().filter(|reason| reason.row().error == ErrorKind::Overload) {
        shed += of(reason);
        page.add(Family::OverloadShedByReason, &[reason.row().label], of(reason));
    }
    page.add(Family::OverloadShedByReason, &["response_prebuffer_cap"], 0);
    page.add(Family::OverloadShed, &[], shed);
    page.add(Family::RequestBufferRejects, &[], of(Reason::RequestBufferCap));
    page.add(Family::ResponsePrebufferRejects, &[], 0);
    page.add(Family::CircuitRejected, &[], of(Reason::CircuitOpen));
}

fn add_attempts(page: &mut Page, metrics: &Metrics) {
    let mut retries = 0;
    for (at, reason) in RETRY_REASONS.into_iter().enumerate() {
        let count = metrics.total(|series| series.retries.get(at).map_or(0, Counter::get));
        retries += count;
        page.add(Family::RetryAttempts, &[reason], count);
    }
    page.add(Family::Retries, &[], retries);
    for (at, reason) in DENIAL_REASONS.into_iter().enumerate() {
        let count = metrics.total(|series| series.retry_denied.get(at).map_or(0, Counter::get));
        page.add(Family::RetryDenied, &[reason], count);
    }
    let hedges: [(Family, WorkerCounter); 5] = [
        (Family::HedgeTriggered, |series| &series.hedges.triggered),
        (Family::HedgeWon, |series| &series.hedges.won),
        (Family::HedgeWasted, |series| &series.hedges.wasted),
        (Family::HedgePrimaryWon, |series| &series.hedges.primary_won),
        (Family::HedgePrimaryLateSamples, |series| &series.hedges.primary_won),
    ];
    for (family, count) in hedges {
        page.add(family, &[], metrics.total(|series| count(series).get()));
    }
    let late = Duration::from_nanos(metrics.total(|series| series.hedges.primary_late.get()));
    page.add_float(Family::HedgePrimaryLate, &[], late.as_secs_f64());
    page.add(Family::HedgePrimaryLateMillis, &[], u64::try_from(late.as_millis()).unwrap_or(u64::MAX));
    page.add(Family::BackendTimeouts, &[], metrics.total(|series| series.backend_failures[0].get()));
    page.add(Family::BackendErrors, &[], metrics.total(|series| series.backend_failures[1].get()));
    page.add(Family::UpstreamTlsFailures, &[], metrics.total(|series| series.upstream_tls_failures.get()));
    for (at, reason) in PASSIVE_REASONS.into_iter().enumerate() {
        let count = metrics.total(|series| series.passive_failures.get(at).map_or(0, Counter::get));
        page.add(Family::HealthFailures, &[reason], count);
    }
    let [success, failure] = [0, 1].map(|at| metrics.total(|series| series.probes.get(at).map_or(0, Counter::get)));
    page.add(Family::HealthChecks, &[], success + failure);
    page.add(Family::HealthChecksSuccess, &[], success);
    page.add(Family::HealthChecksFailure, &[], failure);
}

fn add_resets(page: &mut Page, metrics: &Metrics) {
    let mut resets = BTreeMap::new();
    for series in metrics.writers() {
        series.resets.for_each(|side, direction, code, count| {
            *resets.entry((side, direction, code)).or_insert(0) += count;
        });
    }
    for ((side, direction, code), count) in resets {
        page.add(Family::StreamResets, &[side, direction, code], count);
    }
}

fn add_workers(page: &mut Page, state: &State) {
    let metrics = &state.metrics;
    for (number, series) in metrics.workers().iter().enumerate() {
        let worker = format!("worker-{number}");
        page.add(Family::WorkerRequests, &[&worker], series.requests.get());
        page.add(Family::WorkerSuccess, &[&worker], series.success.get());
        page.add(Family::WorkerFailure, &[&worker], series.failure.get());
        page.add_float(Family::WorkerBusy, &[&worker], state.worker_cpu.seconds(number).unwrap_or_default());
        page.add(Family::WorkerRestarts, &[&worker], metrics.restarts.get(number).map_or(0, SharedCounter::get));
    }
    page.add(Family::RuntimePanics, &[], panics());
}

fn add_route(page: &mut Page, name: &str, workers: &[Arc<RouteSeries>]) {
    let sum = |count: RouteCounter| workers.iter().map(|series| count(series).get()).sum::<u64>();
    let ended = sum(|series| &series.ended);
    let requests = sum(|series| &series.requests);
    page.add(Family::RouteRequests, &[name], requests);
    page.add(Family::HttpRequestsInFlight, &[name], requests.saturating_sub(ended));
    let counts: [(Family, RouteCounter); 7] = [
        (Family::RouteSuccess, |series| &series.success),
        (Family::RouteFailure, |series| &series.failure),
        (Family::RouteTimeout, |series| &series.timeout),
        (Family::RouteBackendError, |series| &series.backend_error),
        (Family::RouteShed, |series| &series.shed),
        (Family::HttpRequestBodyBytes, |series| &series.request_bytes),
        (Family::HttpResponseBodyBytes, |series| &series.response_bytes),
    ];
    for (family, count) in counts {
        page.add(family, &[name], sum(count));
    }
    for protocol in ClientProtocol::ALL {
        let labels = [name, protocol.label()];
        let at = protocol.index();
        let durations = workers.iter().filter_map(|series| series.duration.get(at));
        page.add_histograms(Family::HttpRequestDuration, &labels, durations);
        let starts = workers.iter().filter_map(|series| series.response_start.get(at));
        page.add_histograms(Family::HttpResponseStart, &labels, starts);
    }
    page.add_histograms(Family::RouteQueueWait, &[name], workers.iter().map(|series| &series.queue_wait));
    let mut statuses = BTreeMap::new();
    for series in workers {
        series.for_each_status(|method, status, protocol, count| {
            *statuses.entry((method, status, protocol.label())).or_insert(0) += count;
        });
    }
    for ((method, status, protocol), count) in statuses {
        page.add(Family::HttpRequests, &[name, method, &status.to_string(), protocol], count);
    }
}

/// Adds the latencies of the last minute; 0 if there was no request.
fn add_recent(page: &mut Page, state: &State, name: &str, workers: &[Arc<RouteSeries>]) {
    let mut all = Distribution::default();
    for series in workers {
        all.merge(&series.durations());
    }
    let recent = state.samples.durations(name, &all);
    let quantiles = [(Family::RouteLatencyP50, 0.5), (Family::RouteLatencyP95, 0.95), (Family::RouteLatencyP99, 0.99)];
    for (family, quantile) in quantiles {
        page.add_float(family, &[name], recent.quantile(quantile).unwrap_or_default().as_secs_f64() * 1e3);
    }
}
