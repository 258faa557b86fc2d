//! Tests that listed keys are found in files, and that every key is either read by the process or listed.

use super::*;
use crate::spec::walk;
use std::{fmt::Write, fs, path::Path};

#[test]
fn written_keys_are_found_by_their_form() {
    let text = "listeners: [ { tcp: { proxy_protocol: {} } } ]\n\
                upstream: { a.b: { timeouts: { total_ms: 1 }, backends: [ { id: x } ] } }\nreload: {}\n";
    let tree = crate::yaml::parse(text).unwrap().unwrap();
    let pending =
        ["listen.tcp.proxy_protocol", "upstream.*.timeouts", "upstream.*.backends[].id", "log"].map(|key| (key, None));
    let found = written_below(&tree, &pending);
    let found: Vec<_> = found.iter().map(|(path, _, span)| (path.as_str(), span.line, span.column)).collect();
    let expected = [
        ("listeners[0].tcp.proxy_protocol", 1, 23),
        ("upstream.a.b.timeouts", 2, 20),
        ("upstream.a.b.backends[0].id", 2, 61),
    ];
    assert_eq!(found, expected);
    assert_eq!(written_below(&tree, &[]), []);
}

#[test]
fn a_value_that_asks_for_nothing_is_not_listed() {
    let listed = |text: &str| {
        let tree = crate::yaml::parse(text).unwrap().unwrap();
        written_below(&tree, NOT_IN_EFFECT).into_iter().map(|(path, ..)| path).collect::<Vec<_>>()
    };
    for text in [
        "log: { format: Plain }",
        "security: { privileges: { enabled: false }, sandbox: off }",
        "resilience: { watchdog: { enabled: false } }",
        "resilience: { watchdog: { enabled: \"${SPOOKY_TEST_IS_NOT_SET:-false}\" } }",
        "security: { sandbox: '${SPOOKY_TEST_IS_NOT_SET:-OFF}' }",
    ] {
        assert_eq!(listed(text), [""; 0], "{text}");
    }
    let shards = "performance: { packet_shards_per_worker: 2 }";
    assert_eq!(listed(shards), ["performance.packet_shards_per_worker"]);
}

/// Returns path and hint of each warning about unimplemented keys.
fn reported(text: &str) -> Vec<(String, String)> {
    let text = format!("listen: {{ tls: {{ cert: c, key: k }} }}\n{text}");
    let loaded = crate::parse(&text, "f", &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
    let found = loaded.not_in_effect().into_iter();
    found
        .map(|problem| {
            assert_eq!(problem.message, format!("{} has no effect", problem.path));
            (problem.path, problem.hint.unwrap_or_default())
        })
        .collect()
}

#[test]
fn a_protection_that_does_not_exist_is_warned_of_even_if_it_is_not_written() {
    let upstream = "upstream: { a: { route: { host: a }, backends: [ { id: b, address: \"h:1\" } ] } }\n";
    let defaults = reported(upstream);
    for (form, missing) in PROTECTIONS {
        let expected = ((*form).to_owned(), format!("not built yet: {missing}"));
        assert_eq!(defaults.iter().filter(|found| **found == expected).count(), 1, "{form}");
    }
    assert_eq!(defaults.len(), PROTECTIONS.len(), "nothing else is said of a file that writes nothing");
    // A key that is set is reported once, at its position; a missing one is reported once for all upstreams.
    for (form, missing) in PROTECTIONS.iter().filter(|(form, _)| form.starts_with("performance.")) {
        let key = form.rsplit('.').next().unwrap();
        let found = reported(&format!("{upstream}performance: {{ {key}: 7 }}\n"));
        let expected = ((*form).to_owned(), format!("not built yet: {missing}"));
        assert_eq!(found.iter().filter(|found| **found == expected).count(), 1, "{form}");
        assert_eq!(found.len(), PROTECTIONS.len(), "{form}");
    }
}

#[test]
fn a_protection_that_is_switched_off_is_not_missed() {
    let off = "upstream: { a: { route: { host: a }, passive_health: { enabled: false }, \
               backends: [ { id: b, address: \"h:1\" } ] } }\n\
               security: { privileges: { enabled: false }, sandbox: off }\n\
               resilience: { circuit_breaker: { enabled: false } }\n";
    let found = reported(off);
    assert!(found.iter().all(|(path, _)| path.starts_with("performance.")), "{found:?}");
    let mut resting = String::from("performance:\n");
    for (form, rest) in NOT_IN_EFFECT {
        if let (Some(key), Some(rest)) = (form.strip_prefix("performance."), rest) {
            let _ = writeln!(resting, "  {key}: {rest}");
        }
    }
    let found = reported(&format!("{off}{resting}"));
    assert!(found.iter().all(|(path, _)| !resting.contains(path.rsplit('.').next().unwrap())), "{found:?}");
}

#[test]
fn what_is_absent_is_reported_at_the_mapping_that_should_hold_it() {
    let span = |text: &str, form: &str| {
        let tree = crate::yaml::parse(text).unwrap().unwrap();
        absent(&tree, form).map(|span| (span.line, span.column))
    };
    for (text, form, expected) in [
        ("version: 1\n", "a.b", Some((1, 1))),
        ("x: 1\na: { c: 1 }\n", "a.b", Some((2, 4))),
        ("a: { b: 1 }\n", "a.b", None),
        ("a: { enabled: false }\n", "a.b", None),
        ("a: { enabled: true }\n", "a.b", Some((1, 4))),
        ("upstream:\n  x: { p: { m: 1 } }\n  y: { p: {} }\n  z: {}\n", "upstream.*.p.m", Some((3, 11))),
        ("upstream:\n  x: { p: { m: 1 } }\n  y: { p: { enabled: false } }\n", "upstream.*.p.m", None),
    ] {
        assert_eq!(span(text, form), expected, "{text}");
    }
}

#[test]
fn a_protection_is_a_pending_key_that_is_on_by_default() {
    let keys = walk::keys();
    for (form, missing) in PROTECTIONS {
        let rest = NOT_IN_EFFECT.iter().find(|(known, _)| known == form);
        let (_, rest) = rest.unwrap_or_else(|| panic!("{form} is in effect: take it out of PROTECTIONS too"));
        assert!(keys.iter().any(|(block, key)| walk::join(block, key.name) == *form), "{form}");
        assert!(!missing.is_empty());
        if let Some(rest) = rest {
            let value = spooky_defaults(form);
            assert_ne!(value.as_deref(), Some(*rest), "{form} is off by default");
        }
    }
}

/// Returns the default of a key as the `defaults` command prints it.
fn spooky_defaults(form: &str) -> Option<String> {
    let text = crate::defaults();
    let tree = crate::yaml::parse(&text).unwrap().unwrap();
    let node = tree.find(&form.replace('*', "default"))?;
    match &node.tree {
        Tree::Scalar { text, .. } => Some(text.clone()),
        _ => None,
    }
}

#[test]
fn every_pending_key_is_a_key() {
    let paths = walk::paths();
    for (pending, _) in NOT_IN_EFFECT {
        assert!(paths.iter().any(|path| path.as_str() == *pending), "{pending}");
    }
}

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
    ("performance.packet_shards_per_worker", &["= performance.packet_shards_per_worker"]), // it is shown in the log
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
fn a_key_is_read_by_the_process_or_listed() {
    let mut source = String::new();
    for folder in ["../../spooky/src", "../telemetry/src", "../control/src"] {
        sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut source);
    }
    let is_read = |path: &str, name: &str| match READ_AS.iter().find(|(key, _)| *key == path) {
        Some((_, words)) => words.iter().any(|word| source.contains(word)),
        None => reads_field(&source, name),
    };
    let is_below = |path: &str, block: &str| {
        path.strip_prefix(block).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    for (block, key) in walk::keys() {
        let path = walk::join(&block, key.name);
        let listed = NOT_IN_EFFECT.iter().find(|(pending, _)| is_below(&path, pending));
        match listed {
            Some((pending, _)) if *pending == path => {
                assert!(!is_read(&path, key.name), "{path} is listed and read: take it out of NOT_IN_EFFECT");
            }
            Some(_) => {}
            None => {
                let passed_on = BY_THE_LOADER.contains(&path.as_str()) || (key.kind)().block().is_some();
                assert!(passed_on || is_read(&path, key.name), "{path} is neither read nor listed in NOT_IN_EFFECT");
            }
        }
    }
}
