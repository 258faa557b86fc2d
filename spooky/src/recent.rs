//! The last minutes: samples of the counts at a fixed interval, from which recent latencies and rates come.
//!
//! `sampler` takes the samples; the metrics and the status page read them. No worker takes part.

use spooky_telemetry::metrics::Distribution;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Time between two samples.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);
/// Samples that are kept: ten minutes.
const KEPT: usize = 120;
/// How far recent latencies of routes go back.
const LATENCY_TIME: Duration = Duration::from_secs(60);
/// The name of the requests without a route.
pub(crate) const UNROUTED: &str = "unrouted";

/// The samples, oldest first.
#[derive(Default)]
pub(crate) struct Recent(Mutex<VecDeque<Sample>>);

/// The counts at one moment.
struct Sample {
    at: Instant,
    totals: Totals,
    /// By route; empty in samples that are too old for them.
    routes: Vec<(String, Distribution)>,
}

/// Requests that have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// By class of status; at 0 those without a response.
    pub(crate) classes: [u64; 6],
    /// Of all routes.
    pub(crate) durations: Distribution,
}

/// What happened between two samples.
#[allow(dead_code, reason = "the status page shows it")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    /// How long ago it ended.
    pub(crate) age: Duration,
    pub(crate) length: Duration,
    pub(crate) totals: Totals,
}

impl Recent {
    /// Takes a sample.
    pub(crate) fn add(&self, at: Instant, routes: Vec<(String, Distribution)>, classes: [u64; 6]) {
        let mut durations = Distribution::default();
        for (_, distribution) in &routes {
            durations.merge(distribution);
        }
        let mut samples = self.samples();
        for old in samples.iter_mut().filter(|sample| at.saturating_duration_since(sample.at) > 2 * LATENCY_TIME) {
            old.routes = Vec::new();
        }
        if samples.len() == KEPT {
            samples.pop_front();
        }
        samples.push_back(Sample { at, totals: Totals { classes, durations }, routes });
    }

    /// Returns the durations of a route in the last [`LATENCY_TIME`]. `current` has all of them.
    pub(crate) fn durations(&self, route: &str, current: &Distribution, now: Instant) -> Distribution {
        let samples = self.samples();
        let is_old = |sample: &&Sample| now.saturating_duration_since(sample.at) >= LATENCY_TIME;
        let before = samples.iter().rev().find(is_old).and_then(|sample| {
            let (_, durations) = sample.routes.iter().find(|(name, _)| name == route)?;
            Some(durations.clone())
        });
        // A route that is not in the sample has been added since.
        current.since(&before.unwrap_or_default())
    }

    /// Returns the intervals between the samples, oldest first.
    #[allow(dead_code, reason = "the status page shows them")]
    pub(crate) fn intervals(&self, now: Instant) -> Vec<Interval> {
        let samples = self.samples();
        let pairs = samples.iter().zip(samples.iter().skip(1));
        pairs
            .map(|(before, after)| {
                let mut classes = after.totals.classes;
                for (count, before) in classes.iter_mut().zip(before.totals.classes) {
                    *count = count.saturating_sub(before); // less than before: a route was removed
                }
                Interval {
                    age: now.saturating_duration_since(after.at),
                    length: after.at.saturating_duration_since(before.at),
                    totals: Totals { classes, durations: after.totals.durations.since(&before.totals.durations) },
                }
            })
            .collect()
    }

    fn samples(&self) -> MutexGuard<'_, VecDeque<Sample>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the value of `SPOOKY_ROUTE_LATENCY_SAMPLE_EVERY`: 1 unless it is a number above 0.
pub(crate) fn sample_every(value: Option<&str>) -> u64 {
    value.and_then(|value| value.trim().parse().ok()).filter(|every| *every > 0).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spooky_telemetry::metrics::Histogram;

    fn distribution(histogram: &Histogram) -> Distribution {
        let mut sum = Distribution::default();
        sum.add(histogram);
        sum
    }

    #[test]
    fn latencies_are_those_of_the_last_minute() {
        let (recent, start, histogram) = (Recent::default(), Instant::now(), Histogram::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut classes = [0; 6];
        // One slow request at the start, then a fast one every five seconds.
        histogram.observe(Duration::from_secs(9));
        for tick in 0..=20 {
            recent.add(at(5 * tick), vec![("api".to_owned(), distribution(&histogram))], classes);
            histogram.observe(Duration::from_millis(4));
            classes[2] += 1;
        }
        let durations = |now| recent.durations("api", &distribution(&histogram), at(now));
        assert_eq!(durations(100).count(), 13, "from the sample at 40 s on");
        assert!(durations(100).quantile(1.0) <= Some(Duration::from_millis(5)), "the slow one is too old");
        assert_eq!(durations(59).count(), 22, "there is no sample that is old enough");
        assert_eq!(durations(3600).count(), 1, "no sample was taken for an hour");
        assert_eq!(recent.durations("web", &distribution(&histogram), at(100)).count(), 22, "a new route");
    }

    #[test]
    fn intervals_are_differences_and_bounded() {
        let (recent, start) = (Recent::default(), Instant::now());
        for tick in 0..=u64::from(KEPT as u32) {
            recent.add(start + INTERVAL * tick as u32, Vec::new(), [0, 0, 3 * tick, 0, 0, tick]);
        }
        recent.add(start + INTERVAL * 121, Vec::new(), [0, 0, 400, 0, 0, 0]);
        let intervals = recent.intervals(start + INTERVAL * 122);
        assert_eq!(intervals.len(), KEPT - 1);
        assert_eq!(intervals[0].totals.classes, [0, 0, 3, 0, 0, 1]);
        assert_eq!((intervals[0].length, intervals[0].age), (INTERVAL, INTERVAL * 119));
        let last = intervals.last().unwrap();
        assert_eq!(last.totals.classes, [0, 0, 40, 0, 0, 0], "never below zero when a route goes");
    }

    #[test]
    fn the_variable_is_a_positive_number() {
        let values = [None, Some("10"), Some(" 7 "), Some("0"), Some("-1"), Some("x"), Some("")];
        assert_eq!(values.map(sample_every), [1, 10, 7, 1, 1, 1, 1]);
    }
}
