//! The last minutes of the process, for the status page and for the latencies of routes in the metrics: requests by status,
//! durations, and changes of health.
//!
//! Taken from the counts once a second on a thread of the control plane, so that workers keep nothing for it. A change of
//! health that is undone within a second is not seen.

use crate::{clock::unix_ms, snapshot::Snapshot};
use spooky_control::{Quantiles, Status, StatusClasses, StatusSample, Transition};
use spooky_telemetry::metrics::{BackendCounts, Distribution, FAILURES, Metrics, PROBE_FAILURES, RouteSeries};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Five minutes, at one sample a second.
const MAX_SAMPLES: usize = 300;
/// Number of samples over which latency and clients are counted.
const MINUTE: usize = 60;
const MAX_TRANSITIONS: usize = 50;
/// The name of the requests without a route.
pub(crate) const UNROUTED: &str = "unrouted";

/// By names of upstream and backend.
pub(crate) type BackendEvents = HashMap<(String, String), BackendEvent>;

/// The number of failures of a backend: those of its attempts by [`FAILURES`], then those of its health checks by
/// [`PROBE_FAILURES`].
type Failures = [u64; FAILURES.len() + PROBE_FAILURES.len()];

/// What has happened to a backend last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BackendEvent {
    pub(crate) last_failure: Option<&'static str>,
    pub(crate) last_transition_ms: Option<u64>,
    is_healthy: bool,
    failures: Failures,
}

/// Counts since the start.
#[derive(Clone, Debug, Default)]
struct Totals {
    requests: u64,
    classes: StatusClasses,
    clients: BTreeMap<&'static str, u64>,
    /// By route.
    durations: HashMap<String, Distribution>,
}

/// Returns the value of `SPOOKY_ROUTE_LATENCY_SAMPLE_EVERY`: 1 unless it is a number above 0.
pub(crate) fn sample_every(value: Option<&str>) -> u64 {
    value.and_then(|value| value.trim().parse().ok()).filter(|every| *every > 0).unwrap_or(1)
}

/// The samples.
#[derive(Default)]
pub(crate) struct Samples(Mutex<Recorded>);

impl Samples {
    /// Adds a sample. Called every second.
    pub(crate) fn add(&self, metrics: &Metrics, snapshot: &Snapshot) {
        self.lock().add(metrics, snapshot, unix_ms());
    }

    pub(crate) fn status(&self) -> Status {
        self.lock().status()
    }

    pub(crate) fn backend_events(&self) -> BackendEvents {
        self.lock().events.clone()
    }

    /// Returns the durations of a route in the last minute. `current` has all of them.
    pub(crate) fn durations(&self, route: &str, current: &Distribution) -> Distribution {
        self.lock().totals.front().map_or_else(|| current.clone(), |first| first.durations_since(route, current))
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
struct Recorded {
    seconds: VecDeque<StatusSample>,
    /// The newest last; one more than a minute.
    totals: VecDeque<Totals>,
    transitions: VecDeque<Transition>,
    events: BackendEvents,
}

impl Recorded {
    fn add(&mut self, metrics: &Metrics, snapshot: &Snapshot, at_ms: u64) {
        let totals = totals(metrics, snapshot);
        if let Some(last) = self.totals.back() {
            push(&mut self.seconds, totals.since(last, at_ms), MAX_SAMPLES);
        }
        push(&mut self.totals, totals, MINUTE + 1);
        self.observe_backends(snapshot, at_ms);
    }

    fn status(&self) -> Status {
        let (Some(first), Some(last)) = (self.totals.front(), self.totals.back()) else { return Status::default() };
        let mut durations = Distribution::default();
        for (route, all) in &last.durations {
            durations.merge(&first.durations_since(route, all));
        }
        let quantile = |quantile| durations.quantile(quantile).map(|duration| duration.as_secs_f64() * 1000.0);
        let clients = last.clients.iter().map(|(protocol, count)| {
            (*protocol, count.saturating_sub(first.clients.get(protocol).copied().unwrap_or(0)))
        });
        Status {
            clients: clients.collect(),
            latency_ms: Quantiles { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99) },
            samples: self.seconds.iter().copied().collect(),
            transitions: self.transitions.iter().rev().cloned().collect(),
        }
    }

    fn observe_backends(&mut self, snapshot: &Snapshot, at_ms: u64) {
        let mut events = BackendEvents::new();
        for (route, compiled) in snapshot.series.routes.iter().zip(&snapshot.upstreams) {
            for (counts, member) in route.backends.iter().zip(compiled.pool.members()) {
                let key = (route.name.clone(), counts.id.clone());
                let is_healthy = member.state.health.is_healthy();
                let event = event(self.events.get(&key), is_healthy, failures(counts), at_ms);
                if event.last_transition_ms == Some(at_ms) {
                    let transition = Transition {
                        at_ms,
                        backend: counts.id.clone(),
                        reason: event.last_failure.filter(|_| !is_healthy).map(str::to_owned),
                        to: if is_healthy { "healthy" } else { "unhealthy" },
                        upstream: route.name.clone(),
                    };
                    push(&mut self.transitions, transition, MAX_TRANSITIONS);
                }
                events.insert(key, event);
            }
        }
        self.events = events;
    }
}

fn push<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    while queue.len() >= most {
        queue.pop_front();
    }
    queue.push_back(item);
}

/// Returns what has happened to a backend since `before`. A backend is healthy at first.
fn event(before: Option<&BackendEvent>, is_healthy: bool, failures: Failures, at_ms: u64) -> BackendEvent {
    let before = before.copied().unwrap_or(BackendEvent { is_healthy: true, ..BackendEvent::default() });
    let reasons = FAILURES.into_iter().chain(PROBE_FAILURES);
    let changed = reasons.zip(failures.iter().zip(before.failures)).find(|(_, (now, then))| *now > then);
    BackendEvent {
        last_failure: changed.map(|(reason, _)| reason).or(before.last_failure),
        last_transition_ms: if is_healthy == before.is_healthy { before.last_transition_ms } else { Some(at_ms) },
        is_healthy,
        failures,
    }
}

fn failures(counts: &BackendCounts) -> Failures {
    let mut sums = Failures::default();
    for series in &counts.writers {
        let all = series.failures.iter().chain(&series.probe_failures);
        sums.iter_mut().zip(all).for_each(|(sum, count)| *sum += count.get());
    }
    sums
}

fn totals(metrics: &Metrics, snapshot: &Snapshot) -> Totals {
    let mut totals = Totals { requests: metrics.total(|series| series.requests.get()), ..Totals::default() };
    for route in &snapshot.series.routes {
        totals.count(&route.name, &route.workers);
    }
    totals.count(UNROUTED, metrics.unrouted());
    totals
}

impl Totals {
    fn count(&mut self, route: &str, workers: &[Arc<RouteSeries>]) {
        let mut durations = Distribution::default();
        for series in workers {
            durations.merge(&series.durations());
            series.for_each_status(|_, status, protocol, count| {
                let classes = &mut self.classes;
                *match status / 100 {
                    1 => &mut classes.informational,
                    2 => &mut classes.successful,
                    3 => &mut classes.redirection,
                    4 => &mut classes.client_error,
                    5 => &mut classes.server_error,
                    _ => &mut classes.reset,
                } += count;
                *self.clients.entry(protocol.label()).or_insert(0) += count;
            });
        }
        self.durations.insert(route.to_owned(), durations);
    }

    /// Returns the durations of a route since these counts. `current` has all of them; those of a route that was added since
    /// are all later.
    fn durations_since(&self, route: &str, current: &Distribution) -> Distribution {
        self.durations.get(route).map_or_else(|| current.clone(), |before| current.since(before))
    }

    /// The counts of a removed upstream are gone, so a difference may be negative; it counts as zero.
    fn since(&self, earlier: &Self, at_ms: u64) -> StatusSample {
        let (now, then) = (self.classes, earlier.classes);
        StatusSample {
            at_ms,
            classes: StatusClasses {
                informational: now.informational.saturating_sub(then.informational),
                successful: now.successful.saturating_sub(then.successful),
                redirection: now.redirection.saturating_sub(then.redirection),
                client_error: now.client_error.saturating_sub(then.client_error),
                server_error: now.server_error.saturating_sub(then.server_error),
                reset: now.reset.saturating_sub(then.reset),
            },
            requests: self.requests.saturating_sub(earlier.requests),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spooky_telemetry::metrics::Histogram;
    use std::time::Duration;

    #[test]
    fn a_change_of_health_and_the_newest_failure_are_noticed() {
        let mut failures = Failures::default();
        let first = event(None, true, failures, 10);
        assert_eq!((first.last_failure, first.last_transition_ms), (None, None));
        failures[1] = 1;
        let down = event(Some(&first), false, failures, 20);
        assert_eq!((down.last_failure, down.last_transition_ms), (Some("connect"), Some(20)));
        let still = event(Some(&down), false, failures, 30);
        assert_eq!((still.last_failure, still.last_transition_ms), (Some("connect"), Some(20)));
        let up = event(Some(&still), true, failures, 40);
        assert_eq!((up.last_failure, up.last_transition_ms), (Some("connect"), Some(40)));
    }

    #[test]
    fn old_samples_are_dropped_and_removed_routes_count_nothing() {
        let mut queue = VecDeque::new();
        (0..MAX_SAMPLES + 3).for_each(|item| push(&mut queue, item, MAX_SAMPLES));
        assert_eq!((queue.len(), queue.front()), (MAX_SAMPLES, Some(&3)));
        let more = Totals { requests: 7, ..Totals::default() };
        assert_eq!(more.since(&Totals::default(), 1).requests, 7);
        assert_eq!(Totals::default().since(&more, 1).requests, 0);
    }

    #[test]
    fn latencies_are_those_of_the_last_minute() {
        let (samples, histogram) = (Samples::default(), Histogram::default());
        let current = || {
            let mut sum = Distribution::default();
            sum.add(&histogram);
            sum
        };
        let sample = || {
            let durations = [("api".to_owned(), current())].into();
            push(&mut samples.lock().totals, Totals { durations, ..Totals::default() }, MINUTE + 1);
        };
        assert_eq!(samples.durations("api", &current()).count(), 0, "before the first sample");
        // One slow request at the start, then a fast one every second.
        histogram.observe(Duration::from_secs(9));
        for _ in 0..30 {
            sample();
            histogram.observe(Duration::from_millis(4));
        }
        assert_eq!(samples.durations("api", &current()).count(), 30, "since the first sample");
        for _ in 0..70 {
            sample();
            histogram.observe(Duration::from_millis(4));
        }
        let recent = samples.durations("api", &current());
        assert_eq!(recent.count(), 61, "since the sample of a minute ago");
        assert!(recent.quantile(1.0) <= Some(Duration::from_millis(5)), "the slow one is too old");
        assert_eq!(samples.durations("web", &current()).count(), 101, "a new route");
        samples.lock().totals.clear();
        assert_eq!(samples.durations("api", &current()).count(), 101);
    }

    #[test]
    fn the_variable_is_a_positive_number() {
        let values = [None, Some("10"), Some(" 7 "), Some("0"), Some("-1"), Some("x"), Some("")];
        assert_eq!(values.map(sample_every), [1, 10, 7, 1, 1, 1, 1]);
    }
}
