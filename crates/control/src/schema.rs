//! The schemas of the `OpenAPI` document. They say what `model` serializes; the tests compare both.

#![allow(clippy::needless_pass_by_value, reason = "calls are nested as the document is")]

use serde_json::{Map, Value, json};

pub(crate) fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

pub(crate) fn text() -> Value {
    json!({ "type": "string" })
}

fn list(items: Value) -> Value {
    json!({ "items": items, "type": "array" })
}

/// An object in which all properties are present.
fn object(properties: Value) -> Value {
    let names: Vec<_> = properties.as_object().into_iter().flat_map(Map::keys).cloned().collect();
    json!({ "properties": properties, "required": names, "type": "object" })
}

/// Several properties of one schema.
fn each(names: &[&str], schema: &Value) -> Map<String, Value> {
    names.iter().map(|name| ((*name).to_owned(), schema.clone())).collect()
}

fn joined(parts: impl IntoIterator<Item = Map<String, Value>>) -> Value {
    object(Value::Object(parts.into_iter().flatten().collect()))
}
fn count() -> Value {
    json!({ "minimum": 0, "type": "integer" })
}

fn boolean() -> Value {
    json!({ "type": "boolean" })
}

fn maybe(kind: &str) -> Value {
    json!({ "type": [kind, "null"] })
}

fn problem() -> Value {
    joined([
        each(&["code", "file", "message", "path"], &text()),
        each(&["column", "line"], &count()),
        each(&["hint"], &maybe("string")),
        each(&["severity"], &json!({ "enum": ["error", "warning"] })),
    ])
}

fn backend() -> Value {
    joined([
        each(&["active", "draining", "healthy", "passive"], &boolean()),
        each(&["address", "id", "protocol"], &text()),
        each(&["circuit"], &json!({ "enum": ["closed", "half_open", "open"] })),
        each(&["connections", "in_flight", "weight"], &count()),
        each(&["effective_weight"], &json!({ "type": "number" })),
        each(&["ewma_ms"], &maybe("number")),
        each(&["last_failure"], &maybe("string")),
        each(&["last_transition_ms"], &maybe("integer")),
    ])
}

fn config_change() -> Value {
    joined([
        each(&["at_ms", "generation"], &count()),
        each(&["by", "kind", "result"], &text()),
        each(&["changed"], &list(text())),
        each(&["error"], &maybe("string")),
    ])
}

fn listener() -> Value {
    joined([
        each(&["client_auth_enabled", "require_client_cert"], &boolean()),
        each(&["default_cert", "default_key"], &maybe("string")),
        each(&["default_cert_not_after_unix_seconds"], &maybe("integer")),
        each(&["generation"], &count()),
        each(&["listener"], &text()),
        each(&["sni_names"], &list(text())),
    ])
}

fn watchdog() -> Map<String, Value> {
    each(&["degraded", "enabled", "restart_requested"], &boolean())
}

fn runtime() -> Value {
    let requests = ["backend_errors", "backend_timeouts", "requests_failure", "requests_success", "requests_total"];
    object(json!({
        "adaptive_admission": joined([each(&["current_limit", "inflight_percent"], &count()), each(&["enabled"], &boolean())]),
        "backends": joined([each(&["healthy", "total"], &count())]),
        "brownout": joined([each(&["active"], &boolean())]),
        "extension_model": joined([each(&["details", "status"], &text())]),
        "metrics": joined([each(&["active_connections"], &count()), each(&requests, &count())]),
        "runtime": object(json!({ "config_path": text(), "generation": count() })),
        "tls": object(json!({ "listeners": list(listener()) })),
        "uptime_ms": count(),
        "version": text(),
        "watchdog": joined([
            watchdog(),
            each(&["restart_reason"], &maybe("string")),
            each(&["restart_requested_at_ms"], &maybe("integer")),
        ]),
        "workers": joined([each(&["expected", "running"], &count())]),
    }))
}

fn ready() -> Value {
    joined([
        each(&["draining", "ready", "restart_requested"], &boolean()),
        each(&["healthy_backends", "total_backends"], &count()),
        each(&["unavailable_upstreams"], &list(text())),
    ])
}

fn status() -> Value {
    object(json!({
        "clients": { "additionalProperties": count(), "type": "object" },
        "latency_ms": joined([each(&["p50", "p95", "p99"], &maybe("number"))]),
        "samples": list(object(json!({
            "at_ms": count(),
            "classes": joined([each(&["1xx", "2xx", "3xx", "4xx", "5xx", "reset"], &count())]),
            "requests": count(),
        }))),
        "transitions": list(joined([
            each(&["at_ms"], &count()),
            each(&["backend", "to", "upstream"], &text()),
            each(&["reason"], &maybe("string")),
        ])),
    }))
}

/// Properties that not every answer has.
fn restart() -> Value {
    json!({
        "properties": { "accepted": boolean(), "error": text(), "reason": text(), "restart_requested": boolean() },
        "required": ["accepted"],
        "type": "object",
    })
}

pub(crate) fn schemas() -> Value {
    let upstream = object(json!({ "algorithm": text(), "backends": list(reference("Backend")), "name": text() }));
    let renewed = list(object(json!({ "generation": count(), "listener": text() })));
    let (problems, bool) = (reference("Problems"), boolean());
    json!({
        "Backend": backend(),
        "Backends": object(json!({ "upstreams": list(upstream) })),
        "CertificatesReloaded": object(json!({ "listeners": renewed, "reloaded": bool })),
        "Error": object(json!({ "error": text() })),
        "Failed": object(json!({ "error": text(), "reloaded": bool })),
        "Health": object(json!({ "status": text(), "uptime_ms": count(), "watchdog": joined([watchdog()]) })),
        "History": object(json!({ "generations": list(config_change()) })),
        "Invalid": object(json!({ "error": text(), "problems": problems, "reloaded": bool })),
        "LogLevel": object(json!({ "level": text() })),
        "Problems": list(problem()),
        "Ready": ready(),
        "Rejected": object(json!({ "error": text(), "fields": list(text()), "reloaded": bool })),
        "Reloaded": object(json!({ "generation": count(), "path": text(), "reloaded": bool })),
        "Restart": restart(),
        "Runtime": runtime(),
        "Status": status(),
    })
}
