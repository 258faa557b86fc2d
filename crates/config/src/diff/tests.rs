//! Tests which keys can be reloaded and which require a restart.

use super::*;
use crate::load::parse;

fn config(extra: &str) -> Config {
    let text = format!(
        "listen: {{ tls: {{ cert: c, key: k }} }}\n\
         upstream: {{ a: {{ route: {{ host: a }}, backends: [ {{ id: b, address: \"h:1\" }} ] }} }}\n{extra}"
    );
    parse(&text, "f", &|_| None).unwrap_or_else(|problems| panic!("{problems}")).config
}

fn changes(extra: &str) -> Vec<(String, bool)> {
    diff(&config(""), &config(extra)).into_iter().map(|change| (change.field, change.restart)).collect()
}

#[test]
fn equal_configurations_do_not_differ() {
    assert_eq!(diff(&config(""), &config("performance: { worker_threads: auto }")), []);
}

#[test]
fn each_key_knows_whether_it_is_live() {
    for (text, field, restart) in [
        ("log: { level: debug }", "log.level", false),
        ("log: { connections: true }", "log.connections", false),
        ("log: { qlog_dir: /q }", "log.qlog_dir", true),
        ("log: { journald: true }", "log.journald", true),
        ("log: { file: { path: /x, enabled: false } }", "log.file.path", true),
        ("performance: { worker_threads: 1 }", "performance.worker_threads", true),
        ("performance: { control_plane_threads: 1 }", "performance.control_plane_threads", true),
        ("performance: { packet_shards_per_worker: 2 }", "performance.packet_shards_per_worker", true),
        ("performance: { udp_send_buffer_bytes: 2MiB }", "performance.udp_send_buffer_bytes", true),
        ("performance: { quic_retry: off }", "performance.quic_retry", false),
        ("performance: { quic_secret_file: /s }", "performance.quic_secret_file", true),
        ("performance: { shutdown_drain_timeout_ms: 6s }", "performance.shutdown_drain_timeout_ms", false),
        ("resilience: { hedging: { enabled: true } }", "resilience.hedging.enabled", false),
        ("observability: { metrics: { path: /m } }", "observability.metrics.path", true),
        ("observability: { metrics: { max_connections: 1 } }", "observability.metrics.max_connections", false),
        ("observability: { control_api: { tls: true } }", "observability.control_api.tls", true),
        ("observability: { tracing: { sample_ratio: 0.5 } }", "observability.tracing.sample_ratio", false),
        ("observability: { tracing: { service_name: x } }", "observability.tracing.service_name", true),
        ("observability: { routing: { enabled: true } }", "observability.routing.enabled", false),
        ("security: { sandbox: off }", "security.sandbox", true),
        ("security: { privileges: { user: x } }", "security.privileges.user", true),
        ("reload: { watch_config: true }", "reload.watch_config", false),
        ("upstream_tls: { strict_sni: false }", "upstream_tls.strict_sni", false),
    ] {
        assert!(changes(text).contains(&(field.to_owned(), restart)), "{text}: {:?}", changes(text));
    }
}

#[test]
fn what_follows_from_a_key_changes_with_it() {
    let expected = [
        ("performance.tunnel_idle_timeout_ms".to_owned(), false),
        ("upstream.a.timeouts.tunnel_idle_ms".to_owned(), false),
    ];
    assert_eq!(changes("performance: { tunnel_idle_timeout_ms: 1m }"), expected);
}

#[test]
fn a_changed_password_in_a_url_is_a_change_and_not_shown() {
    let endpoint =
        |user: &str| config(&format!("observability: {{ tracing: {{ otlp_endpoint: \"http://{user}@c\" }} }}"));
    let found = diff(&endpoint("u:one"), &endpoint("u:two"));
    let hidden = "\"http://<redacted>@c\"".to_owned();
    assert_eq!(found.len(), 1);
    assert_eq!((&found[0].old, &found[0].new), (&hidden, &hidden));
    assert!(!endpoint("u:one").to_yaml().contains("one") && !endpoint("u:one").to_json().contains("one"));
}

#[test]
fn a_password_in_a_url_is_not_quoted() {
    let text = "listen: { tls: { cert: c, key: k } }\n\
        upstream: { a: { route: { host: a }, backends: [ { id: b, address: \"https://u:hunter2@h:1\" } ] } }\n";
    let problems = parse(text, "f", &|_| None).unwrap_err();
    assert!(problems.plain().contains("https://<redacted>@h:1"), "{problems}");
    assert!(!problems.plain().contains("hunter2") && !problems.source.contains("hunter2"), "{}", problems.source);
}

#[test]
fn upstreams_are_compared_by_name_and_secrets_are_not_shown() {
    let [old, new] = ["first", "second"].map(|token| {
        let name = if token == "first" { "a" } else { "b" };
        let text = format!(
            "listen: {{ tls: {{ cert: c, key: k }} }}\n\
             upstream: {{ {name}: {{ route: {{ host: a }}, backends: [ {{ id: b, address: \"h:1\" }} ] }} }}\n\
             observability: {{ control_api: {{ auth_token: {token} }} }}"
        );
        parse(&text, "f", &|_| None).unwrap().config
    });
    let changes = diff(&old, &new);
    let fields: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
    assert_eq!(fields, ["upstream.a", "upstream.b", "observability.control_api.auth_token"]);
    assert_eq!((changes[0].new.as_str(), changes[1].old.as_str()), ("null", "null"));
    assert_eq!((changes[2].old.as_str(), changes[2].new.as_str()), ("<redacted>", "<redacted>"));
}

#[test]
fn a_rejection_names_the_key_and_both_values() {
    let changes = diff(&config(""), &config("performance: { worker_threads: 4 }"));
    let expected =
        "runtime reload rejected: performance.worker_threads changed from auto to 4; restart required".to_owned();
    assert_eq!(changes.iter().map(Change::rejection).collect::<Vec<_>>(), [expected]);
}

/// The keys marked as needing a restart in docs/reference/configuration.md, each with everything below it except the exceptions.
const RESTART: &[&str] = &[
    "log.format",
    "log.file",
    "log.journald",
    "log.qlog_dir",
    "observability.tracing",
    "observability.metrics.enabled",
    "observability.metrics.address",
    "observability.metrics.port",
    "observability.metrics.path",
    "observability.control_api.enabled",
    "observability.control_api.address",
    "observability.control_api.port",
    "observability.control_api.health_path",
    "observability.control_api.ready_path",
    "observability.control_api.runtime_path",
    "observability.control_api.restart_path",
    "observability.control_api.reload_path",
    "observability.control_api.reload_certs_path",
    "observability.control_api.backends_path",
    "observability.control_api.config_path",
    "observability.control_api.log_level_path",
    "observability.control_api.tls",
    "performance.worker_threads",
    "performance.control_plane_threads",
    "performance.packet_shards_per_worker",
    "performance.packet_shard_queue_capacity",
    "performance.packet_shard_queue_max_bytes",
    "performance.reuseport",
    "performance.pin_workers",
    "performance.udp_recv_buffer_bytes",
    "performance.udp_send_buffer_bytes",
    "performance.quic_secret_file",
    "security",
];
const LIVE: &[&str] = &["observability.tracing.sample_ratio"];

fn is_below(path: &str, blocks: &[&str]) -> bool {
    blocks.iter().any(|block| path.strip_prefix(block).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Returns the entry at a path; creates it if it is missing.
fn entry<'s>(shown: &'s mut Value, path: &str) -> &'s mut Value {
    path.split('.').fold(shown, |shown, name| {
        if !matches!(shown, Value::Map(_)) {
            *shown = Value::Map(Vec::new());
        }
        let Value::Map(entries) = shown else { unreachable!() };
        let at = entries.iter().position(|(known, _)| known == name);
        let at = at.unwrap_or_else(|| {
            entries.push((name.to_owned(), Value::Null));
            entries.len() - 1
        });
        &mut entries[at].1
    })
}

#[test]
fn every_key_is_live_or_needs_a_restart_as_listed() {
    let old = config("").effective_value();
    for (block, key) in crate::spec::walk::keys() {
        let path = crate::spec::walk::join(&block, key.name);
        // Lists change as a whole, and blocks by their keys.
        if path.contains("[]") || (key.kind)().block().is_some() {
            continue;
        }
        let field = path.replace("upstream.*", "upstream.a");
        let mut new = old.clone();
        *entry(&mut new, &field) = Value::Text("something else".to_owned());
        let mut changes = Vec::new();
        compare_block(Config::KEYS, &old, &new, "", false, &mut changes);
        let fields: Vec<_> = changes.iter().map(|change| (change.field.as_str(), change.restart)).collect();
        let restart = is_below(&path, RESTART) && !is_below(&path, LIVE);
        // A block that was not there appears as a whole.
        let [(found, needs)] = fields[..] else { panic!("{field}: {fields:?}") };
        assert!(field == found || field.starts_with(&format!("{found}.")), "{field}: {found}");
        assert_eq!(needs, restart, "{path}");
    }
}
