//! Takes the samples for `recent`, as a task of the main thread.

use crate::{
    recent::{INTERVAL, UNROUTED},
    state::State,
};
use spooky_telemetry::metrics::{Distribution, RouteCounts};
use std::{sync::Arc, time::Instant};
use tokio::time::{MissedTickBehavior, interval};

/// Takes samples as long as the process runs, if anything can read them.
pub(crate) async fn run(state: Arc<State>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(snapshot) = state.current.get() else { continue };
        if !snapshot.config.observability.metrics.enabled {
            return; // changes only with a restart
        }
        sample(&state, &snapshot.series.routes, Instant::now());
    }
}

fn sample(state: &State, routes: &[RouteCounts], now: Instant) {
    let configured = routes.iter().map(|route| (route.name.as_str(), &*route.workers));
    let all = configured.chain([(UNROUTED, state.metrics.unrouted())]);
    let sampled = all.map(|(name, workers)| {
        let mut durations = Distribution::default();
        for series in workers {
            durations.merge(&series.durations());
        }
        (name.to_owned(), durations)
    });
    state.recent.add(now, sampled.collect());
}
