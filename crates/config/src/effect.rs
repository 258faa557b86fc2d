//! Tests that every key of the configuration has an effect: the process reads it, or the loader does.

use crate::spec::walk;
use std::{fs, path::Path};

/// Keys that are in effect although the process does not read them: the loader uses them, or copies them to another key.
const BY_THE_LOADER: &[&str] = &[
    "version",
    "listen.protocol",
    "performance.inflight_acquire_wait_ms",
    // It has no effect by design, and its own warning.
    "performance.unknown_length_response_prebuffer_bytes",
    // Their values are in `upstream.*.timeouts`.
    "performance.backend_connect_timeout_ms",
    "performance.backend_timeout_ms",
    "performance.backend_body_idle_timeout_ms",
    "performance.backend_body_total_timeout_ms",
    "performance.backend_total_request_timeout_ms",
    "performance.max_stream_lifetime_ms",
    "performance.tunnel_idle_timeout_ms",
    // `upstream_tls` and `load_balancing` are in each upstream.
    "upstream_tls",
    // What it allows is checked before a start.
    "security.privileges.allow_root",
    // Multiplies the number of workers.
    "performance.packet_shards_per_worker",
    // Refused with several workers.
    "performance.reuseport",
    "resilience.watchdog.restart_hook",
];

/// Code that reads a key whose name is not unique.
const READ_AS: &[(&str, &[&str])] = &[
    ("listen.name", &["listener.name"]),
    ("listen.address", &["listener.address"]),
    ("listen.port", &["listener.port"]),
    ("listen.tls.cert", &["&tls.cert,"]),
    ("listen.tls.key", &["&tls.key)"]),
    ("listen.tls.ocsp_file", &["&tls.ocsp_file"]),
    ("listen.tls.certificates[].server_name", &["entry.server_name"]),
    ("listen.tls.certificates[].cert", &["entry.cert"]),
    ("listen.tls.certificates[].key", &["entry.key"]),
    ("listen.tls.certificates[].ocsp_file", &["entry.ocsp_file"]),
    ("listen.tls.client_auth.enabled", &["auth.enabled"]),
    ("listen.tls.client_auth.ca_file", &["auth.ca_file"]),
    ("listen.alt_svc.enabled", &["alt_svc.enabled"]),
    ("listen.alt_svc.port", &["alt_svc.port"]),
    ("listen.tcp.enabled", &["listener.tcp.enabled"]),
    ("listen.tcp.max_connections", &["tcp.max_connections"]),
    ("listen.tcp.proxy_protocol.enabled", &["proxy.enabled"]),
    ("listen.http_redirect.enabled", &["redirect.enabled"]),
    ("listen.http_redirect.address", &["redirect.address"]),
    ("listen.http_redirect.port", &["redirect.port"]),
    ("load_balancing.type", &["load_balancing.algorithm"]),
    ("load_balancing.key", &["load_balancing.key"]),
    ("upstream.*.load_balancing.type", &["load_balancing.algorithm"]),
    ("upstream.*.load_balancing.key", &["load_balancing.key"]),
    ("upstream_tls.server_name", &["upstream.tls.server_name"]),
    ("upstream.*.tls.server_name", &["upstream.tls.server_name"]),
    ("upstream_tls.ca_file", &["ca_file: tls.ca_file"]),
    ("upstream.*.tls.ca_file", &["ca_file: tls.ca_file"]),
    ("upstream.*.route.host", &["route.host"]),
    ("upstream.*.host_policy.mode", &["host_policy.mode"]),
    ("upstream.*.host_policy.host", &["host_policy.host"]),
    ("upstream.*.forwarded_headers.mode", &["forwarded_headers.mode"]),
    ("upstream.*.passive_health.enabled", &["passive.enabled"]),
    ("upstream.*.passive_health.failure_threshold", &["passive.failure_threshold"]),
    ("upstream.*.passive_health.success_threshold", &["passive.success_threshold"]),
    ("upstream.*.passive_health.cooldown_ms", &["passive.cooldown_ms"]),
    ("upstream.*.passive_health.count_5xx", &["passive.count_5xx"]),
    ("upstream.*.backends[].address", &["backend.address"]),
    ("upstream.*.backends[].protocol", &["backend.protocol"]),
    ("upstream.*.backends[].health_check.path", &["check.path"]),
    ("upstream.*.backends[].health_check.failure_threshold", &["check.failure_threshold"]),
    ("upstream.*.backends[].health_check.success_threshold", &["check.success_threshold"]),
    ("upstream.*.backends[].health_check.cooldown_ms", &["check.cooldown_ms"]),
    ("upstream.*.backends[].health_check.host", &["check.host"]),
    ("log.connections", &["config.connections"]),
    ("log.format", &["config.format"]),
    ("resilience.adaptive_admission.enabled", &["adaptive.enabled"]),
    ("resilience.circuit_breaker.enabled", &["breaker.enabled"]),
    ("resilience.circuit_breaker.failure_threshold", &["breaker.failure_threshold"]),
    ("resilience.circuit_breaker.count_5xx", &["breaker.count_5xx"]),
    ("resilience.hedging.enabled", &["hedging.enabled"]),
    ("resilience.retry_budget.enabled", &["budget\n                .enabled", "budget.enabled"]),
    ("resilience.brownout.enabled", &["brownout.enabled"]),
    ("observability.metrics.path", &["metrics.path"]),
    ("observability.tracing", &["observability.tracing"]),
    ("observability.routing.enabled", &["routing.enabled"]),
];

/// Appends the source code without tests and comments.
fn sources(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("tests") {
            sources(&path, out);
        } else if path.extension().is_some_and(|kind| kind == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap();
            out.extend(text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]));
        }
    }
}

/// Whether the field is read: its name after a dot, and no call.
fn reads_field(source: &str, name: &str) -> bool {
    let mut rest = source;
    while let Some((before, after)) = rest.split_once(name) {
        rest = after;
        let ends = !after.starts_with(|next: char| next.is_alphanumeric() || next == '_' || next == '(');
        if ends && before.trim_end().ends_with('.') {
            return true;
        }
    }
    false
}

#[test]
fn every_key_is_read() {
    let mut source = String::new();
    for folder in ["../../spooky/src", "../telemetry/src", "../control/src"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut source);
    }
    let is_read = |path: &str, name: &str| match READ_AS.iter().find(|(key, _)| *key == path) {
        Some((_, words)) => words.iter().any(|word| source.contains(word)),
        None => reads_field(&source, name),
    };
    for (block, key) in walk::keys() {
        let path = walk::join(&block, key.name);
        let passed_on = BY_THE_LOADER.contains(&path.as_str()) || (key.kind)().block().is_some();
        assert!(passed_on || is_read(&path, key.name), "{path} is not read");
    }
}
