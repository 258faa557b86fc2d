//! Compiles a configuration to a snapshot, and to the settings of the client and backend sides.

use super::{ClientTls, CompiledUpstream, HostPolicy, Limits, Snapshot, lb_options};
use crate::{start_error::StartError, state::State, stream_window};
use spooky_bridge::message::{
    Protocol,
    check::{HeadLimits, RequestRules},
    forwarded::ForwardedMode,
};
use spooky_config::{BackendProtocol, BackendScheme, Config, HostMode};
use spooky_edge::{ConnectionLimiter, EdgeSettings};
use spooky_lb::{
    admit::RouteLimits,
    attempt::Budget,
    route::{HostPattern, Rule, Table},
};
use spooky_net::tls::{ListenerTls, client};
use spooky_telemetry::metrics::{ClientCounts, ConfigSeries};
use spooky_transport::{BackendSpec, Options, Scheme};
use std::{sync::Arc, time::SystemTime};

/// Compiles a configuration. Upstreams and backends that are also in `previous` keep their counts and their health. Nothing
/// takes effect before the workers get the result and [`State::configure`] the limits.
pub(crate) fn compile(config: Config, state: &State, previous: Option<&Snapshot>) -> Result<Arc<Snapshot>, StartError> {
    let routes = Table::build(config.upstreams.iter().enumerate().map(|(number, upstream)| Rule {
        upstream: number,
        name: upstream.name.clone(),
        host: upstream.route.host.as_ref().map(|host| HostPattern::parse(&host.to_string())),
        path_prefix: upstream.route.path_prefix.clone(),
        method: upstream.route.method.as_ref().map(|method| method.as_str().to_owned()),
    }));
    let upstreams = config.upstreams.iter().map(|upstream| {
        let previous = previous.and_then(|snapshot| snapshot.upstream(&upstream.name));
        compile_upstream(&config, upstream, state, previous)
    });
    let series = ConfigSeries::new(&config, usize::from(state.workers), previous.map(|snapshot| &*snapshot.series));
    Ok(Arc::new(Snapshot {
        generation: previous.map_or(1, |previous| previous.generation + 1),
        routes,
        upstreams: upstreams.collect::<Result<_, _>>()?,
        limits: Limits {
            max_request_body: config.performance.max_request_body_bytes,
            max_response_body: Some(config.performance.max_response_body_bytes).filter(|most| *most > 0),
        },
        timeout_status: config.resilience.protocol.timeout_status,
        retry_after_seconds: seconds(config.resilience.route_queue.shed_retry_after_seconds),
        policy: lb_options::policy(&config),
        config,
        metrics: state.metrics.clone(),
        series: Arc::new(series),
        loaded_at: SystemTime::now(),
    }))
}

fn seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn compile_upstream(
    config: &Config,
    upstream: &spooky_config::Upstream,
    state: &State,
    previous: Option<&CompiledUpstream>,
) -> Result<CompiledUpstream, StartError> {
    let tls = client_tls(upstream, previous)?;
    let (backends, route_limit_options) =
        (backends(upstream, tls.as_ref(), previous)?, lb_options::route_limit_options(config, upstream));
    let route_limits = match previous {
        Some(previous) => previous.route_limits.clone(),
        None => RouteLimits::new(state.global_limits.clone(), usize::from(state.workers), &route_limit_options),
    };
    let budget_options = lb_options::route_budget_options(config, upstream);
    let budget = match previous {
        Some(previous) => previous.budget.clone(),
        None => Arc::new(Budget::new(usize::from(state.workers), &budget_options)),
    };
    Ok(CompiledUpstream {
        deadline_options: lb_options::deadline_options(config, upstream),
        forwarded: match upstream.forwarded_headers.mode {
            spooky_config::ForwardedMode::Overwrite => ForwardedMode::Overwrite,
            spooky_config::ForwardedMode::Append => ForwardedMode::Append,
            spooky_config::ForwardedMode::Preserve => ForwardedMode::Preserve,
        },
        host: match upstream.host_policy.mode {
            HostMode::PassThrough => HostPolicy::PassThrough,
            HostMode::Rewrite => {
                HostPolicy::Rewrite(upstream.host_policy.host.clone().unwrap_or_default().into_bytes())
            }
            HostMode::Upstream => HostPolicy::Upstream(
                upstream.backends.iter().map(|backend| backend.address.authority().into_bytes()).collect(),
            ),
        },
        backends,
        tls,
        pool: Arc::new(
            lb_options::pool(config, upstream, previous.map(|previous| &*previous.pool)).with_limits(&route_limits),
        ),
        route_limits,
        route_limit_options,
        budgets: config.resilience.retry_budget.enabled.then(|| [budget.clone(), state.retries.clone()]),
        budget,
        budget_options,
        options: lb_options::options(config, upstream),
        key: lb_options::key(upstream),
        sticky: lb_options::sticky(upstream),
    })
}

/// Returns the TLS context of an upstream's backends, if one may need it. Reuses the previous one if its options and files
/// are unchanged, so that connections stay open.
fn client_tls(
    upstream: &spooky_config::Upstream,
    previous: Option<&CompiledUpstream>,
) -> Result<Option<ClientTls>, StartError> {
    if upstream.backends.iter().all(|backend| backend.address.scheme == BackendScheme::Http) {
        return Ok(None);
    }
    let options = client_options(upstream);
    let fingerprint = options.fingerprint();
    if let Some(kept) = previous.and_then(|previous| previous.tls.clone()).filter(|tls| tls.fingerprint == fingerprint)
    {
        return Ok(Some(kept));
    }
    let context = client::config(&options).map_err(start_error)?;
    Ok(Some(ClientTls { context, fingerprint }))
}

/// Returns whether the TLS files of all upstreams still have the contents that `snapshot` has loaded.
pub(crate) fn has_same_upstream_files(snapshot: &Snapshot) -> bool {
    snapshot.config.upstreams.iter().zip(&snapshot.upstreams).all(|(upstream, compiled)| {
        let is_same = |tls: &ClientTls| tls.fingerprint == client_options(upstream).fingerprint();
        compiled.tls.as_ref().is_none_or(is_same)
    })
}

/// Returns the backends for the transport. They share one TLS context, so that backends of one origin share connections.
fn backends(
    upstream: &spooky_config::Upstream,
    tls: Option<&ClientTls>,
    previous: Option<&CompiledUpstream>,
) -> Result<Vec<BackendSpec>, StartError> {
    let specs = upstream.backends.iter().map(|backend| {
        let scheme = match (&backend.address.scheme, tls) {
            (BackendScheme::Http, _) | (_, None) => Scheme::Http,
            (BackendScheme::Https | BackendScheme::Detect, Some(tls)) => {
                let name = upstream.tls.server_name.clone().unwrap_or_else(|| backend.address.host.clone());
                let server_name = name.clone().try_into().map_err(|_| {
                    StartError(format!(
                        "Backend '{}' in upstream '{}': '{name}' is not a valid TLS server name",
                        backend.id, upstream.name
                    ))
                })?;
                let tls = tls.context.clone();
                if backend.address.scheme == BackendScheme::Detect {
                    Scheme::Detect { tls, server_name }
                } else {
                    Scheme::Https { tls, server_name }
                }
            }
        };
        let mut spec = BackendSpec {
            host: backend.address.host.clone(),
            port: backend.address.port,
            scheme,
            protocol: match backend.protocol {
                BackendProtocol::Auto => spooky_transport::Protocol::Auto,
                BackendProtocol::H2 => spooky_transport::Protocol::H2,
                BackendProtocol::Http1 => spooky_transport::Protocol::Http1,
            },
            idle: Arc::default(),
            connect_timeout: upstream.timeouts.connect_ms,
        };
        if let Some(earlier) =
            previous.and_then(|previous| previous.backends.iter().find(|old| spec.is_same_origin(old)))
        {
            spec.idle = earlier.idle.clone();
        }
        Ok(spec)
    });
    specs.collect()
}

fn client_options(upstream: &spooky_config::Upstream) -> client::ClientTlsOptions {
    let tls = &upstream.tls;
    client::ClientTlsOptions {
        section: format!("upstream.{}.tls", upstream.name),
        verify_certificates: tls.verify_certificates,
        strict_sni: tls.strict_sni,
        ca_file: tls.ca_file.clone(),
        ca_dir: tls.ca_dir.clone(),
        use_system_roots: tls.use_system_roots,
        client_cert: tls.client_cert.clone(),
        client_key: tls.client_key.clone(),
    }
}

/// Returns the settings of a listener, for worker 0.
pub(crate) fn edge_settings(
    config: &Config,
    tls: &ListenerTls,
    state: &State,
    max_udp_payload: u16,
    limiter: Arc<dyn ConnectionLimiter>,
) -> EdgeSettings {
    let (performance, protocol) = (&config.performance, &config.resilience.protocol);
    EdgeSettings {
        tls: tls.contexts.quic.clone(),
        tls_unvalidated: tls.contexts.quic_unvalidated.clone(),
        certificates: tls.certificates.clone(),
        worker: 0,
        workers: state.workers,
        process: state.upgrade.process,
        idle_timeout: performance.quic_max_idle_timeout_ms,
        max_data: performance.quic_initial_max_data,
        max_stream_data: performance.quic_initial_max_stream_data,
        max_streams_bidi: performance.quic_initial_max_streams_bidi as u64,
        max_streams_uni: performance.quic_initial_max_streams_uni as u64,
        max_udp_payload,
        active_migration: performance.quic_active_migration,
        responses: state.responses.clone(),
        stream_buffer: usize::try_from(performance.stream_buffer_bytes).unwrap_or(usize::MAX),
        stall_timeout: performance.client_stall_timeout_ms,
        header_timeout: performance.client_header_timeout_ms,
        head_limits: HeadLimits {
            max_fields: protocol.max_headers_count,
            max_bytes: protocol.max_headers_bytes as usize,
        },
        rules: RequestRules {
            extended_connect: protocol.allow_websocket,
            enforce_authority_host_match: protocol.enforce_authority_host_match,
            reject_ambiguous_paths: protocol.reject_ambiguous_paths,
            ..RequestRules::new(Protocol::Http3)
        },
        limiter,
        keys: state.quic_keys.clone(),
        counts: ClientCounts::default(),
        handshake_timeout: performance.client_handshake_timeout_ms,
        qlog: state.qlog.get().cloned(),
    }
}

/// Returns the transport options of the workers and of the health checker.
pub(crate) fn transport_options(config: &Config) -> Options {
    let performance = &config.performance;
    let max_stream_window = u32::try_from(performance.stream_buffer_bytes).unwrap_or(u32::MAX >> 1);
    Options {
        connections_per_backend: performance.h2_connections_per_backend,
        max_idle_per_backend: performance.h2_pool_max_idle_per_backend,
        idle_timeout: performance.h2_pool_idle_timeout_ms,
        keepalive_interval: Some(performance.h2_keepalive_interval_ms).filter(|interval| !interval.is_zero()),
        stream_window: stream_window::LARGE.min(max_stream_window),
        max_stream_window,
        max_header_bytes: u32::try_from(performance.max_response_headers_bytes).unwrap_or(u32::MAX),
        ..Options::default()
    }
}

pub(super) fn start_error(error: impl std::fmt::Display) -> StartError {
    StartError(error.to_string())
}
