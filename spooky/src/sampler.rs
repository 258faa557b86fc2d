//! Takes the samples for `recent`, as a task of the main thread.

use crate::{
    recent::{INTERVAL, UNROUTED},
    state::State,
};
use spooky_telemetry::metrics::{Distribution, RouteCounts, RouteSeries};
use std::{sync::Arc, time::Instant};
use tokio::time::{MissedTickBehavior, interval};

/// Takes samples as long as the process runs, if anything can read them.
pub(crate) async fn run(state: Arc<State>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(snapshot) = state.current.get() else { continue };
        let observability = &snapshot.config.observability;
        if !observability.metrics.enabled && !observability.control_api.enabled {
            return; // both change only with a restart
        }
        sample(&state, &snapshot.series.routes, Instant::now());
    }
}

fn sample(state: &State, routes: &[RouteCounts], now: Instant) {
    let mut classes = [0; 6];
    let configured = routes.iter().map(|route| (route.name.as_str(), &*route.workers));
    let all = configured.chain([(UNROUTED, state.metrics.unrouted())]);
    let sampled = all.map(|(name, workers)| {
        let mut durations = Distribution::default();
        for series in workers {
            durations.merge(&series.durations());
            add_classes(&mut classes, series);
        }
        (name.to_owned(), durations)
    });
    let sampled = sampled.collect();
    state.recent.add(now, sampled, classes);
}

fn add_classes(classes: &mut [u64; 6], series: &RouteSeries) {
    series.for_each_status(|_, status, _, count| {
        if let Some(class) = classes.get_mut((status / 100) as usize) {
            *class += count;
        }
    });
}
