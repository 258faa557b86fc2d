//! Loading as the program does it: from files, with variables, and what is said on each way out.

use std::path::{Path, PathBuf};

use spooky_config::{
    Algorithm, Auto, BackendScheme, Code, Config, HostPattern, Loaded, LogFormat, Problems, Severity, load, parse,
};

fn read(text: &str) -> Result<Loaded, Problems> {
    parse(text, "f.yaml", &|_| None)
}

fn config(text: &str) -> Config {
    read(text).unwrap_or_else(|problems| panic!("{problems}")).config
}

const LISTEN: &str = "listen: { tls: { cert: c, key: k } }\n";
const UPSTREAM: &str = "upstream: { a: { route: { host: a }, backends: [ { id: b, address: \"h:1\" } ] } }\n";

fn with(extra: &str) -> Config {
    config(&format!("{LISTEN}{UPSTREAM}{extra}"))
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let problems = load(Path::new("/nonexistent/spooky.yaml")).unwrap_err();
    let [problem] = problems.iter().collect::<Vec<_>>()[..] else { panic!("{problems}") };
    let expected = "Failed to read config file '/nonexistent/spooky.yaml': No such file or directory (os error 2)";
    assert_eq!(problem.message, expected);
    assert_eq!(problems.summary(), "Configuration validation failed: 1 error(s) in /nonexistent/spooky.yaml");
}

#[test]
fn a_file_that_is_not_utf8_says_so() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("latin1.yaml");
    std::fs::write(&file, b"a: \xe9\n").unwrap();
    let problems = load(&file).unwrap_err();
    assert!(problems.plain().contains("Could not parse YAML file '"), "{problems}");
    assert!(problems.plain().contains("invalid utf-8"), "{problems}");
}

#[test]
fn a_problem_is_reported_in_three_ways() {
    let text = format!(
        "{LISTEN}upstream:\n  api:\n    route: {{ host: a }}\n    backends:\n      \
         - {{ id: backend1, address: \"h:1\", weight: 0 }}\n"
    );
    let problems = read(&text).unwrap_err();
    assert_eq!(
        problems.plain(),
        "f.yaml:6:49: error: upstream.api.backends[0].weight: Backend 'backend1' in upstream 'api' has invalid weight (0)\n    \
         hint: use a whole number from 1 to 1000\n"
    );
    let expected = "\
error: upstream.api.backends[0].weight: Backend 'backend1' in upstream 'api' has invalid weight (0)
 --> f.yaml:6:49
  |
6 |       - { id: backend1, address: \"h:1\", weight: 0 }
  |                                                 ^
  |
  = help: use a whole number from 1 to 1000
";
    assert_eq!(problems.terminal(false).trim_end(), expected.trim_end());
    assert!(problems.terminal(true).contains("\u{1b}["));
    assert_eq!(
        problems.json(),
        "[{\"severity\":\"error\",\"file\":\"f.yaml\",\"line\":6,\"column\":49,\
         \"path\":\"upstream.api.backends[0].weight\",\"code\":\"config_invalid\",\
         \"message\":\"Backend 'backend1' in upstream 'api' has invalid weight (0)\",\
         \"hint\":\"use a whole number from 1 to 1000\"}]"
    );
}

#[test]
fn all_problems_come_at_once_and_in_order() {
    let text = "version: 2\nlisten: { prot: http3, tls: {} }\nupstream: {}\nlog: { level: loud }\nreload: { x: 1 }\n";
    let problems = read(text).unwrap_err();
    let spans: Vec<_> = problems.iter().map(|problem| (problem.line, problem.column, problem.path.as_str())).collect();
    let expected = [
        (1, 10, "version"),
        (2, 11, "listen.prot"),
        (2, 29, "listen.tls"),
        (3, 11, "upstream"),
        (4, 15, "log.level"),
        (5, 11, "reload.x"),
    ];
    assert_eq!(spans, expected, "{problems}");
}

#[test]
fn unknown_keys_are_helped() {
    let hint = |text: &str| read(text).unwrap_err().iter().find_map(|problem| problem.hint.clone()).unwrap_or_default();
    let near = format!("{LISTEN}upstream: {{ a: {{ route: {{ path_prefx: / }} }} }}");
    assert_eq!(hint(&near), "did you mean 'path_prefix'?");
    let far = format!("{LISTEN}{UPSTREAM}reload: {{ zzz: 1 }}");
    assert_eq!(hint(&far), "allowed keys: watch_certificates, watch_config, debounce_ms");
}

#[test]
fn variables_get_their_type_after_interpolation() {
    let env = |name: &str| (name == "PORT").then(|| "7000".to_owned());
    let text = |port: &str| format!("listen:\n  port: {port}\n  tls: {{ cert: c, key: k }}\n{UPSTREAM}");
    let port = |value: &str| parse(&text(value), "f", &env).map(|loaded| loaded.config.listeners[0].port);
    assert_eq!(port("${PORT}").unwrap(), 7000);
    assert_eq!(port("${NOPE:-7001}").unwrap(), 7001);
    let quoted = port("\"${PORT}\"").unwrap_err();
    assert!(quoted.plain().contains("invalid type: expected integer, found string"), "{quoted}");
    let unset = port("${NOPE}").unwrap_err();
    assert!(unset.plain().contains("listen.port: environment variable 'NOPE' is not set"), "{unset}");
    let optional = parse(&format!("{LISTEN}{UPSTREAM}log:\n  qlog_dir: ${{NOPE:-}}\n"), "f", &env);
    assert_eq!(optional.unwrap().config.log.qlog_dir, None);
    let flow = read("listen: { port: ${PORT} }").unwrap_err();
    assert!(flow.plain().contains("hint: between { } or [ ] a value with ${...} must be in quotes"), "{flow}");
}

#[test]
fn secrets_stay_secret() {
    let text = format!("{LISTEN}{UPSTREAM}observability: {{ control_api: {{ auth_token: \"hunter2\", port: 0 }} }}\n");
    let problems = read(&text).unwrap_err();
    assert!(!problems.terminal(false).contains("hunter2"), "{}", problems.terminal(false));
    let broken = read("observability: { control_api: { auth_token: \"hunter2").unwrap_err();
    assert!(!broken.terminal(false).contains("hunter2"), "{}", broken.terminal(false));
    let number = read(&text.replace("\"hunter2\", port: 0", "4242424242")).unwrap_err();
    for reported in [number.plain(), number.terminal(false), number.json()] {
        assert!(!reported.contains("4242424242"), "{reported}");
    }
    let loaded = read(&text.replace("port: 0", "port: 1")).unwrap();
    let yaml = loaded.config.to_yaml();
    assert!(yaml.contains("auth_token: <redacted>") && !yaml.contains("hunter2"));
    assert!(!format!("{:?}", loaded.config).contains("hunter2"));
    let token =
        |text: &str| read(&text.replace("port: 0", "port: 1")).unwrap().config.observability.control_api.auth_token;
    assert!(token(&text) == token(&text) && token(&text) != token(&text.replace("hunter2", "hunter3")), "it is read");
}

#[test]
fn codes_say_what_kind_of_problem_it_is() {
    let code = |text: &str| read(&format!("{LISTEN}{text}")).unwrap_err().iter().next().unwrap().code;
    assert_eq!(
        code("upstream: { a: { route: { host: a }, backends: [ { id: b, address: h } ] } }"),
        Code::BackendAddressInvalid
    );
    let twice = "upstream: { a: &u { route: { host: a }, backends: [ { id: b, address: \"h:1\" } ] }, b: *u }";
    assert_eq!(code(twice), Code::DuplicateRouteAmbiguity);
    let metrics = format!("{UPSTREAM}observability: {{ metrics: {{ enabled: true, port: 9889, address: 0.0.0.0 }} }}");
    let problems = read(&format!("{LISTEN}{metrics}")).unwrap_err();
    assert!(problems.iter().any(|problem| problem.code == Code::ListenerBindConflict), "{problems}");
    let reuse = format!("{UPSTREAM}performance: {{ reuseport: false, worker_threads: 2 }}");
    assert_eq!(code(&reuse), Code::UnsupportedPolicyCombination);
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = format!(
        "{LISTEN}upstream:\n  a:\n    route: {{ host: a }}\n    backends:\n      - {{ id: b1, address: \"h:1\", health_check: &probe {{ path: x, interval: 9s }} }}\n      \
         - {{ id: b2, address: \"h:2\", health_check: *probe }}\n      \
         - {{ id: b3, address: \"h:3\", health_check: {{ <<: *probe, interval: 8s }} }}\n"
    );
    let upstream = &config(&text).upstreams[0];
    let probes: Vec<_> = upstream.backends.iter().map(|backend| backend.health_check.clone().unwrap()).collect();
    assert_eq!(probes[0], probes[1]);
    assert_eq!((probes[2].path.as_str(), probes[2].interval.as_secs()), ("/x", 8));
}

#[test]
fn defaults_follow_what_they_depend_on() {
    let config = config(&format!(
        "listen: {{ address: \"[::1]\", port: 7, tls: {{ cert: c, key: k }} }}\n{UPSTREAM}\
         performance: {{ global_inflight_limit: 10, inflight_acquire_wait_ms: 7, backend_timeout_ms: 3s }}\n\
         log: {{ format: json }}\n"
    ));
    let listener = &config.listeners[0];
    assert_eq!((listener.name.as_str(), listener.address.as_str()), ("[::1]:7", "::1"));
    assert_eq!((listener.alt_svc.port, listener.http_redirect.address.as_str()), (7, "::1"));
    let admission = &config.resilience.adaptive_admission;
    assert_eq!((admission.max_limit, admission.min_limit), (10, 10));
    assert_eq!(config.resilience.route_queue.max_wait_ms.as_millis(), 7);
    assert_eq!(config.log.access.format, LogFormat::Json);
    assert_eq!(config.upstreams[0].timeouts.response_ms.as_secs(), 3);
    assert!(!config.log.file.enabled && with("log: { file: {} }").log.file.enabled);
    assert_eq!(config.performance.worker_threads, Auto::Auto);
}

/// The five ordered timeouts of upstream `a` in seconds: connect, response, body idle, first byte, total.
fn timeouts(performance: &str, own: &str) -> [u64; 5] {
    let text = format!(
        "{LISTEN}performance: {{ {performance} }}\nupstream: {{ a: {{ route: {{ host: a }}, timeouts: {{ {own} }}, \
         backends: [ {{ id: b, address: \"h:1\" }} ] }} }}\n"
    );
    let timeouts = &config(&text).upstreams[0].timeouts;
    let [connect, response] = [timeouts.connect_ms, timeouts.response_ms];
    [connect, response, timeouts.body_idle_ms, timeouts.first_byte_ms, timeouts.total_ms].map(|value| value.as_secs())
}

#[test]
fn unwritten_timeouts_follow_written_ones() {
    for (performance, own, expected) in [
        ("", "", [2, 30, 30, 60, 90]),
        ("backend_connect_timeout_ms: 40s", "", [40, 40, 30, 60, 90]),
        ("backend_connect_timeout_ms: 2m", "", [120, 120, 30, 60, 120]),
        ("backend_timeout_ms: 1s", "", [1, 1, 30, 60, 90]),
        ("backend_timeout_ms: 3m", "", [2, 180, 30, 60, 180]),
        ("backend_body_idle_timeout_ms: 2m", "", [2, 30, 120, 120, 120]),
        ("backend_body_total_timeout_ms: 10s", "", [2, 30, 10, 10, 90]),
        ("backend_total_request_timeout_ms: 1s", "", [1, 1, 1, 1, 1]),
        ("backend_connect_timeout_ms: 5s, backend_total_request_timeout_ms: 10s", "", [5, 10, 10, 10, 10]),
        ("", "connect_ms: 40s", [40, 40, 30, 60, 90]),
        ("", "response_ms: 1s", [1, 1, 30, 60, 90]),
        ("", "body_idle_ms: 2m", [2, 30, 120, 120, 120]),
        ("", "total_ms: 1s", [1, 1, 1, 1, 1]),
        ("backend_timeout_ms: 5s", "total_ms: 50s", [2, 5, 30, 50, 50]),
        // What `performance` had to lower for itself, an upstream may still raise.
        ("backend_timeout_ms: 1s", "response_ms: 3s", [1, 3, 30, 60, 90]),
        ("backend_total_request_timeout_ms: 10s", "total_ms: 2m", [2, 10, 10, 10, 120]),
    ] {
        assert_eq!(timeouts(performance, own), expected, "{performance} / {own}");
    }
    let performance = with("performance: { backend_body_idle_timeout_ms: 2m }").performance;
    assert_eq!(performance.backend_body_total_timeout_ms.as_secs(), 120);
    assert_eq!(performance.backend_total_request_timeout_ms.as_secs(), 120);
}

#[test]
fn a_timeout_that_breaks_the_order_is_reported_with_the_line_of_the_other() {
    let text = |own: &str| {
        format!(
            "{LISTEN}performance:\n  backend_connect_timeout_ms: 3s\n  backend_total_request_timeout_ms: 35s\n\
             upstream:\n  a:\n    route: {{ host: a }}\n    timeouts:\n      {own}\n    \
             backends: [ {{ id: b, address: \"h:1\" }} ]\n"
        )
    };
    let reported = |own: &str| read(&text(own)).unwrap_err().plain();
    assert_eq!(
        reported("response_ms: 36s"),
        "f.yaml:9:20: error: upstream.a.timeouts.response_ms: upstream.a.timeouts.response_ms must be <= total_ms \
         (35 s, written at line 4)\n"
    );
    assert_eq!(
        reported("response_ms: 2500"),
        "f.yaml:9:20: error: upstream.a.timeouts.connect_ms: upstream.a.timeouts.connect_ms must be <= response_ms \
         (2500 ms, written at line 9)\n    \
         hint: connect_ms is 3 s, written at line 3 as performance.backend_connect_timeout_ms\n"
    );
    assert!(read(&text("response_ms: 35s")).is_ok());
    // A value that cannot be read is reported alone.
    let wrong = reported("response_ms: 1.5");
    assert_eq!(wrong.lines().filter(|line| line.contains("error:")).count(), 1, "{wrong}");
}

#[test]
fn an_upstreams_own_block_replaces_the_global_one_as_a_whole() {
    let config = config(&format!(
        "{LISTEN}load_balancing: {{ type: lc, slow_start_ms: 1s }}\nupstream_tls: {{ ca_file: x, strict_sni: false }}\n\
         upstream:\n  a: {{ route: {{ host: a }}, backends: [ {{ id: b, address: \"h:1\" }} ] }}\n  \
         b: {{ route: {{ host: b }}, load_balancing: {{ type: ch }}, tls: {{ server_name: s }}, backends: [ {{ id: b, address: \"h:1\" }} ] }}\n"
    ));
    let [a, b] = &config.upstreams[..] else { panic!() };
    assert_eq!(
        (a.load_balancing.algorithm, a.load_balancing.slow_start_ms.as_secs()),
        (Algorithm::LeastConnections, 1)
    );
    assert_eq!((b.load_balancing.algorithm, b.load_balancing.slow_start_ms.as_secs()), (Algorithm::ConsistentHash, 10));
    assert!(!a.tls.strict_sni && !a.tls.use_system_roots);
    assert!(b.tls.strict_sni && b.tls.use_system_roots && b.tls.ca_file.is_none());
}

#[test]
fn bare_addresses_are_detected_only_without_verification() {
    let scheme = |extra: &str| with(extra).upstreams[0].backends[0].address.scheme;
    assert_eq!(scheme(""), BackendScheme::Https);
    assert_eq!(scheme("upstream_tls: { verify_certificates: false }"), BackendScheme::Detect);
}

#[test]
fn passive_health_takes_the_thresholds_of_probes() {
    let text = |passive: &str| {
        format!(
            "{LISTEN}upstream:\n  a:\n    route: {{ host: a }}\n    {passive}\n    backends:\n      \
             - {{ id: b1, address: \"h:1\", health_check: {{ failure_threshold: 7, cooldown_ms: 9s }} }}\n      \
             - {{ id: b2, address: \"h:2\" }}\n"
        )
    };
    let thresholds = |passive: &str| {
        let config = config(&text(passive));
        let backends = config.upstreams[0].backends.iter().map(|backend| backend.passive_health.clone());
        backends
            .map(|health| (health.failure_threshold, health.success_threshold, health.cooldown_ms.as_secs()))
            .collect::<Vec<_>>()
    };
    assert_eq!(thresholds(""), [(7, 2, 9), (3, 1, 10)]);
    assert_eq!(thresholds("passive_health: { failure_threshold: 5 }"), [(5, 2, 9), (5, 1, 10)]);
}

#[test]
fn hosts_and_prefixes_are_normalised() {
    let text = |route: &str| {
        format!("{LISTEN}upstream: {{ a: {{ route: {{ {route} }}, backends: [ {{ id: b, address: \"h:1\" }} ] }} }}")
    };
    let route = |written: &str| config(&text(written)).upstreams[0].route.clone();
    assert_eq!(route("host: \"API.Example.com.:443\"").host, Some(HostPattern::Exact("api.example.com".to_owned())));
    assert_eq!(route("host: \"*.Shop.Example\"").host, Some(HostPattern::Below("shop.example".to_owned())));
    assert_eq!(route("host: \"[2001:DB8::0:1]\"").host, Some(HostPattern::Exact("2001:db8::1".to_owned())));
    assert_eq!(route("path_prefix: //a/%62/../c").path_prefix, "/a/c");
    assert_eq!(route("host: a, method: get").method.as_deref(), Some("GET"));
}

#[test]
fn the_environment_names_the_collector() {
    let endpoint = |extra: &str, env: &dyn Fn(&str) -> Option<String>| {
        let loaded = parse(&format!("{LISTEN}{UPSTREAM}{extra}"), "f", env).unwrap();
        loaded.config.observability.tracing.otlp_endpoint
    };
    let both = |name: &str| name.starts_with("OTEL_EXPORTER_OTLP").then(|| format!("http://{}", name.len()));
    assert_eq!(endpoint("", &|_| None), "http://127.0.0.1:4317");
    assert_eq!(endpoint("", &both), "http://34");
    assert_eq!(endpoint("observability: { tracing: { otlp_endpoint: http://x } }", &both), "http://x");
}

#[test]
fn warnings_do_not_refuse() {
    let loaded = read(&format!("{LISTEN}{UPSTREAM}upstream_tls: {{ verify_certificates: false }}")).unwrap();
    assert_eq!(loaded.warnings.len(), 2);
    assert!(loaded.warnings.iter().all(|warning| warning.severity == Severity::Warning));
    let problems = loaded.problems(Vec::new());
    assert_eq!((problems.errors(), problems.summary()), (0, "Configuration validation passed successfully".to_owned()));
}
