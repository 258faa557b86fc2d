//! The last minutes of the process for the status page: requests by status, latency, and changes of health.
//!
//! Taken from the metrics once a second on a thread of the control plane, so that workers keep nothing for it. A change of
//! health that is undone within a second is not seen.

use crate::snapshot::Snapshot;
use spooky_control::{Quantiles, Status, StatusClasses, StatusSample, Transition};
use spooky_telemetry::metrics::{BackendCounts, Distribution, FAILURES, Metrics, RouteSeries};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Five minutes, at one sample a second.
const MAX_SAMPLES: usize = 300;
/// Number of samples over which latency and clients are counted.
const MINUTE: usize = 60;
const MAX_TRANSITIONS: usize = 50;

/// By names of upstream and backend.
pub(super) type BackendEvents = HashMap<(String, String), BackendEvent>;

/// What has happened to a backend last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BackendEvent {
    pub(super) last_failure: Option<&'static str>,
    pub(super) last_transition_ms: Option<u64>,
    is_healthy: bool,
    failures: [u64; FAILURES.len()],
}

/// Counts since the start.
#[derive(Clone, Debug, Default)]
struct Totals {
    requests: u64,
    classes: StatusClasses,
    clients: BTreeMap<&'static str, u64>,
    durations: Distribution,
}

#[derive(Default)]
pub(super) struct Samples {
    seconds: VecDeque<StatusSample>,
    /// The newest last; one more than a minute.
    totals: VecDeque<Totals>,
    transitions: VecDeque<Transition>,
    events: BackendEvents,
}

impl Samples {
    pub(super) fn add(&mut self, metrics: &Metrics, snapshot: &Snapshot, at_ms: u64) {
        let totals = totals(metrics, snapshot);
        if let Some(last) = self.totals.back() {
            push(&mut self.seconds, totals.since(last, at_ms), MAX_SAMPLES);
        }
        push(&mut self.totals, totals, MINUTE + 1);
        self.observe_backends(snapshot, at_ms);
    }

    pub(super) fn status(&self) -> Status {
        let (Some(first), Some(last)) = (self.totals.front(), self.totals.back()) else { return Status::default() };
        let durations = last.durations.since(&first.durations);
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

    pub(super) fn backend_events(&self) -> BackendEvents {
        self.events.clone()
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
fn event(before: Option<&BackendEvent>, is_healthy: bool, failures: [u64; FAILURES.len()], at_ms: u64) -> BackendEvent {
    let before = before.copied().unwrap_or(BackendEvent { is_healthy: true, ..BackendEvent::default() });
    let changed = FAILURES.into_iter().zip(failures.iter().zip(before.failures)).find(|(_, (now, then))| *now > then);
    BackendEvent {
        last_failure: changed.map(|(reason, _)| reason).or(before.last_failure),
        last_transition_ms: if is_healthy == before.is_healthy { before.last_transition_ms } else { Some(at_ms) },
        is_healthy,
        failures,
    }
}

fn failures(counts: &BackendCounts) -> [u64; FAILURES.len()] {
    let mut sums = [0; FAILURES.len()];
    for series in &counts.writers {
        sums.iter_mut().zip(&series.failures).for_each(|(sum, count)| *sum += count.get());
    }
    sums
}

fn totals(metrics: &Metrics, snapshot: &Snapshot) -> Totals {
    let mut totals = Totals { requests: metrics.total(|series| series.requests.get()), ..Totals::default() };
    let routes = snapshot.series.routes.iter().flat_map(|route| &route.workers);
    routes.chain(metrics.unrouted()).for_each(|series| totals.count(series));
    totals
}

impl Totals {
    fn count(&mut self, series: &RouteSeries) {
        self.durations.merge(&series.durations());
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

    #[test]
    fn a_change_of_health_and_the_newest_failure_are_noticed() {
        let mut failures = [0; FAILURES.len()];
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
}
