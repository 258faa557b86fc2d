//! Converts the configuration to the options of `lb`: policy, limits, pools, algorithms and their keys, attempts.

use super::{KeySource, Sticky};
use crate::state::ProcessLimits;
use spooky_config::{Config, HashKey, Performance, QuicRetry};
use spooky_lb::{
    admit::{
        AdaptiveOptions, AddressValidation, BrownoutOptions, ConnectRules, GlobalLimitOptions, Policy, PolicyOptions,
        RateOptions, RouteLimitOptions, client_limit,
    },
    attempt::{AttemptOptions, BudgetOptions, DeadlineOptions, HedgeOptions, breaker::BreakerOptions},
    balance::{Algorithm, key},
    health::{ActiveOptions, PassiveOptions},
    pool::{Pool, PoolOptions, Spec},
    upstream::UpstreamOptions,
};

pub(crate) fn process_limits(config: &Config) -> ProcessLimits {
    let (performance, budget) = (&config.performance, &config.resilience.retry_budget);
    ProcessLimits {
        global_limits: global_limit_options(config),
        body_bytes: performance.request_buffer_global_cap_bytes,
        response_bytes: performance.response_buffer_global_cap_bytes,
        connections: count(performance.max_active_connections),
        connections_per_ip: count(performance.max_connections_per_ip),
        connection_rate: RateOptions {
            per_second: count(performance.new_connections_per_sec),
            burst: count(performance.new_connections_burst),
        },
        address_validation: address_validation(performance),
        retries: budget_options(config, budget.ratio_percent),
        name_refresh: performance.backend_dns_refresh_enabled.then_some(performance.backend_dns_refresh_interval_ms),
        is_tracing: config.observability.tracing.enabled,
    }
}

pub(super) fn route_limit_options(config: &Config, upstream: &spooky_config::Upstream) -> RouteLimitOptions {
    let resilience = &config.resilience;
    let queue = &resilience.route_queue;
    let limit = count(config.performance.per_upstream_inflight_limit);
    RouteLimitOptions {
        inflight_limit: limit,
        client_limit: client_limit(limit, u32::from(config.performance.max_client_share_percent)),
        queue_cap: count(queue.caps.get(&upstream.name).copied().unwrap_or(queue.default_cap)),
        max_wait: queue.max_wait_ms,
        core: resilience.brownout.core_routes.contains(&upstream.name),
    }
}

pub(super) fn route_budget_options(config: &Config, upstream: &spooky_config::Upstream) -> BudgetOptions {
    let budget = &config.resilience.retry_budget;
    let ratio = budget.per_route_ratio_percent.get(&upstream.name).copied().unwrap_or(budget.ratio_percent);
    budget_options(config, ratio)
}

fn global_limit_options(config: &Config) -> GlobalLimitOptions {
    let (adaptive, brownout) = (&config.resilience.adaptive_admission, &config.resilience.brownout);
    GlobalLimitOptions {
        inflight_limit: count(config.performance.global_inflight_limit),
        queue_cap: count(config.resilience.route_queue.global_cap),
        adaptive: adaptive.enabled.then(|| AdaptiveOptions {
            min_limit: count(adaptive.min_limit),
            max_limit: count(adaptive.max_limit),
            decrease_step: count(adaptive.decrease_step),
            increase_step: count(adaptive.increase_step),
            high_latency: adaptive.high_latency_ms,
        }),
        // Brownout has no effect without core routes.
        brownout: (brownout.enabled && !brownout.core_routes.is_empty()).then(|| BrownoutOptions {
            trigger_percent: u32::from(brownout.trigger_inflight_percent),
            recover_percent: u32::from(brownout.recover_inflight_percent),
        }),
    }
}

fn budget_options(config: &Config, ratio_percent: u8) -> BudgetOptions {
    let budget = &config.resilience.retry_budget;
    BudgetOptions {
        ratio_percent: u32::from(ratio_percent),
        min_retries: count(budget.min_retries),
        window: budget.window_ms,
    }
}

/// Returns the checks before routing.
pub(super) fn policy(config: &Config) -> Policy {
    let protocol = &config.resilience.protocol;
    let words = |methods: &[spooky_config::Method]| methods.iter().map(|method| method.as_str().to_owned()).collect();
    Policy::new(PolicyOptions {
        allowed_methods: words(&protocol.allowed_methods),
        early_data_methods: words(&protocol.early_data_safe_methods),
        denied_path_prefixes: protocol.denied_path_prefixes.clone(),
        connect: protocol.allow_connect.then(|| ConnectRules {
            allowed_ports: protocol.connect_allowed_ports.clone(),
            allowed_authorities: protocol.connect_allowed_authorities.clone(),
        }),
    })
}

/// Returns the timeouts that the exchange checks (docs/reference/behaviour.md#timeouts). The timeouts before the response
/// head are part of the attempts.
pub(super) fn deadline_options(config: &Config, upstream: &spooky_config::Upstream) -> DeadlineOptions {
    let timeouts = &upstream.timeouts;
    DeadlineOptions {
        upload_idle: config.performance.client_body_idle_timeout_ms,
        client_stall: config.performance.client_stall_timeout_ms,
        client_min_rate: config.performance.client_min_rate_bytes_per_sec as u64,
        first_byte: timeouts.first_byte_ms,
        body_idle: timeouts.body_idle_ms,
        tunnel_idle: timeouts.tunnel_idle_ms,
        lifetime: Some(timeouts.stream_lifetime_ms).filter(|lifetime| !lifetime.is_zero()),
    }
}

/// Builds the pool. Backends of the previous pool keep their state.
pub(super) fn pool(config: &Config, upstream: &spooky_config::Upstream, previous: Option<&Pool>) -> Pool {
    let breaker = &config.resilience.circuit_breaker;
    let specs = upstream.backends.iter().map(|backend| {
        let passive = &backend.passive_health;
        Spec {
            id: backend.id.clone(),
            address: backend.address.written.clone(),
            weight: backend.weight,
            passive: passive.enabled.then(|| PassiveOptions {
                failure_threshold: count(passive.failure_threshold),
                success_threshold: count(passive.success_threshold),
                cooldown: passive.cooldown_ms,
                count_5xx: passive.count_5xx,
            }),
            probed: backend.health_check.is_some(),
        }
    });
    let limit = count(config.performance.per_backend_inflight_limit);
    let options = PoolOptions {
        inflight_limit: limit,
        client_limit: client_limit(limit, u32::from(config.performance.max_client_share_percent)),
        slow_start: upstream.load_balancing.slow_start_ms,
        panic_threshold_percent: u32::from(upstream.load_balancing.panic_threshold_percent),
        max_ejected_percent: u32::from(upstream.passive_health.max_ejected_percent),
        breaker: breaker.enabled.then(|| BreakerOptions {
            failure_threshold: count(breaker.failure_threshold),
            open: breaker.open_ms,
            half_open_max_probes: count(breaker.half_open_max_probes),
            max_open_percent: u32::from(breaker.max_open_percent),
            count_5xx: breaker.count_5xx,
        }),
    };
    Pool::build(specs.collect(), options, previous)
}

pub(super) fn options(config: &Config, upstream: &spooky_config::Upstream) -> UpstreamOptions {
    UpstreamOptions {
        algorithm: match upstream.load_balancing.algorithm {
            spooky_config::Algorithm::RoundRobin => Algorithm::RoundRobin,
            spooky_config::Algorithm::Random => Algorithm::Random,
            spooky_config::Algorithm::ConsistentHash => Algorithm::ConsistentHash,
            spooky_config::Algorithm::LeastConnections => Algorithm::LeastConnections,
            spooky_config::Algorithm::LatencyAware => Algorithm::LatencyAware,
            spooky_config::Algorithm::StickyCid => Algorithm::StickyCid,
        },
        load_factor: upstream.load_balancing.load_factor,
        attempt: AttemptOptions {
            max_retries: count(config.resilience.retry_budget.max_retries),
            response_timeout: upstream.timeouts.response_ms,
            total_timeout: upstream.timeouts.total_ms,
        },
        hedge: hedge(config, upstream),
    }
}

fn hedge(config: &Config, upstream: &spooky_config::Upstream) -> Option<HedgeOptions> {
    let hedging = &config.resilience.hedging;
    let is_listed = hedging.route_allowlist.is_empty() || hedging.route_allowlist.contains(&upstream.name);
    (hedging.enabled && is_listed).then(|| HedgeOptions {
        delay: hedging.delay_ms,
        safe_methods: hedging.safe_methods.iter().map(|method| method.as_str().to_owned()).collect(),
    })
}

pub(crate) fn probe_options(check: &spooky_config::HealthCheck) -> ActiveOptions {
    ActiveOptions {
        interval: check.interval,
        failure_threshold: count(check.failure_threshold),
        success_threshold: count(check.success_threshold),
        cooldown: check.cooldown_ms,
    }
}

/// Returns what the algorithm hashes; `KeySource::None` if it has no key.
pub(super) fn key(upstream: &spooky_config::Upstream) -> KeySource {
    match upstream.load_balancing.algorithm {
        spooky_config::Algorithm::StickyCid => return KeySource::Connection,
        spooky_config::Algorithm::ConsistentHash => {}
        _ => return KeySource::None,
    }
    match &upstream.load_balancing.key {
        HashKey::Header(name) => KeySource::Header(name.as_str().to_ascii_lowercase().into_bytes().into()),
        HashKey::Cookie(name) => KeySource::Cookie(name.as_bytes().into()),
        HashKey::Query(name) => KeySource::Query(name.as_bytes().into()),
        HashKey::Path => KeySource::Path,
        HashKey::Authority => KeySource::Authority,
        HashKey::Method => KeySource::Method,
        HashKey::Cid => KeySource::Connection,
        HashKey::ClientIp => KeySource::ClientIp,
    }
}

pub(super) fn sticky(upstream: &spooky_config::Upstream) -> Option<Sticky> {
    (upstream.load_balancing.algorithm == spooky_config::Algorithm::StickyCid).then(|| Sticky {
        name: key::hash(upstream.name.as_bytes()),
        backends: upstream.backends.iter().map(|backend| key::hash(backend.address.written.as_bytes())).collect(),
    })
}

fn address_validation(performance: &Performance) -> AddressValidation {
    match performance.quic_retry {
        QuicRetry::Auto => AddressValidation::FromHandshakes(count(performance.quic_retry_handshakes)),
        QuicRetry::Always => AddressValidation::Always,
        QuicRetry::Off => AddressValidation::Never,
    }
}

/// Larger values mean "no limit" in practice.
/// Larger values mean "no limit" in practice.
fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
