//! The counts of the process: those of the workers, and those of each route and backend, which a reload keeps by name.

use super::{
    clients::IngressSeries,
    counter::SharedCounter,
    series::{BackendSeries, RouteSeries, WorkerSeries},
    upstreams::TransportSeries,
};
use spooky_config::Config;
use std::sync::Arc;

/// The counts that live as long as the process. The writers are the workers and, as the last one, the health checker.
#[derive(Debug)]
pub struct Metrics {
    workers: Box<[Arc<WorkerSeries>]>,
    unrouted: Box<[Arc<RouteSeries>]>,
    ingress: Box<[Arc<IngressSeries>]>,
    transports: Box<[Arc<TransportSeries>]>,
    /// Restarts of each worker.
    pub restarts: Box<[SharedCounter]>,
}

impl Metrics {
    /// Creates the counts for this many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            workers: per_writer(workers + 1),
            unrouted: per_writer(workers),
            ingress: per_writer(workers),
            transports: per_writer(workers + 1),
            restarts: (0..workers).map(|_| SharedCounter::default()).collect(),
        }
    }

    /// Returns the totals of each worker, and at the end those of the health checker.
    pub fn writers(&self) -> &[Arc<WorkerSeries>] {
        &self.workers
    }

    /// Returns the totals of each worker.
    pub fn workers(&self) -> &[Arc<WorkerSeries>] {
        self.workers.split_last().map_or(&[], |(_, workers)| workers)
    }

    /// Returns the totals of the health checker.
    pub fn prober(&self) -> Option<&Arc<WorkerSeries>> {
        self.workers.last()
    }

    /// Returns, for each worker, the counts of the requests without a route.
    pub fn unrouted(&self) -> &[Arc<RouteSeries>] {
        &self.unrouted
    }

    /// Returns, for each worker, the counts of its clients' connections.
    pub fn ingress(&self) -> &[Arc<IngressSeries>] {
        &self.ingress
    }

    /// Returns the counts of the transports: those of the workers, and at the end that of the health checker.
    pub fn transports(&self) -> &[Arc<TransportSeries>] {
        &self.transports
    }

    /// Adds up one count of all writers.
    pub fn total(&self, count: impl Fn(&WorkerSeries) -> u64) -> u64 {
        self.workers.iter().map(|series| count(series)).sum()
    }
}

/// The counts of the routes and backends of one configuration.
#[derive(Debug, Default)]
pub struct ConfigSeries {
    /// In the order of the upstreams.
    pub routes: Vec<RouteCounts>,
}

/// The counts of a route and its backends.
#[derive(Debug)]
pub struct RouteCounts {
    /// Name of the upstream.
    pub name: String,
    /// By worker.
    pub workers: Box<[Arc<RouteSeries>]>,
    /// In the order of the upstream's backends.
    pub backends: Vec<BackendCounts>,
}

/// The counts of a backend.
#[derive(Debug)]
pub struct BackendCounts {
    /// Id of the backend.
    pub id: String,
    /// By writer: the workers, then the health checker.
    pub writers: Box<[Arc<BackendSeries>]>,
}

impl ConfigSeries {
    /// Creates the counts for a configuration. Upstreams and backends that `previous` has too keep theirs.
    pub fn new(config: &Config, workers: usize, previous: Option<&Self>) -> Self {
        let routes = config.upstreams.iter().map(|upstream| {
            let kept = previous.and_then(|series| series.routes.iter().find(|route| route.name == upstream.name));
            let backends = upstream.backends.iter().map(|backend| {
                let kept = kept.and_then(|route| route.backends.iter().find(|known| known.id == backend.id));
                let writers = kept.map_or_else(|| per_writer(workers + 1), |known| known.writers.clone());
                BackendCounts { id: backend.id.clone(), writers }
            });
            let backends = backends.collect();
            let workers = kept.map_or_else(|| per_writer(workers), |route| route.workers.clone());
            RouteCounts { name: upstream.name.clone(), workers, backends }
        });
        Self { routes: routes.collect() }
    }

    /// Returns the counts of a route for a worker.
    pub fn route(&self, upstream: usize, worker: usize) -> Option<&Arc<RouteSeries>> {
        self.routes.get(upstream)?.workers.get(worker)
    }

    /// Returns the counts of a backend for a worker or the health checker.
    pub fn backend(&self, upstream: usize, backend: usize, writer: usize) -> Option<&BackendSeries> {
        Some(self.routes.get(upstream)?.backends.get(backend)?.writers.get(writer)?)
    }
}

fn per_writer<T: Default>(writers: usize) -> Box<[Arc<T>]> {
    (0..writers).map(|_| Arc::default()).collect()
}
