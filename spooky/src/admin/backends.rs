//! The state of the backends in the snapshot in effect.

use super::{AdminState, sampling::BackendEvents};
use crate::snapshot::{CompiledUpstream, Snapshot};
use spooky_config::Upstream;
use spooky_control::{BackendState, Backends, Draining, UpstreamState};
use spooky_lb::{attempt::breaker::Circuit, pool::WEIGHT_STEPS, time::Nanos};
use std::time::Duration;

pub(super) fn all(snapshot: &Snapshot, admin: &AdminState, now: Nanos) -> Backends {
    let events = admin.backend_events();
    let upstreams = snapshot.config.upstreams.iter().zip(&snapshot.upstreams).map(|(upstream, compiled)| {
        let backends = (0..upstream.backends.len()).filter_map(|index| state(upstream, compiled, &events, index, now));
        UpstreamState {
            algorithm: upstream.load_balancing.algorithm.to_string(),
            backends: backends.collect(),
            name: upstream.name.clone(),
        }
    });
    Backends { upstreams: upstreams.collect() }
}

pub(super) fn one(
    snapshot: &Snapshot,
    admin: &AdminState,
    upstream: &str,
    id: &str,
    now: Nanos,
) -> Option<BackendState> {
    let (upstream, compiled, index) = find(snapshot, upstream, id)?;
    state(upstream, compiled, &admin.backend_events(), index, now)
}

/// Changes whether a backend gets new requests. Requests that wait for a backend try it if it gets them again.
pub(super) fn drain(snapshot: &Snapshot, upstream: &str, id: &str, draining: Draining) {
    let Some((upstream, compiled, index)) = find(snapshot, upstream, id) else { return };
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

fn find<'s>(snapshot: &'s Snapshot, upstream: &str, id: &str) -> Option<(&'s Upstream, &'s CompiledUpstream, usize)> {
    let mut all = snapshot.config.upstreams.iter().zip(&snapshot.upstreams);
    let (upstream, compiled) = all.find(|(found, _)| found.name == upstream)?;
    let index = upstream.backends.iter().position(|backend| backend.id == id)?;
    Some((upstream, compiled, index))
}

fn state(
    upstream: &Upstream,
    compiled: &CompiledUpstream,
    events: &BackendEvents,
    index: usize,
    now: Nanos,
) -> Option<BackendState> {
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
        connections: 0,
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
