//! From the configuration to what the data plane works with: the snapshot, and the settings of both sides.

use super::StartError;
use crate::snapshot::{Host, Limits, Snapshot, Timeouts, Upstream};
use spooky_bridge::message::{
    Protocol,
    check::{HeadLimits, RequestRules},
    forwarded::ForwardedMode,
};
use spooky_config::{BackendScheme, Config, HostMode, Listener};
use spooky_edge::EdgeSettings;
use spooky_lb::{
    attempt::{AttemptOptions, breaker::BreakerOptions},
    balance::Algorithm,
    health::PassiveOptions,
    pool::{Pool, PoolOptions, Spec},
    route::{HostPattern, Rule, Table},
    upstream::UpstreamOptions,
};
use spooky_net::tls::{CertificateFiles, NamedFiles, Store, client, server};
use spooky_transport::{BackendSpec, Options, Scheme};
use std::{sync::Arc, time::Instant};

/// Response data that one client connection may hold unacknowledged. Bounds what a client that reads but never
/// acknowledges costs; enough for 1 Gbit/s at 60 ms.
const SEND_WINDOW: u64 = 8 * 1024 * 1024;
/// What `allow` lists when every method is accepted.
const COMMON_METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE";

/// Compiles the configuration.
pub(super) fn snapshot(config: Config) -> Result<Arc<Snapshot>, StartError> {
    let routes = Table::build(config.upstreams.iter().enumerate().map(|(number, upstream)| Rule {
        upstream: number,
        name: upstream.name.clone(),
        host: upstream.route.host.as_ref().map(|host| HostPattern::parse(&host.to_string())),
        path_prefix: upstream.route.path_prefix.clone(),
        method: upstream.route.method.as_ref().map(|method| method.as_str().to_owned()),
    }));
    let upstreams = config.upstreams.iter().map(|upstream| compile_upstream(&config, upstream));
    let protocol = &config.resilience.protocol;
    let methods: Vec<_> = protocol.allowed_methods.iter().map(spooky_config::Method::as_str).collect();
    Ok(Arc::new(Snapshot {
        routes,
        upstreams: upstreams.collect::<Result<_, _>>()?,
        limits: Limits {
            max_request_body: config.performance.max_request_body_bytes,
            max_response_body: config.performance.max_response_body_bytes,
        },
        timeout_status: protocol.timeout_status,
        retry_after_seconds: seconds(config.resilience.route_queue.shed_retry_after_seconds),
        allowed_methods: if methods.is_empty() { COMMON_METHODS.to_owned() } else { methods.join(", ") },
        epoch: Instant::now(),
        config,
    }))
}

fn seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn compile_upstream(config: &Config, upstream: &spooky_config::Upstream) -> Result<Upstream, StartError> {
    let timeouts = &upstream.timeouts;
    Ok(Upstream {
        timeouts: Timeouts {
            first_byte: timeouts.first_byte_ms,
            body_idle: timeouts.body_idle_ms,
            client_body_idle: config.performance.client_body_idle_timeout_ms,
        },
        forwarded: match upstream.forwarded_headers.mode {
            spooky_config::ForwardedMode::Overwrite => ForwardedMode::Overwrite,
            spooky_config::ForwardedMode::Append => ForwardedMode::Append,
            spooky_config::ForwardedMode::Preserve => ForwardedMode::Preserve,
        },
        host: match upstream.host_policy.mode {
            HostMode::PassThrough => Host::PassThrough,
            HostMode::Rewrite => Host::Rewrite(upstream.host_policy.host.clone().unwrap_or_default().into_bytes()),
            HostMode::Upstream => Host::Upstream(
                upstream.backends.iter().map(|backend| backend.address.authority().into_bytes()).collect(),
            ),
        },
        backends: backends(upstream)?,
        pool: Arc::new(pool(config, upstream)),
        options: options(config, upstream),
    })
}

fn pool(config: &Config, upstream: &spooky_config::Upstream) -> Pool {
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
            probed: false, // no prober runs yet: a backend returns by a trial request
        }
    });
    let options = PoolOptions {
        inflight_limit: count(config.performance.per_backend_inflight_limit),
        slow_start: upstream.load_balancing.slow_start_ms,
        panic_threshold_percent: u32::from(upstream.load_balancing.panic_threshold_percent),
        breaker: breaker.enabled.then(|| BreakerOptions {
            failure_threshold: count(breaker.failure_threshold),
            open: breaker.open_ms,
            half_open_max_probes: count(breaker.half_open_max_probes),
            count_5xx: breaker.count_5xx,
        }),
    };
    Pool::build(specs.collect(), options, None)
}

fn options(config: &Config, upstream: &spooky_config::Upstream) -> UpstreamOptions {
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
        ..UpstreamOptions::default()
    }
}

/// Counts in the configuration are far below this bound in practice; above it they mean "no limit".
fn count(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// The backends as the transport wants them. All of an upstream share one TLS context, so that connections can be shared.
fn backends(upstream: &spooky_config::Upstream) -> Result<Vec<BackendSpec>, StartError> {
    let needs_tls = upstream.backends.iter().any(|backend| backend.address.scheme != BackendScheme::Http);
    let tls = if needs_tls { Some(client::config(&client_options(upstream)).map_err(start_error)?) } else { None };
    let specs = upstream.backends.iter().map(|backend| {
        let scheme = match (&backend.address.scheme, &tls) {
            (BackendScheme::Http, _) | (_, None) => Scheme::Http,
            (BackendScheme::Https | BackendScheme::Detect, Some(tls)) => {
                let name = upstream.tls.server_name.clone().unwrap_or_else(|| backend.address.host.clone());
                let server_name = name.clone().try_into().map_err(|_| {
                    StartError(format!(
                        "Backend '{}' in upstream '{}': '{name}' is no TLS server name",
                        backend.id, upstream.name
                    ))
                })?;
                Scheme::Https { tls: tls.clone(), server_name }
            }
        };
        Ok(BackendSpec {
            host: backend.address.host.clone(),
            port: backend.address.port,
            scheme,
            protocol: spooky_transport::Protocol::H2,
            connect_timeout: upstream.timeouts.connect_ms,
        })
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
        alpn: vec![b"h2".to_vec()],
    }
}

/// The settings of a listener's edge, for worker 0.
pub(super) fn edge(
    config: &Config,
    listener: &Listener,
    resumption: &server::Resumption,
    max_udp_payload: u16,
    workers: u16,
) -> Result<EdgeSettings, StartError> {
    let (performance, protocol) = (&config.performance, &config.resilience.protocol);
    let store = Arc::new(certificates(listener)?);
    let contexts = server::contexts(&store, &server::ServerOptions::default(), resumption).map_err(start_error)?;
    Ok(EdgeSettings {
        tls: contexts.quic,
        worker: 0,
        workers,
        idle_timeout: performance.quic_max_idle_timeout_ms,
        max_data: performance.quic_initial_max_data,
        max_stream_data: performance.quic_initial_max_stream_data,
        max_streams_bidi: performance.quic_initial_max_streams_bidi as u64,
        max_streams_uni: performance.quic_initial_max_streams_uni as u64,
        max_udp_payload,
        active_migration: performance.quic_active_migration,
        send_window: SEND_WINDOW,
        head_limits: HeadLimits {
            max_fields: protocol.max_headers_count,
            max_bytes: protocol.max_headers_bytes as usize,
        },
        rules: RequestRules {
            extended_connect: false,
            enforce_authority_host_match: protocol.enforce_authority_host_match,
            reject_ambiguous_paths: protocol.reject_ambiguous_paths,
            ..RequestRules::new(Protocol::Http3)
        },
        max_connections: performance.max_active_connections.div_ceil(usize::from(workers)),
    })
}

fn certificates(listener: &Listener) -> Result<Store, StartError> {
    let tls = &listener.tls;
    let files = |section: String, cert: &std::path::Path, key: &std::path::Path, ocsp: &Option<std::path::PathBuf>| {
        CertificateFiles { section, cert: cert.to_owned(), key: key.to_owned(), ocsp: ocsp.clone(), is_client: false }
    };
    let section = format!("{}.tls", listener.key);
    let default = match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => Some(files(section.clone(), cert, key, &tls.ocsp_file)),
        _ => None,
    };
    let named = tls.certificates.iter().enumerate().map(|(at, entry)| NamedFiles {
        server_name: entry.server_name.clone(),
        files: files(format!("{section}.certificates[{at}]"), &entry.cert, &entry.key, &entry.ocsp_file),
    });
    let named: Vec<_> = named.collect();
    Store::load(&section, default.as_ref(), &named).map_err(start_error)
}

/// The settings of a worker's backend side.
pub(super) fn transport(config: &Config, seed: u64) -> Options {
    let performance = &config.performance;
    Options {
        connections_per_backend: performance.h2_connections_per_backend,
        idle_timeout: performance.h2_pool_idle_timeout_ms,
        keepalive_interval: Some(performance.h2_keepalive_interval_ms).filter(|interval| !interval.is_zero()),
        stream_window: u32::try_from(performance.stream_buffer_bytes).unwrap_or(u32::MAX >> 1),
        max_header_bytes: u32::try_from(performance.max_response_headers_bytes).unwrap_or(u32::MAX),
        seed,
        ..Options::default()
    }
}

fn start_error(error: impl std::fmt::Display) -> StartError {
    StartError(error.to_string())
}
