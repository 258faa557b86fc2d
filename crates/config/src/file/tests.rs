//! Tests each documented message with a mistake that causes it, and that no message lacks one.

use crate::load::parse;
use crate::problem::{Problems, Severity};
use crate::spec::Text;
use crate::spec::walk;
use crate::{preflight, reference, value};

/// Inserts a fragment into an otherwise valid file.
fn file(part: &str, text: &str) -> String {
    let span = |name: &str, valid: &str| if part == name { text.to_owned() } else { valid.to_owned() };
    let also = |name: &str| if part == name { format!(", {text}") } else { String::new() };
    let listen = format!("{{ tls: {{ {} }}{} }}", span("tls", "cert: c, key: k"), also("listen"));
    let backend = span("backend", "id: b, address: \"h:1\"");
    let upstream = format!(
        "{{ route: {{ {} }}, backends: [ {{ {backend}{} }} ]{} }}",
        span("route", "host: a"),
        if part == "probe" { format!(", health_check: {{ {text} }}") } else { String::new() },
        also("upstream"),
    );
    match part {
        "whole" => text.to_owned(),
        "root" => format!("listen: {listen}\nupstream: {{ api: {upstream} }}\n{text}"),
        "listeners" => format!("listeners: [ {text} ]\nupstream: {{ api: {upstream} }}\n"),
        "upstreams" => format!("listen: {listen}\nupstream: {{ api: {upstream}, {text} }}\n"),
        _ => format!("listen: {listen}\nupstream: {{ api: {upstream} }}\n"),
    }
}

fn problems(text: &str) -> Problems {
    match parse(text, "f.yaml", &|_| None) {
        Ok(loaded) => loaded.problems(Vec::new()),
        Err(problems) => problems,
    }
}

const OTHER: &str = "route: { host: b }, backends: [ { id: b, address: \"h:1\" } ]";

/// Part, fragment, and the message it must give.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("whole", "{", "Could not parse YAML file 'f.yaml': <r>"),
    ("whole", "- a", "config root must be a YAML mapping/object"),
    ("whole", "", "config root must be a YAML mapping/object"),
    ("listen", "prot: 1", "unknown field 'prot'"),
    ("backend", "id: b", "missing field 'address'"),
    ("listen", "port: 1, port: 2", "duplicate field 'port'"),
    ("probe", "interval: 1s, interval_ms: 2s", "duplicate field 'interval_ms'"),
    ("root", "log: { journald: 1 }", "invalid type: expected boolean, found integer"),
    ("root", "log: []", "invalid type: expected mapping, found list"),
    ("root", "log: { format: xml }", "invalid value 'xml': expected one of plain, json"),
    ("root", "reload: { debounce_ms: 1.5 }", "invalid duration '1.5'"),
    ("root", "reload: { debounce_ms: -1 }", "invalid duration '-1'"),
    ("root", "performance: { max_request_body_bytes: 5XB }", "invalid size '5XB'"),
    ("root", "log: { qlog_dir: \"${NOPE}\" }", "environment variable 'NOPE' is not set"),
    ("root", "version: 2", "Invalid version: expected '1', found '2'"),
    ("root", "version: one", "config 'version' must be a positive integer"),
    ("root", "version:", "config 'version' must be a positive integer"),
    ("root", "version: 0", "config 'version' must be a positive integer"),
    ("root", "version: 4294967296", "config 'version' value 4294967296 is out of range"),
    ("whole", "listen: { tls: { cert: c, key: k } }\nupstream: {}", "No upstreams configured"),
    ("upstreams", "\"\": {}", "Upstream name is empty"),
    ("root", "load_balancing: { type: weighted }", "Invalid global load balancing type: weighted"),
    ("root", "load_balancing: { type: ch, key: ip }", "Invalid load balancing key: 'ip'"),
    ("listen", "protocol: http2", "Invalid protocol: expected 'http3', found 'http2'"),
    ("listen", "address: \" \"", "Listen address is empty"),
    ("listen", "port: 0", "Invalid listen port: 0 (must be between 1 and 65535)"),
    ("listen", "port: 70000", "Invalid listen port: 70000 (must be between 1 and 65535)"),
    ("listen", "alt_svc: { port: 0 }", "listen.alt_svc.port must be between 1 and 65535"),
    (
        "listen",
        "tcp: { proxy_protocol: { enabled: true } }",
        "listen.tcp.proxy_protocol.trusted_sources must not be empty when proxy_protocol is enabled",
    ),
    (
        "listen",
        "tcp: { proxy_protocol: { trusted_sources: [ 10.0.0.0/33 ] } }",
        "listen.tcp.proxy_protocol.trusted_sources contains an invalid network '10.0.0.0/33'",
    ),
    (
        "listen",
        "http_redirect: { enabled: true, port: 9889 }",
        "listener binding conflict: http_redirect duplicates 0.0.0.0:9889 on 0.0.0.0:9889",
    ),
    (
        "root",
        "observability: { metrics: { enabled: true, address: \"::0:1\" }, control_api: { enabled: true, address: \"[0::1]\", port: 9901 } }",
        "listener binding conflict: control_api duplicates metrics on [::1]:9901",
    ),
    (
        "root",
        "listeners: [ { name: x, tls: { cert: c, key: k } }, { name: x, port: 1, tls: { cert: c, key: k } } ]",
        "listener name 'x' is used by listeners[0] already",
    ),
    ("root", "listeners: [ { tls: { cert: c, key: k } } ]", "listen is ignored because listeners is set"),
    ("tls", "cert: c", "listen.tls.cert and listen.tls.key must both be set when either is provided"),
    ("tls", "", "listen.tls requires either cert/key or certificates entries"),
    ("tls", "cert: \"\", key: k", "listen.tls.cert cannot be empty"),
    (
        "tls",
        "certificates: [ { server_name: a b, cert: c, key: k } ]",
        "listen.tls.certificates[0].server_name 'a b' is not a valid DNS hostname",
    ),
    (
        "tls",
        "certificates: [ { server_name: a, cert: c, key: k }, { server_name: A, cert: c, key: k } ]",
        "listen.tls.certificates[1].server_name 'a' duplicates certificates[0]",
    ),
    (
        "tls",
        "certificates: [ { server_name: a, cert: \"\", key: k } ]",
        "listen.tls.certificates[0].cert cannot be empty",
    ),
    (
        "tls",
        "cert: c, key: k, client_auth: { require_client_cert: true }",
        "listen.tls.client_auth.require_client_cert requires client_auth.enabled=true",
    ),
    (
        "tls",
        "cert: c, key: k, client_auth: { enabled: true }",
        "listen.tls.client_auth.ca_file is required when client_auth.enabled=true",
    ),
    ("tls", "cert: c, key: k, client_auth: { ca_file: \"\" }", "listen.tls.client_auth.ca_file cannot be empty"),
    ("root", "upstream_tls: { ca_file: \"\" }", "upstream_tls.ca_file cannot be empty when provided"),
    ("upstream", "tls: { ca_dir: \"\" }", "upstream.api.tls.ca_dir cannot be empty when provided"),
    ("root", "upstream_tls: { server_name: a b }", "upstream_tls.server_name 'a b' is not a valid DNS hostname"),
    (
        "root",
        "upstream_tls: { client_key: k }",
        "upstream_tls.client_cert and upstream_tls.client_key must both be set when either is provided",
    ),
    (
        "root",
        "upstream_tls: { verify_certificates: false }",
        "upstream_tls.verify_certificates=false disables TLS certificate validation for HTTPS upstreams",
    ),
    (
        "root",
        "upstream_tls: { verify_certificates: false }",
        "Backend 'b' in upstream 'api' uses unverified TLS or cleartext, detected at connect (h:1)",
    ),
    (
        "backend",
        "id: b, address: \"http://h\"",
        "Backend 'b' in upstream 'api' uses explicit insecure cleartext transport (http://h)",
    ),
    ("route", "", "Upstream 'api' must have either 'host' or 'path_prefix' route matcher"),
    ("route", "host: \"*.*\"", "Upstream 'api' has an invalid route host: *.*"),
    ("route", "path_prefix: \"\"", "Route path_prefix cannot be empty for upstream 'api'"),
    ("route", "path_prefix: api/v1", "Route path_prefix must start with '/' for upstream 'api': api/v1"),
    ("route", "path_prefix: /api/*", "path_prefix is literal; '*' has no meaning here"),
    ("route", "path_prefix: /a?b", "Route path_prefix is invalid for upstream 'api': /a?b"),
    ("route", "host: a, method: \"G T\"", "Route method is invalid for upstream 'api': G T"),
    (
        "route",
        "host: a, method: connect",
        "Route method CONNECT for upstream 'api' requires resilience.protocol.allow_connect=true",
    ),
    (
        "upstreams",
        "b: { route: { host: \"A.:443\" }, backends: [ { id: b, address: \"h:1\" } ] }",
        "Ambiguous route matcher detected: upstream 'b' conflicts with upstream 'api' for host=a path_prefix=* method=*",
    ),
    ("upstream", "load_balancing: { type: weighted }", "Invalid load balancing type: 'weighted' for upstream 'api'"),
    ("upstream", "load_balancing: { type: ch, key: ip }", "Invalid load balancing key: 'ip' for upstream 'api'"),
    (
        "upstream",
        "load_balancing: { type: ch, load_factor: 0.5 }",
        "Invalid load balancing load_factor: 0.5 for upstream 'api'",
    ),
    (
        "upstream",
        "load_balancing: { type: rr, panic_threshold_percent: 101 }",
        "Invalid load balancing panic_threshold_percent: 101 for upstream 'api'",
    ),
    (
        "upstream",
        "load_balancing: { type: rr, key: path }",
        "load_balancing.key has no effect with round-robin in upstream 'api'",
    ),
    (
        "root",
        "load_balancing: { type: lc, key: path }",
        "load_balancing.key has no effect with least-connections in upstream 'api'",
    ),
    (
        "upstream",
        "host_policy: { mode: rewrite }",
        "upstream api.host_policy.mode=rewrite requires a valid non-empty host_policy.host",
    ),
    ("upstream", "host_policy: { host: a }", "upstream api.host_policy.host is invalid unless mode is rewrite"),
    (
        "upstream",
        "timeouts: { connect_ms: 3s, response_ms: 2500 }",
        "upstream.api.timeouts.connect_ms must be <= response_ms (2500 ms, written at line 2)",
    ),
    (
        "upstream",
        "timeouts: { total_ms: 35s, response_ms: 36s }",
        "upstream.api.timeouts.response_ms must be <= total_ms (35 s, written at line 2)",
    ),
    (
        "upstream",
        "timeouts: { body_idle_ms: 2s, first_byte_ms: 1s }",
        "upstream.api.timeouts.body_idle_ms must be <= first_byte_ms (1 s, written at line 2)",
    ),
    (
        "upstream",
        "timeouts: { first_byte_ms: 2s, total_ms: 1s }",
        "upstream.api.timeouts.first_byte_ms must be <= total_ms (1 s, written at line 2)",
    ),
    (
        "upstream",
        "timeouts: { connect_ms: 2s, total_ms: 1s }",
        "upstream.api.timeouts.connect_ms must be <= total_ms (1 s, written at line 2)",
    ),
    (
        "whole",
        "listen: { tls: { cert: c, key: k } }\nupstream: { api: { route: { host: a }, backends: [] } }",
        "Upstream 'api' has no backends configured",
    ),
    ("backend", "id: \"\", address: \"h:1\"", "Backend ID is empty in upstream 'api'"),
    ("backend", "id: b, address: \"h:1\" }, { id: b, address: \"h:2\"", "Duplicate backend ID 'b' in upstream 'api'"),
    ("backend", "id: backend1, address: \"\"", "Backend address is empty for backend 'backend1' in upstream 'api'"),
    (
        "backend",
        "id: b, address: \"h:443\" }, { id: b2, address: \"https://H\"",
        "Duplicate backend address 'https://h:443' detected: upstream 'api' backend 'b2' conflicts with upstream 'api' \
         backend 'b'",
    ),
    (
        "backend",
        "id: backend1, address: \"h:1\", weight: 0",
        "Backend 'backend1' in upstream 'api' has invalid weight (0)",
    ),
    ("probe", "interval: 0", "Health check interval is invalid (0) for backend 'b' in upstream 'api'"),
    ("probe", "interval_ms: 0", "Health check interval is invalid (0) for backend 'b' in upstream 'api'"),
    ("probe", "timeout_ms: 0", "Health check timeout is invalid (0) for backend 'b' in upstream 'api'"),
    (
        "probe",
        "failure_threshold: 0",
        "Health check failure threshold is invalid (0) for backend 'b' in upstream 'api'",
    ),
    (
        "probe",
        "success_threshold: 0",
        "Health check success threshold is invalid (0) for backend 'b' in upstream 'api'",
    ),
    ("probe", "cooldown_ms: 0", "Health check cooldown is invalid (0) for backend 'b' in upstream 'api'"),
    (
        "probe",
        "expected_status: [ 200-199 ]",
        "Health check expected_status is invalid ('200-199') for backend 'b' in upstream 'api'",
    ),
    ("probe", "host: a b", "invalid value 'a b': expected a host"),
    (
        "backend",
        "id: b, address: 10.0.1.10",
        "Backend address '10.0.1.10' in upstream 'api' must be in host:port format",
    ),
    ("root", "log: { level: debug-verbose }", "Invalid log level: debug-verbose"),
    ("root", "log: { access: { sample_ratio: 1.1 } }", "log.access.sample_ratio must be between 0.0 and 1.0"),
    ("root", "log: { access: { fields: [ x ] } }", "log.access.fields contains an unknown field 'x'"),
    (
        "root",
        "performance: { reuseport: false, worker_threads: 2 }",
        "performance.reuseport must be true when performance.worker_threads > 1",
    ),
    (
        "root",
        "performance: { packet_shards_per_worker: 257 }",
        "performance.packet_shards_per_worker must be between 1 and 256",
    ),
    (
        "root",
        "performance: { quic_initial_max_data: 10 }",
        "performance.quic_initial_max_stream_data (1000000) must be <= quic_initial_max_data (10)",
    ),
    (
        "root",
        "performance: { quic_initial_max_streams_uni: 2 }",
        "performance.quic_initial_max_streams_uni must be at least 3",
    ),
    (
        "root",
        "performance: { quic_max_udp_payload_bytes: 1199 }",
        "performance.quic_max_udp_payload_bytes must be between 1200 and 65527",
    ),
    (
        "root",
        "performance: { backend_connect_timeout_ms: 3s, backend_timeout_ms: 2s }",
        "performance.backend_connect_timeout_ms must be <= backend_timeout_ms (2 s, written at line 3)",
    ),
    (
        "root",
        "performance:\n  backend_timeout_ms: 36s\n  backend_total_request_timeout_ms: 35s",
        "performance.backend_timeout_ms must be <= backend_total_request_timeout_ms (35 s, written at line 5)",
    ),
    (
        "root",
        "performance: { backend_body_idle_timeout_ms: 31s, backend_body_total_timeout_ms: 30s }",
        "performance.backend_body_idle_timeout_ms must be <= backend_body_total_timeout_ms (30 s, written at line 3)",
    ),
    (
        "root",
        "performance: { backend_body_total_timeout_ms: 36s, backend_total_request_timeout_ms: 35s }",
        "performance.backend_body_total_timeout_ms must be <= backend_total_request_timeout_ms (35 s, written at line 3)",
    ),
    (
        "root",
        "performance: { unknown_length_response_prebuffer_bytes: 11, max_response_body_bytes: 10 }",
        "performance.unknown_length_response_prebuffer_bytes (11) must be <= max_response_body_bytes (10)",
    ),
    (
        "root",
        "performance: { unknown_length_response_prebuffer_bytes: 1 }",
        "performance.unknown_length_response_prebuffer_bytes has no effect",
    ),
    (
        "root",
        "performance: { inflight_acquire_wait_ms: 1 }\nresilience: { route_queue: { max_wait_ms: 1 } }",
        "duplicate field 'inflight_acquire_wait_ms'",
    ),
];

mod more;

/// Whether a message matches a template.
fn is_instance(template: &str, message: &str) -> bool {
    let literal = crate::spec::text::fill(template, |_| Some("\0".to_owned()));
    let mut parts = literal.split('\0');
    let Some(mut rest) = parts.next().and_then(|first| message.strip_prefix(first)) else { return false };
    let mut last = "x";
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
        last = part;
    }
    rest.is_empty() || last.is_empty()
}

#[test]
fn every_mistake_gets_its_text_where_it_stands() {
    for (part, text, expected) in MISTAKES.iter().chain(more::MISTAKES) {
        let text = file(part, text);
        let found = problems(&text);
        let fits = |message: &str| {
            if expected.ends_with("<r>") { is_instance(expected, message) } else { message == *expected }
        };
        let problem = found.iter().find(|problem| fits(&problem.message));
        let problem = problem.unwrap_or_else(|| panic!("{text}\nwants: {expected}\nhas:\n{found}"));
        let lines: Vec<&str> = text.lines().collect();
        let line = lines.get(problem.line as usize - 1).copied().unwrap_or_default();
        assert!(problem.column as usize <= line.chars().count() + 1, "{text}\n{problem}");
    }
}

#[test]
fn a_mistake_is_reported_once() {
    for (part, text, expected) in MISTAKES.iter().chain(more::MISTAKES) {
        let found = problems(&file(part, text));
        let errors: Vec<_> = found.iter().filter(|problem| problem.severity == Severity::Error).collect();
        assert!(errors.len() <= 1, "{text} ({expected}):\n{found}");
    }
}

#[test]
fn a_star_in_a_prefix_is_warned_of_with_the_prefix_that_was_meant() {
    for (prefix, hint) in [("/api/*", "/api/"), ("/api*", "/api"), ("/api/v*/x", "/api/"), ("/*", "/"), ("/*.php", "/")]
    {
        let denied = format!("resilience: {{ protocol: {{ denied_path_prefixes: [ /ok, \"{prefix}\" ] }} }}");
        for (part, text, path, message) in [
            ("route", format!("path_prefix: \"{prefix}\""), "upstream.api.route.path_prefix", "path_prefix"),
            ("root", denied, "resilience.protocol.denied_path_prefixes[1]", "denied_path_prefixes"),
        ] {
            let found = problems(&file(part, &text));
            let [problem] = found.iter().collect::<Vec<_>>()[..] else { panic!("{found}") };
            assert_eq!(problem.message, format!("{message} is literal; '*' has no meaning here"));
            assert_eq!((problem.severity, problem.hint.as_deref()), (Severity::Warning, Some(hint)), "{prefix}");
            assert_eq!(problem.path, path);
        }
    }
}

#[test]
fn the_subject_cannot_take_the_place_of_a_field_that_spooky_writes() {
    for header in ["via", "Host", "X-Forwarded-For", "x_forwarded_for", "x-request-id", "Content_Length", "cookie"] {
        let found = problems(&file("tls", &format!("cert: c, key: k, client_auth: {{ subject_header: {header} }}")));
        let name = header.to_lowercase();
        let text =
            format!("listen.tls.client_auth.subject_header '{name}' is a field that Spooky itself writes or removes");
        let messages: Vec<_> = found.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(messages, [text.as_str()]);
    }
    for header in ["x-client-subject", "x-forwarded", "subject"] {
        let text = file("tls", &format!("cert: c, key: k, client_auth: {{ subject_header: {header} }}"));
        assert!(problems(&text).is_empty(), "{header}: {}", problems(&text));
    }
}

#[test]
fn no_text_is_without_a_mistake() {
    let mut texts: Vec<Text> = reference::general_texts();
    texts.extend(walk::keys().iter().flat_map(|(_, key)| key.texts()));
    texts.extend(value::address::REASONS);
    let messages: Vec<&str> = MISTAKES.iter().chain(more::MISTAKES).map(|(_, _, message)| *message).collect();
    for text in texts {
        // Files and accounts have tests of their own, in `preflight`.
        let elsewhere = preflight::texts::ALL.iter().any(|known| known.template == text.template);
        let reported = messages.iter().any(|message| is_instance(text.template, message));
        // `tests/loading.rs` tests those about the whole file.
        let elsewhere = elsewhere || text.template.starts_with("Failed to read");
        assert!(reported || elsewhere, "no mistake for: {}", text.template);
    }
}

#[test]
fn the_valid_file_has_no_problem() {
    assert!(problems(&file("", "")).is_empty());
    assert!(problems(&file("upstreams", &format!("b: {{ {OTHER} }}"))).is_empty());
}
