//! The state of the backends in the snapshot in effect.

use crate::{
    samples::{BackendEvents, Samples},
    snapshot::{CompiledUpstream, Snapshot},
};
use spooky_config::Upstream;
use spooky_control::{BackendState, Backends, Draining, UpstreamState};
use spooky_lb::{attempt::breaker::Circuit, pool::WEIGHT_STEPS, time::Nanos};
use spooky_telemetry::metrics::{BACKEND_PROTOCOLS, BackendSeries};
use std::{sync::Arc, time::Duration};

pub(super) fn all(snapshot: &Snapshot, samples: &Samples, now: Nanos) -> Backends {
    let events = samples.backend_events();
    let upstreams = (0..snapshot.upstreams.len()).filter_map(|number| {
        let (upstream, _) = at(snapshot, number)?;
        let backends = (0..upstream.backends.len()).filter_map(|index| state(snapshot, &events, (number, index), now));
        Some(UpstreamState {
            algorithm: upstream.load_balancing.algorithm.to_string(),
            backends: backends.collect(),
            name: upstream.name.clone(),
        })
    });
    Backends { upstreams: upstreams.collect() }
}

pub(super) fn one(
    snapshot: &Snapshot,
    samples: &Samples,
    upstream: &str,
    id: &str,
    now: Nanos,
) -> Option<BackendState> {
    state(snapshot, &samples.backend_events(), find(snapshot, upstream, id)?, now)
}

/// Changes whether a backend gets new requests. Requests that wait for a backend try it if it gets them again.
pub(super) fn drain(snapshot: &Snapshot, upstream: &str, id: &str, draining: Draining) {
    let Some((number, index)) = find(snapshot, upstream, id) else { return };
    let Some((upstream, compiled)) = at(snapshot, number) else { return };
    let Some(member) = compiled.pool.members().get(index) else { return };
    let (address, name) = (&member.spec.address, &upstream.name);
    let is_start = draining == Draining::Start;
    match (member.state.health.set_draining(is_start), is_start) {
        (false, _) => {}
        (true, true) => tracing::info!("Backend {address} drains upstream={name} id={id}"),
        (true, false) => {
            tracing::info!("Backend {address} gets requests again upstream={name} id={id}");
            compiled.pool.on_recovery();
        }
    }
}

/// Returns the numbers of an upstream and of its backend.
fn find(snapshot: &Snapshot, upstream: &str, id: &str) -> Option<(usize, usize)> {
    let number = snapshot.config.upstreams.iter().position(|found| found.name == upstream)?;
    let (upstream, _) = at(snapshot, number)?;
    Some((number, upstream.backends.iter().position(|backend| backend.id == id)?))
}

fn at(snapshot: &Snapshot, number: usize) -> Option<(&Upstream, &CompiledUpstream)> {
    snapshot.config.upstreams.get(number).zip(snapshot.upstreams.get(number))
}

/// Returns the open connections of all workers and of the health checker.
fn connections(snapshot: &Snapshot, (number, index): (usize, usize)) -> u64 {
    let counts = snapshot.series.routes.get(number).and_then(|route| route.backends.get(index));
    let writers = counts.map_or(&[][..], |counts| &counts.writers);
    let of = |series: &Arc<BackendSeries>| {
        let states = (0..BACKEND_PROTOCOLS.len()).flat_map(|protocol| [(protocol, 0), (protocol, 1)]);
        states.map(|(protocol, state)| series.connections.get(protocol, state)).sum::<u64>()
    };
    writers.iter().map(of).sum()
}

fn state(
    snapshot: &Snapshot,
    events: &BackendEvents,
    (number, index): (usize, usize),
    now: Nanos,
) -> Option<BackendState> {
    let (upstream, compiled) = at(snapshot, number)?;
    let (configured, member) = (upstream.backends.get(index)?, compiled.pool.members().get(index)?);
    let state = &member.state;
    let event = events.get(&(upstream.name.clone(), configured.id.clone())).copied().unwrap_or_default();
    let circuit = match state.breaker.state(now) {
        Circuit::Closed => "closed",
        Circuit::HalfOpen => "half_open",
        Circuit::Open => "open",
    };
    Some(BackendState {
        active: state.health.active_up(),
        address: configured.address.written.clone(),
        circuit,
        connections: connections(snapshot, (number, index)),
        draining: state.health.is_draining(),
        effective_weight: f64::from(compiled.pool.effective_weight(index, now)) / f64::from(WEIGHT_STEPS),
        ewma_ms: Some(state.latency.average()).filter(|average| !average.is_zero()).map(millis),
        healthy: state.health.is_healthy(),
        id: configured.id.clone(),
        in_flight: state.in_flight(),
        last_failure: event.last_failure.map(str::to_owned),
        last_transition_ms: event.last_transition_ms,
        passive: state.health.passive_up(),
        protocol: configured.protocol.to_string(),
        weight: member.spec.weight,
    })
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
