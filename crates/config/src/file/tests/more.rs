//! The table goes on: addresses, resilience, observability, security.

/// Part, fragment, and the message it must give.
pub(super) const MISTAKES: &[(&str, &str, &str)] = &[
    (
        "backend",
        "id: b, address: \"ftp://h\"",
        "Backend address 'ftp://h' in upstream 'api' is invalid: unsupported URL scheme; use http:// or https://",
    ),
    (
        "backend",
        "id: b, address: \"h:1/x\"",
        "Backend address 'h:1/x' in upstream 'api' is invalid: backend address must not include path, query, or fragment",
    ),
    (
        "backend",
        "id: b, address: \"u@h:1\"",
        "Backend address 'u@h:1' in upstream 'api' is invalid: backend address must not include user information",
    ),
    (
        "backend",
        "id: b, address: \"https://\"",
        "Backend address 'https://' in upstream 'api' is invalid: backend authority is empty",
    ),
    (
        "backend",
        "id: b, address: \"h h:1\"",
        "Backend address 'h h:1' in upstream 'api' is invalid: backend authority must not contain whitespace",
    ),
    ("backend", "id: b, address: \":1\"", "Backend address ':1' in upstream 'api' is invalid: backend host is empty"),
    ("backend", "id: b, address: \"h:\"", "Backend address 'h:' in upstream 'api' is invalid: backend port is empty"),
    (
        "backend",
        "id: b, address: \"h:x\"",
        "Backend address 'h:x' in upstream 'api' is invalid: backend port must be numeric",
    ),
    (
        "backend",
        "id: b, address: \"h:65536\"",
        "Backend address 'h:65536' in upstream 'api' is invalid: backend port must be in range 1-65535",
    ),
    (
        "backend",
        "id: b, address: \"[::1:443\"",
        "Backend address '[::1:443' in upstream 'api' is invalid: invalid IPv6 authority; missing closing ']'",
    ),
    (
        "backend",
        "id: b, address: \"::1:443\"",
        "Backend address '::1:443' in upstream 'api' is invalid: IPv6 authorities must use brackets, e.g. [::1]:443",
    ),
    (
        "backend",
        "id: b, address: \"h_!:1\"",
        "Backend address 'h_!:1' in upstream 'api' is invalid: backend host is not a DNS name or IP address",
    ),
    ("listen", "address: a b", "invalid value 'a b': expected an IP address or a host name"),
    ("listen", "address: \"[127.0.0.1]\"", "invalid value '[127.0.0.1]': expected an IP address or a host name"),
    ("root", "reload: { debounce_ms: 0 }", "reload.debounce_ms must be greater than 0"),
    (
        "root",
        "resilience: { adaptive_admission: { max_limit: 10 } }",
        "resilience.adaptive_admission.max_limit (10) must be >= min_limit (64)",
    ),
    (
        "root",
        "resilience: { adaptive_admission: { max_limit: 5000 } }",
        "resilience.adaptive_admission.max_limit (5000) must be <= performance.global_inflight_limit (4096)",
    ),
    (
        "root",
        "resilience: { route_queue: { caps: { api: 0 } } }",
        "resilience.route_queue.caps values must be greater than 0",
    ),
    (
        "root",
        "resilience: { route_queue: { caps: { no: 1 } } }",
        "resilience.route_queue.caps names an unknown upstream 'no'",
    ),
    (
        "root",
        "resilience: { protocol: { allow_0rtt: true, early_data_safe_methods: [] } }",
        "resilience.protocol.early_data_safe_methods must be non-empty when allow_0rtt=true",
    ),
    (
        "root",
        "resilience: { protocol: { early_data_safe_methods: [ \"\" ] } }",
        "resilience.protocol.early_data_safe_methods must not contain empty values",
    ),
    (
        "root",
        "resilience: { protocol: { allowed_methods: [ \" \" ] } }",
        "resilience.protocol.allowed_methods must not contain empty values",
    ),
    (
        "tls",
        "cert: c, key: k, client_auth: { subject_header: X_Real-IP }",
        "listen.tls.client_auth.subject_header 'x_real-ip' is a field that Spooky itself writes or removes",
    ),
    (
        "root",
        "resilience: { protocol: { denied_path_prefixes: [ /api/* ] } }",
        "denied_path_prefixes is literal; '*' has no meaning here",
    ),
    (
        "root",
        "resilience: { protocol: { allowed_methods: [ \"G T\" ] } }",
        "resilience.protocol.allowed_methods must contain valid HTTP method tokens",
    ),
    (
        "root",
        "resilience: { protocol: { denied_path_prefixes: [ x ] } }",
        "resilience.protocol.denied_path_prefixes must contain '/'-prefixed paths",
    ),
    (
        "root",
        "resilience: { protocol: { timeout_status: 502 } }",
        "resilience.protocol.timeout_status must be 503 or 504",
    ),
    (
        "root",
        "resilience: { protocol: { connect_allowed_ports: [ 0 ], allow_connect: true } }",
        "resilience.protocol.connect_allowed_ports must contain ports in range 1-65535",
    ),
    (
        "root",
        "resilience: { protocol: { connect_allowed_authorities: [ h ], allow_connect: true } }",
        "resilience.protocol.connect_allowed_authorities must contain authority-form host:port targets",
    ),
    (
        "root",
        "resilience: { protocol: { connect_allowed_ports: [ 443 ] } }",
        "resilience.protocol.connect_allowed_ports/connect_allowed_authorities require allow_connect=true",
    ),
    (
        "root",
        "resilience: { circuit_breaker: { max_open_percent: 101 } }",
        "resilience.circuit_breaker.max_open_percent must be <= 100",
    ),
    (
        "upstream",
        "passive_health: { max_ejected_percent: 101 }",
        "upstream.api.passive_health.max_ejected_percent must be <= 100",
    ),
    (
        "root",
        "performance: { max_client_share_percent: 0 }",
        "performance.max_client_share_percent must be greater than 0",
    ),
    ("root", "performance: { max_client_share_percent: 101 }", "performance.max_client_share_percent must be <= 100"),
    ("root", "performance: { quic_secret_file: \"\" }", "performance.quic_secret_file cannot be empty when provided"),
    (
        "root",
        "resilience: { hedging: { enabled: true, delay_ms: 0 } }",
        "resilience.hedging: delay_ms must be > 0 when hedging is enabled",
    ),
    (
        "root",
        "resilience: { hedging: { safe_methods: [ \"\" ] } }",
        "resilience.hedging.safe_methods must not contain empty values",
    ),
    (
        "root",
        "resilience: { hedging: { route_allowlist: [ no ] } }",
        "resilience.hedging.route_allowlist names an unknown upstream 'no'",
    ),
    (
        "root",
        "resilience: { retry_budget: { ratio_percent: 101 } }",
        "resilience.retry_budget.ratio_percent must be <= 100",
    ),
    (
        "root",
        "resilience: { retry_budget: { per_route_ratio_percent: { api: 101 } } }",
        "resilience.retry_budget.per_route_ratio_percent values must be <= 100",
    ),
    (
        "root",
        "resilience: { retry_budget: { per_route_ratio_percent: { no: 1 } } }",
        "resilience.retry_budget.per_route_ratio_percent names an unknown upstream 'no'",
    ),
    (
        "root",
        "resilience: { brownout: { trigger_inflight_percent: 101 } }",
        "resilience.brownout inflight percentages must be <= 100",
    ),
    (
        "root",
        "resilience: { brownout: { trigger_inflight_percent: 60 } }",
        "resilience.brownout.recover_inflight_percent must be < trigger_inflight_percent",
    ),
    (
        "root",
        "resilience: { brownout: { core_routes: [ no ] } }",
        "resilience.brownout.core_routes names an unknown upstream 'no'",
    ),
    ("root", "resilience: { brownout: {} }", "resilience.brownout.core_routes is empty: brownout has no effect"),
    (
        "root",
        "resilience: { watchdog: { timeout_error_rate_percent: 101 } }",
        "resilience.watchdog.timeout_error_rate_percent must be <= 100",
    ),
    (
        "root",
        "resilience: { watchdog: { overload_inflight_percent: 101 } }",
        "resilience.watchdog.overload_inflight_percent must be <= 100",
    ),
    (
        "root",
        "resilience: { watchdog: { restart_command: [ \"\" ] } }",
        "resilience.watchdog.restart_command[0] must be a non-empty executable path",
    ),
    (
        "root",
        "resilience: { watchdog: { restart_hook: x } }",
        "resilience.watchdog.restart_hook is deprecated and unsupported; use restart_command instead",
    ),
    (
        "root",
        "observability: { metrics: { enabled: true, address: \"\" } }",
        "observability.metrics.address cannot be empty when metrics are enabled",
    ),
    ("root", "observability: { metrics: { port: 0 } }", "observability.metrics.port must be between 1 and 65535"),
    ("root", "observability: { metrics: { path: m } }", "observability.metrics.path must start with '/'"),
    (
        "root",
        "observability: { metrics: { enabled: true, address: 0.0.0.0 } }",
        "observability.metrics is bound to non-loopback address 0.0.0.0; ensure network ACLs protect plaintext metrics \
         endpoint",
    ),
    (
        "root",
        "observability: { control_api: { enabled: true, address: \"\" } }",
        "observability.control_api.address cannot be empty when control_api is enabled",
    ),
    (
        "root",
        "observability: { control_api: { ready_path: x } }",
        "observability.control_api.ready_path must start with '/'",
    ),
    (
        "root",
        "observability: { control_api: { ready_path: /health } }",
        "observability.control_api.ready_path duplicates health_path",
    ),
    (
        "root",
        "observability: { control_api: { auth_token: \" \" } }",
        "observability.control_api.auth_token cannot be empty when provided",
    ),
    (
        "root",
        "observability: { control_api: { enabled: true, address: 10.0.0.1, tls: true } }",
        "observability.control_api.auth_token is required when control_api.address is non-loopback (10.0.0.1)",
    ),
    (
        "root",
        "observability: { control_api: { auth_token: a, auth_token_file: b } }",
        "observability.control_api.auth_token and auth_token_file must not both be set",
    ),
    (
        "root",
        "observability: { control_api: { enabled: true, address: 10.0.0.1, auth_token: a } }",
        "observability.control_api is bound to non-loopback address 10.0.0.1 without tls; the token travels in clear",
    ),
    (
        "root",
        "observability: { tracing: { enabled: true, service_name: \"\" } }",
        "observability.tracing.service_name cannot be empty when tracing is enabled",
    ),
    (
        "root",
        "observability: { tracing: { otlp_endpoint: \"\" } }",
        "observability.tracing.otlp_endpoint cannot be empty when provided",
    ),
    (
        "root",
        "observability: { tracing: { otlp_endpoint: \"h:4317\" } }",
        "invalid value 'h:4317': expected an http:// or https:// URL",
    ),
    (
        "root",
        "observability: { tracing: { sample_ratio: -0.1 } }",
        "observability.tracing.sample_ratio must be between 0.0 and 1.0",
    ),
    (
        "root",
        "observability: { routing: { expose_header: true, header_name: \"\" } }",
        "observability.routing.header_name must be non-empty when expose_header=true",
    ),
    ("root", "observability: { routing: { header_name: a b } }", "invalid value 'a b': expected an HTTP field name"),
    (
        "root",
        "security: { privileges: { user: \"\" } }",
        "security.privileges.user must be non-empty when privilege drop is enabled",
    ),
    (
        "root",
        "security: { privileges: { group: \" \" } }",
        "security.privileges.group must be non-empty when privilege drop is enabled",
    ),
    (
        "listeners",
        "{ tls: { cert: c } }",
        "listeners[0].tls.cert and listeners[0].tls.key must both be set when either is provided",
    ),
    ("listeners", "{ tls: {} }", "listeners[0].tls requires either cert/key or certificates entries"),
    (
        "listeners",
        "{ tls: { cert: c, key: k, client_auth: { enabled: true } } }",
        "listeners[0].tls.client_auth.ca_file is required when client_auth.enabled=true",
    ),
    (
        "listeners",
        "{ tls: { certificates: [ { server_name: a b, cert: c, key: k } ] } }",
        "listeners[0].tls.certificates[0].server_name 'a b' is not a valid DNS hostname",
    ),
    (
        "listeners",
        "{ tls: { cert: c, key: k }, tcp: { max_connections: 0 } }",
        "listeners[0].tcp.max_connections must be greater than 0",
    ),
    (
        "listeners",
        "{ tls: { cert: c, key: k } }, { tls: { cert: c, key: k } }",
        "listener binding conflict: 0.0.0.0:9889 duplicates 0.0.0.0:9889 on 0.0.0.0:9889",
    ),
    ("root", "reload: { <<: {}, <<: {} }", "duplicate field '<<'"),
    ("upstreams", "<<: {}, <<: {}", "duplicate field '<<'"),
];
