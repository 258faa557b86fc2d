//! `upstream.<u>`: a route, its backends and their settings.

use std::collections::HashMap;
use std::time::Duration;

use super::balancing::LoadBalancing;
use super::order::{self, ORDER, Timeout};
use super::performance::Performance;
use super::tls::UpstreamTls;
use crate::problem::Code;
use crate::spec::block::block;
use crate::spec::key::is_not_blank;
use crate::spec::keywords::keywords;
use crate::spec::text::{Text, text};
use crate::spec::{ConfigValue, Key, Kind, ListItem, Mapping, Reader};
use crate::value::address::{BackendAddress, BackendScheme};
use crate::value::collection::each_named;
use crate::value::http::{HostPattern, Method, StatusRange, parse_host};
use crate::value::path::{literal_prefix, matching_form};
use crate::value::quantity::millis;
use crate::yaml::Node;
use crate::yaml::emit::Value;

pub(crate) const NAME_EMPTY: Text = text("Upstream name is empty");
const ROUTE_EMPTY: Text = text("Upstream '<u>' must have either 'host' or 'path_prefix' route matcher");
const ROUTE_HOST: Text = text("Upstream '<u>' has an invalid route host: <h>");
const PREFIX_EMPTY: Text = text("Route path_prefix cannot be empty for upstream '<u>'");
const PREFIX_SLASH: Text = text("Route path_prefix must start with '/' for upstream '<u>': <p>");
const PREFIX_STAR: Text = text("path_prefix is literal; '*' has no meaning here").warning().hint("<prefix>");
const PREFIX_INVALID: Text = text("Route path_prefix is invalid for upstream '<u>': <p>");
const METHOD: Text = text("Route method is invalid for upstream '<u>': <m>");
pub(crate) const METHOD_CONNECT: Text =
    text("Route method CONNECT for upstream '<u>' requires resilience.protocol.allow_connect=true")
        .code(Code::UnsupportedPolicyCombination);
pub(crate) const AMBIGUOUS: Text = text(
    "Ambiguous route matcher detected: upstream '<a>' conflicts with upstream '<b>' for host=<h> path_prefix=<p> method=<m>",
)
.code(Code::DuplicateRouteAmbiguity);
const HOST_REWRITE: Text = text("upstream <u>.host_policy.mode=rewrite requires a valid non-empty host_policy.host");
const HOST_UNUSED: Text =
    text("upstream <u>.host_policy.host is invalid unless mode is rewrite").code(Code::UnsupportedPolicyCombination);
const NO_BACKENDS: Text = text("Upstream '<u>' has no backends configured");
const ID_EMPTY: Text = text("Backend ID is empty in upstream '<u>'");
const ID_TWICE: Text = text("Duplicate backend ID '<b>' in upstream '<u>'");
const ADDRESS_EMPTY: Text =
    text("Backend address is empty for backend '<b>' in upstream '<u>'").code(Code::BackendAddressInvalid);
const ADDRESS_TWICE: Text = text(
    "Duplicate backend address '<origin>' detected: upstream '<u>' backend '<b>' conflicts with upstream '<u>' backend '<b2>'",
)
.code(Code::BackendAddressInvalid);
const WEIGHT: Text =
    text("Backend '<b>' in upstream '<u>' has invalid weight (<v>)").hint("use a whole number from 1 to 1000");
const PROBE_INTERVAL: Text = text("Health check interval is invalid (<v>) for backend '<b>' in upstream '<u>'");
const PROBE_TIMEOUT: Text = text("Health check timeout is invalid (<v>) for backend '<b>' in upstream '<u>'");
const PROBE_FAILURES: Text =
    text("Health check failure threshold is invalid (<v>) for backend '<b>' in upstream '<u>'");
const PROBE_SUCCESSES: Text =
    text("Health check success threshold is invalid (<v>) for backend '<b>' in upstream '<u>'");
const PROBE_COOLDOWN: Text = text("Health check cooldown is invalid (<v>) for backend '<b>' in upstream '<u>'");
const PROBE_STATUS: Text = text("Health check expected_status is invalid ('<v>') for backend '<b>' in upstream '<u>'");
const MAX_EJECTED: Text = text("<key> must be <= 100");
const DETECTED: Text =
    text("Backend '<b>' in upstream '<u>' uses unverified TLS or cleartext, detected at connect (<a>)").warning();
const CLEARTEXT: Text =
    text("Backend '<b>' in upstream '<u>' uses explicit insecure cleartext transport (<a>)").warning();

fn is_clean(path: &str) -> bool {
    !path.contains(['?', '#']) && !path.contains(char::is_control)
}

block! {
    /// A route and the backends that serve it.
    pub struct Upstream {
        /// Which requests it serves.
        route: Route = Route::default(), required(), may_report(ROUTE_EMPTY);
        /// How a backend is selected.
        load_balancing: LoadBalancing = LoadBalancing::default(), default("the global `load_balancing`");
        /// TLS to these backends.
        tls: UpstreamTls = UpstreamTls::default(), default("`upstream_tls`");
        /// The host that is sent to backends.
        host_policy: HostPolicy = HostPolicy::default();
        /// Fields that tell backends about the client.
        forwarded_headers: ForwardedHeaders = ForwardedHeaders::default();
        /// Timeouts of this upstream.
        timeouts: Timeouts = Timeouts::default();
        /// Health by the results of real requests.
        passive_health: PassivePolicy = PassivePolicy::default();
        /// The servers.
        backends: Vec<Backend> = Vec::new(), required(), may_report(NO_BACKENDS);
    }
    derived {
        /// The name: the key in the file.
        name: String;
    }
    finalize Upstream::finalize
}

impl Upstream {
    /// Returns the defaults that depend on global blocks.
    pub(crate) fn inheriting(performance: &Performance, tls: &UpstreamTls, balancing: Option<&LoadBalancing>) -> Self {
        Self {
            load_balancing: balancing.cloned().unwrap_or_default(),
            tls: tls.clone(),
            timeouts: Timeouts::inheriting(performance),
            ..Self::default()
        }
    }

    fn finalize(&mut self, mapping: &mut Mapping<'_, '_>) {
        let missing = self.backends.is_empty() && mapping.written("backends") && !mapping.any_failed("backends");
        mapping.require(!missing, &["backends"], NO_BACKENDS, &[]);
        self.finalize_backends();
        let mut ids = HashMap::new();
        let mut origins: HashMap<String, String> = HashMap::new();
        for (index, backend) in self.backends.iter().enumerate() {
            let Backend { id, address, .. } = backend;
            if is_not_blank(id) && ids.insert(id.clone(), index).is_some() {
                mapping.require(false, &[&format!("backends[{index}].id")], ID_TWICE, &[("b", id)]);
            }
            if address.port == 0 {
                continue;
            }
            let (key, origin) = (format!("backends[{index}].address"), address.origin());
            match origins.get(&origin) {
                Some(other) => {
                    let arguments = [("origin", &*origin), ("b", id), ("b2", other)];
                    mapping.require(false, &[&key], ADDRESS_TWICE, &arguments);
                }
                None => {
                    origins.insert(origin, id.clone());
                }
            }
            let arguments = [("b", id.as_str()), ("a", &address.written)];
            mapping.require(address.scheme != BackendScheme::Detect, &[&key], DETECTED, &arguments);
            mapping.require(address.scheme != BackendScheme::Http, &[&key], CLEARTEXT, &arguments);
        }
    }

    /// Sets the fields of backends that depend on the upstream: transport of addresses without scheme, and passive health.
    fn finalize_backends(&mut self) {
        for backend in &mut self.backends {
            if backend.address.scheme == BackendScheme::Detect && self.tls.verify_certificates {
                backend.address.scheme = BackendScheme::Https;
            }
            backend.passive_health = self.passive_health.with_check(backend.health_check.as_ref());
        }
        // The upstream shows the values that all its backends share.
        if let Some((first, others)) = self.backends.split_first() {
            let (policy, first) = (&mut self.passive_health, &first.passive_health);
            let agreed = |same: fn(&PassiveHealth, &PassiveHealth) -> bool| {
                others.iter().all(|backend| same(&backend.passive_health, first))
            };
            if agreed(|a, b| a.failure_threshold == b.failure_threshold) {
                policy.failure_threshold = Some(first.failure_threshold);
            }
            if agreed(|a, b| a.success_threshold == b.success_threshold) {
                policy.success_threshold = Some(first.success_threshold);
            }
            if agreed(|a, b| a.cooldown_ms == b.cooldown_ms) {
                policy.cooldown_ms = Some(first.cooldown_ms);
            }
        }
    }
}

/// A mapping from names to upstreams, in file order. `base` contains one upstream with the inherited values.
impl ConfigValue for Vec<Upstream> {
    fn kind() -> Kind {
        Kind::Map(Box::new(Upstream::kind()))
    }

    fn read(reader: &mut Reader<'_>, node: &Node, key: &Key, base: Option<&Self>) -> Option<Self> {
        let mut upstreams = Self::new();
        let template = base.and_then(|base| base.first());
        each_named(reader, node, key, |reader, name, node| {
            if !is_not_blank(name) {
                return reader.report(node.span, NAME_EMPTY, "", &[]);
            }
            reader.upstream = Some(name.to_owned());
            if let Some(upstream) = Upstream::read(reader, node, &Key::NONE, template) {
                upstreams.push(Upstream { name: name.to_owned(), ..upstream });
            }
            reader.upstream = None;
        })?;
        Some(upstreams)
    }

    fn to_value(&self, key: &Key) -> Value {
        Value::Map(self.iter().map(|upstream| (upstream.name.clone(), upstream.to_value(key))).collect())
    }
}

block! {
    /// Which requests an upstream serves: `host`, `path_prefix` or both, and optionally a method. The longest prefix
    /// wins, then the exact host, then the longer wildcard, then a method, then the smaller upstream name.
    pub struct Route {
        /// DNS name, IP literal, or `*.suffix` (all names below the suffix, not the suffix); port, trailing dot and case
        /// are ignored.
        host: Option<HostPattern> = None, invalid(ROUTE_HOST), default("any");
        /// Prefix of whole segments: `/api` matches `/api` and `/api/x`, not `/api2`; `/static/` matches only what is
        /// below.
        path_prefix: String = "/".to_owned(), check(|path| !path.is_empty(), PREFIX_EMPTY),
            check(|path| path.starts_with('/'), PREFIX_SLASH), check(is_clean, PREFIX_INVALID), may_report(PREFIX_STAR);
        /// One method.
        method: Option<Method> = None, invalid(METHOD), may_report(METHOD_CONNECT), default("any");
    }
    finalize |block: &mut Route, mapping: &mut Mapping<'_, '_>| {
        if !mapping.written("host") && !mapping.written("path_prefix") {
            mapping.require_here(ROUTE_EMPTY);
        }
        if let Some(prefix) = literal_prefix(&block.path_prefix) {
            mapping.require(false, &["path_prefix"], PREFIX_STAR, &[("prefix", prefix)]);
        }
        block.path_prefix = matching_form(&block.path_prefix);
    }
}

keywords! {
    /// Which host is sent to backends.
    pub enum HostMode {
        /// The host of the client's request.
        PassThrough = ["pass_through", "pass-through"],
        /// `host_policy.host`.
        Rewrite = ["rewrite"],
        /// The host of the backend's address.
        Upstream = ["upstream", "static_upstream", "static-upstream", "upstream-host"],
    }
}

block! {
    /// The host that is sent to backends.
    pub struct HostPolicy {
        /// `pass_through`: the host of the client's request; `rewrite`: `host`; `upstream`: the host of the backend's address.
        mode: HostMode = HostMode::PassThrough;
        /// The host of `rewrite`, with a port if it has one.
        host: Option<String> = None, may_report(HOST_REWRITE), may_report(HOST_UNUSED);
    }
    finalize |block: &mut HostPolicy, mapping: &mut Mapping<'_, '_>| {
        let rewrite = block.mode == HostMode::Rewrite;
        let valid = block.host.as_deref().is_some_and(|host| parse_host(host).is_some());
        mapping.require(!rewrite || valid, &["host", "mode"], HOST_REWRITE, &[]);
        mapping.require(rewrite || block.host.is_none(), &["host", "mode"], HOST_UNUSED, &[]);
    }
}

keywords! {
    /// How `forwarded` and `x-forwarded-*` are sent to backends.
    pub enum ForwardedMode {
        /// Replaces the fields of the client.
        Overwrite = ["overwrite"],
        /// Appends to the fields of the client.
        Append = ["append"],
        /// Keeps the fields of the client.
        Preserve = ["preserve"],
    }
}

block! {
    /// Fields that tell backends about the client.
    pub struct ForwardedHeaders {
        /// `overwrite`, `append` or `preserve`.
        mode: ForwardedMode = ForwardedMode::Overwrite;
    }
}

block! {
    /// Timeouts of one upstream; those that are not set come from `performance`. A timeout that is set in neither and would
    /// violate the order of timeouts takes the value of the one that is set.
    pub struct Timeouts {
        /// Maximum time to connect to a backend, TLS included.
        connect_ms: Duration = millis(2000), positive(), may_report(ORDER), default("`performance.backend_connect_timeout_ms`");
        /// Maximum time to the response head.
        response_ms: Duration = millis(30_000), positive(), may_report(ORDER), default("`performance.backend_timeout_ms`");
        /// Maximum time from the response head to the first byte of its body.
        first_byte_ms: Duration = millis(60_000), positive(), may_report(ORDER),
            default("`performance.backend_body_total_timeout_ms`");
        /// Maximum pause of a backend within a response body.
        body_idle_ms: Duration = millis(30_000), positive(), may_report(ORDER),
            default("`performance.backend_body_idle_timeout_ms`");
        /// Maximum time to the response head, all attempts together.
        total_ms: Duration = millis(90_000), positive(), default("`performance.backend_total_request_timeout_ms`");
        /// Maximum duration of a whole exchange; 0 = unlimited.
        stream_lifetime_ms: Duration = Duration::ZERO, default("`performance.max_stream_lifetime_ms`");
        /// Maximum pause on WebSocket, CONNECT, and event-stream or gRPC responses.
        tunnel_idle_ms: Duration = millis(300_000), positive(), default("`performance.tunnel_idle_timeout_ms`");
    }
    finalize Timeouts::finalize
}

impl Timeouts {
    fn finalize(&mut self, mapping: &mut Mapping<'_, '_>) {
        let ordered = order::Timeouts {
            connect: Timeout::new(mapping, "connect_ms", "backend_connect_timeout_ms", self.connect_ms),
            response: Timeout::new(mapping, "response_ms", "backend_timeout_ms", self.response_ms),
            body_idle: Timeout::new(mapping, "body_idle_ms", "backend_body_idle_timeout_ms", self.body_idle_ms),
            first_byte: Timeout::new(mapping, "first_byte_ms", "backend_body_total_timeout_ms", self.first_byte_ms),
            total: Timeout::new(mapping, "total_ms", "backend_total_request_timeout_ms", self.total_ms),
        }
        .finalize(mapping);
        self.connect_ms = ordered.connect.value();
        self.response_ms = ordered.response.value();
        self.body_idle_ms = ordered.body_idle.value();
        self.first_byte_ms = ordered.first_byte.value();
        self.total_ms = ordered.total.value();
    }

    fn inheriting(performance: &Performance) -> Self {
        Self {
            connect_ms: performance.backend_connect_timeout_ms,
            response_ms: performance.backend_timeout_ms,
            first_byte_ms: performance.backend_body_total_timeout_ms,
            body_idle_ms: performance.backend_body_idle_timeout_ms,
            total_ms: performance.backend_total_request_timeout_ms,
            stream_lifetime_ms: performance.max_stream_lifetime_ms,
            tunnel_idle_ms: performance.tunnel_idle_timeout_ms,
        }
    }
}

block! {
    /// Health by the results of real requests. With a `health_check` on the backend, its thresholds and cooldown apply
    /// here too, unless this block sets them.
    pub struct PassivePolicy {
        /// Whether results of real requests count.
        enabled: bool = true;
        /// Consecutive failures that make a backend unhealthy.
        failure_threshold: Option<usize> = None, positive(), default("that of `health_check`, else `3`");
        /// Successful trials that make it healthy again.
        success_threshold: Option<usize> = None, positive(), default("that of `health_check`, else `1`");
        /// Time that an unhealthy backend gets no requests.
        cooldown_ms: Option<Duration> = None, positive(), default("that of `health_check`, else `10000`");
        /// Whether 5xx responses are failures. Earlier default: `true`.
        count_5xx: bool = false;
        /// Maximum percentage of the backends of a pool (rounded down) that failed requests may make unhealthy at the same time.
        /// The only backend of a pool always stays healthy.
        max_ejected_percent: u8 = 50, range(0, 100, MAX_EJECTED);
    }
}

/// Effective passive health settings of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassiveHealth {
    /// Whether results of real requests count.
    pub enabled: bool,
    /// Consecutive failures that make the backend unhealthy, at least 1.
    pub failure_threshold: usize,
    /// Successful trials that make it healthy again, at least 1.
    pub success_threshold: usize,
    /// Time that an unhealthy backend gets no requests.
    pub cooldown_ms: Duration,
    /// Whether 5xx responses are failures.
    pub count_5xx: bool,
}

impl Default for PassiveHealth {
    fn default() -> Self {
        PassivePolicy::default().with_check(None)
    }
}

impl PassivePolicy {
    fn with_check(&self, check: Option<&HealthCheck>) -> PassiveHealth {
        let Self { enabled, failure_threshold, success_threshold, cooldown_ms, count_5xx, .. } = *self;
        PassiveHealth {
            enabled,
            failure_threshold: failure_threshold.or(check.map(|check| check.failure_threshold)).unwrap_or(3),
            success_threshold: success_threshold.or(check.map(|check| check.success_threshold)).unwrap_or(1),
            cooldown_ms: cooldown_ms.or(check.map(|check| check.cooldown_ms)).unwrap_or(millis(10_000)),
            count_5xx,
        }
    }
}

keywords! {
    /// Protocol of a backend.
    pub enum BackendProtocol {
        /// Detected by ALPN on TLS, by the HTTP/2 preface on cleartext.
        Auto = ["auto"],
        /// HTTP/2.
        H2 = ["h2"],
        /// HTTP/1.1.
        Http1 = ["http1"],
    }
}

block! {
    /// A backend server.
    pub struct Backend {
        /// Name in logs and metrics; unique within the upstream.
        id: String = String::new(), required(), check(is_not_blank, ID_EMPTY), may_report(ID_TWICE);
        /// `https://host[:port]`: TLS, port 443 by default. `http://host[:port]`: cleartext, port 80 by default.
        /// `host:port`: TLS, or with `verify_certificates: false` detected at connect.
        address: BackendAddress = BackendAddress::unknown(), required(), check(is_not_blank, ADDRESS_EMPTY),
            may_report(crate::value::address::NO_PORT), may_report(crate::value::address::INVALID), may_report(ADDRESS_TWICE),
            may_report(DETECTED), may_report(CLEARTEXT);
        /// HTTP version: `auto` finds it out, by ALPN on TLS, by the HTTP/2 preface on cleartext; `h2`; `http1`.
        protocol: BackendProtocol = BackendProtocol::Auto;
        /// Share of the requests relative to the other backends.
        weight: u32 = 100, range(1, 1000, WEIGHT);
        /// Active health checks of the backend.
        health_check: Option<HealthCheck> = None, default("no probes");
    }
    derived {
        /// Effective passive health settings: those of the upstream, with the thresholds of `health_check` if it sets none.
        passive_health: PassiveHealth;
    }
}

impl ListItem for Backend {
    fn set_context(reader: &mut Reader<'_>, node: &Node) {
        let id = node.entry("id").and_then(|entry| reader.silently(|reader| reader.scalar(&entry.node)));
        reader.backend = id.map(|word| word.text);
    }
}

block! {
    /// Probes of a backend, over its own transport and protocol.
    pub struct HealthCheck {
        /// Path of the probe. Empty means `/`; a missing leading slash is added.
        path: String = "/health".to_owned();
        /// Time from one probe to the next.
        interval: Duration = millis(5000), alias("interval_ms"), range(1, i128::MAX, PROBE_INTERVAL);
        /// Maximum time of a probe.
        timeout_ms: Duration = millis(1000), range(1, i128::MAX, PROBE_TIMEOUT);
        /// Consecutive failures that make the backend unhealthy.
        failure_threshold: usize = 3, range(1, i128::MAX, PROBE_FAILURES);
        /// Consecutive successes that make it healthy again.
        success_threshold: usize = 2, range(1, i128::MAX, PROBE_SUCCESSES);
        /// Time that an unhealthy backend is not probed.
        cooldown_ms: Duration = millis(5000), range(1, i128::MAX, PROBE_COOLDOWN);
        /// Statuses that count as success.
        expected_status: Vec<StatusRange> = vec![StatusRange { first: 200, last: 299 }], invalid(PROBE_STATUS);
        /// `:authority` of the probe.
        host: Option<String> = None, check(|host| parse_host(host).is_some(), PROBE_HOST),
            default("as `host_policy` would send");
    }
    finalize |block: &mut HealthCheck, _: &mut Mapping<'_, '_>| {
        if !block.path.starts_with('/') {
            block.path.insert(0, '/');
        }
    }
}

const PROBE_HOST: Text = text("invalid value '<v>': expected a host");
