//! The counts of one worker for the metrics: what happens to requests, attempts and backends.
//!
//! A worker's snapshot has them, so every exchange reaches them. The end of a request is counted in `exchange::count`.

use spooky_bridge::message::ResetReason;
use spooky_lb::{
    admit::Limit,
    attempt::{FailureKind, RetryDenial},
    health::Transition,
};
use spooky_telemetry::metrics::{BackendSeries, ConfigSeries, Direction, Metrics, RouteSeries, Side, WorkerSeries};
use std::{sync::Arc, time::Duration};

/// The counts of one worker, for the routes and backends of one snapshot.
pub(crate) struct Counts {
    series: Arc<ConfigSeries>,
    worker: usize,
    totals: Arc<WorkerSeries>,
    unrouted: Arc<RouteSeries>,
}

impl Counts {
    /// Returns the counts of a worker, with those of the routes and backends of a configuration.
    pub(crate) fn new(metrics: &Metrics, series: Arc<ConfigSeries>, worker: usize) -> Self {
        let totals = metrics.workers().get(worker).cloned().unwrap_or_default();
        let unrouted = metrics.unrouted().get(worker).cloned().unwrap_or_default();
        Self { series, worker, totals, unrouted }
    }

    pub(crate) fn totals(&self) -> &WorkerSeries {
        &self.totals
    }

    /// Returns the counts of a route, or of the requests without one.
    pub(crate) fn route(&self, upstream: Option<usize>) -> &RouteSeries {
        upstream.and_then(|upstream| self.series.route(upstream, self.worker)).unwrap_or(&self.unrouted)
    }

    fn backend(&self, upstream: usize, backend: usize) -> Option<&BackendSeries> {
        self.series.backend(upstream, backend, self.worker)
    }

    /// Counts the requests in flight as failed: they were lost with an earlier run of this worker.
    pub(crate) fn end_lost(&self) {
        let totals = &self.totals;
        let ended = totals.success.get() + totals.failure.get() + totals.cancelled.get();
        totals.failure.add(totals.requests.get().saturating_sub(ended));
        let routes = (0..self.series.routes.len()).map(Some).chain([None]).map(|upstream| self.route(upstream));
        for route in routes {
            route.failure.add(route.requests.get().saturating_sub(route.ended.get()));
            route.ended.set(route.requests.get());
        }
    }

    /// Counts a request as in flight on its route.
    pub(crate) fn on_routed(&self, upstream: Option<usize>) {
        self.route(upstream).requests.increment();
    }

    /// Counts a request in early data.
    pub(crate) fn on_early_data(&self, is_accepted: bool) {
        let [accepted, rejected] = &self.totals.early_data;
        if is_accepted { accepted } else { rejected }.increment();
    }

    /// Counts a request that has got its permit after it had waited for this limit.
    pub(crate) fn on_waited(&self, limit: Limit) {
        let [global, upstream] = &self.totals.waited;
        match limit {
            Limit::Adaptive | Limit::Global => global,
            Limit::Upstream | Limit::Backend => upstream,
        }
        .increment();
    }

    /// Counts a retry after this failure.
    pub(crate) fn on_retry(&self, failure: Option<FailureKind>) {
        let [timeout, transport, pool] = &self.totals.retries;
        match failure {
            Some(FailureKind::ResponseTimeout) => timeout,
            Some(FailureKind::Unprocessed | FailureKind::RefusedStream) => pool,
            Some(kind) if kind.is_connect() => pool,
            _ => transport,
        }
        .increment();
    }

    /// Counts a failed attempt. `has_head` means that its response head was counted.
    pub(crate) fn on_failure(&self, upstream: usize, backend: Option<usize>, kind: FailureKind, has_head: bool) {
        if matches!(kind, FailureKind::Local(_)) {
            return;
        }
        let [timeouts, errors] = &self.totals.backend_failures;
        let is_timeout = matches!(kind, FailureKind::ResponseTimeout | FailureKind::ConnectTimeout);
        if is_timeout { timeouts } else { errors }.increment();
        if matches!(kind, FailureKind::Tls | FailureKind::Certificate) {
            self.totals.upstream_tls_failures.increment();
        }
        if let Some(series) = backend.and_then(|backend| self.backend(upstream, backend)) {
            series.count_failure(kind, has_head);
        }
    }

    /// Counts a response head.
    pub(crate) fn on_head(&self, upstream: usize, backend: Option<usize>, status: u16, response: Duration) {
        if let Some(series) = backend.and_then(|backend| self.backend(upstream, backend)) {
            series.count_head(status, response);
        }
    }

    /// Counts how long an attempt waited for its connection.
    pub(crate) fn on_connected(&self, upstream: usize, backend: Option<usize>, waited: Duration) {
        if let Some(series) = backend.and_then(|backend| self.backend(upstream, backend)) {
            series.connect.observe(waited);
        }
    }

    /// Counts a change of a backend's health.
    pub(crate) fn on_transition(&self, upstream: usize, backend: usize, transition: Transition) {
        if let Some(series) = self.backend(upstream, backend) {
            series.count_transition(transition.healthy);
        }
    }

    /// Counts a failure that counts for a backend's passive health.
    pub(crate) fn on_passive_failure(&self, reason: &str) {
        let [status, timeout, transport, tls] = &self.totals.passive_failures;
        match reason {
            "5xx" => status,
            "timeout" => timeout,
            "tls" => tls,
            _ => transport,
        }
        .increment();
    }

    /// Counts a reset that Spooky sends to a backend.
    pub(crate) fn on_upstream_reset(&self, reason: ResetReason) {
        self.totals.resets.increment(Side::Upstream, Direction::Sent, reason as usize);
    }

    /// Counts a reset that a backend has sent.
    pub(crate) fn on_reset_by_upstream(&self, reason: ResetReason) {
        self.totals.resets.increment(Side::Upstream, Direction::Received, reason as usize);
    }

    /// Counts why the last failure of a request was not followed by a retry.
    pub(crate) fn on_denial(&self, denial: RetryDenial) {
        let [budget, body, alternative] = &self.totals.retry_denied;
        match denial {
            RetryDenial::Budget => budget,
            RetryDenial::BodyGone => body,
            RetryDenial::NoAlternative => alternative,
        }
        .increment();
    }
}
