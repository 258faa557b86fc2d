//! `observability`: metrics, control API, tracing, route decisions.

use std::path::PathBuf;
use std::time::Duration;

use super::listen::NO_HOST;
use crate::preflight::texts;
use crate::problem::Code;
use crate::spec::Mapping;
use crate::spec::block::block;
use crate::spec::key::is_not_blank;
use crate::spec::keywords::keywords;
use crate::spec::text::{Text, text};
use crate::value::http::is_token;
use crate::value::network::{is_host, is_loopback};
use crate::value::secret::Secret;

const METRICS_ADDRESS: Text = text("observability.metrics.address cannot be empty when metrics are enabled");
const CONTROL_ADDRESS: Text = text("observability.control_api.address cannot be empty when control_api is enabled");
const PORT: Text = text("<key> must be between 1 and 65535");
const PATH: Text = text("<key> must start with '/'");
const PATH_TWICE: Text = text("<key> duplicates <y>");
const TOKEN_EMPTY: Text = text("<key> cannot be empty when provided");
const TOKEN_REQUIRED: Text = text("<key> is required when control_api.address is non-loopback (<a>)")
    .code(Code::UnsupportedPolicyCombination)
    .hint("set auth_token_file, or bind the control API to 127.0.0.1");
const TOKEN_TWICE: Text = text("<block>.auth_token and auth_token_file must not both be set");
const SERVICE_NAME: Text = text("<key> cannot be empty when tracing is enabled");
const ENDPOINT: Text = text("<key> cannot be empty when provided");
const ENDPOINT_URL: Text = text("invalid value '<v>': expected an http:// or https:// URL");
const SAMPLE_RATIO: Text = text("<key> must be between 0.0 and 1.0");
const HEADER_NAME: Text = text("<key> must be non-empty when expose_header=true");
const METRICS_OPEN: Text = text(
    "observability.metrics is bound to non-loopback address <a>; ensure network ACLs protect plaintext metrics endpoint",
).warning();
const CONTROL_OPEN: Text =
    text("observability.control_api is bound to non-loopback address <a> without tls; the token travels in clear")
        .warning();

fn is_host_or_empty(text: &str) -> bool {
    !is_not_blank(text) || is_host(text)
}

fn is_path(text: &str) -> bool {
    text.starts_with('/')
}

fn is_url(text: &str) -> bool {
    !is_not_blank(text) || text.starts_with("http://") || text.starts_with("https://")
}

block! {
    /// Metrics, control API, tracing, route decisions.
    pub struct Observability {
        /// The Prometheus endpoint.
        metrics: Metrics = Metrics::default();
        /// Health, readiness, state and commands over HTTP.
        control_api: ControlApi = ControlApi::default();
        /// Spans over OTLP.
        tracing: Tracing = Tracing::default();
        /// Route decisions in logs and responses.
        routing: Routing = Routing::default();
    }
}

block! {
    /// The Prometheus endpoint.
    pub struct Metrics {
        /// Whether it listens.
        enabled: bool = false, restart();
        /// A failed bind stops the start.
        required: bool = false;
        /// Address that it listens on.
        address: String = "127.0.0.1".to_owned(), check(is_host_or_empty, NO_HOST), may_report(METRICS_ADDRESS), may_report(METRICS_OPEN), restart();
        /// TCP port.
        port: u16 = 9901, range(1, 65_535, PORT), may_report(texts::PORT_BUSY), may_report(texts::METRICS_BIND), restart();
        /// Path of the metrics.
        path: String = "/metrics".to_owned(), check(is_path, PATH), restart();
        /// Also export the older metric names that break Prometheus naming rules. Earlier default: `true`.
        legacy_names: bool = false;
        /// Maximum number of concurrent connections.
        max_connections: usize = 512, positive();
        /// Maximum duration of a connection.
        connection_timeout_ms: Duration = Duration::from_secs(30), positive();
    }
    finalize |block: &mut Metrics, mapping: &mut Mapping<'_, '_>| {
        let address = is_not_blank(&block.address) || !block.enabled;
        mapping.require(address, &["address"], METRICS_ADDRESS, &[]);
        let closed = !block.enabled || !is_not_blank(&block.address) || is_loopback(&block.address);
        mapping.require(closed, &["address"], METRICS_OPEN, &[("a", &block.address)]);
    }
}

block! {
    /// Health, readiness, state and commands over HTTP.
    pub struct ControlApi {
        /// Whether it listens.
        enabled: bool = false, restart();
        /// A failed bind stops the start.
        required: bool = false;
        /// Address that it listens on.
        address: String = "127.0.0.1".to_owned(), check(is_host_or_empty, NO_HOST), may_report(CONTROL_ADDRESS), may_report(CONTROL_OPEN), restart();
        /// TCP port.
        port: u16 = 9902, range(1, 65_535, PORT), may_report(texts::PORT_BUSY), may_report(texts::CONTROL_BIND), restart();
        /// `true`: HTTPS with the first listener's certificate.
        tls: bool = false, restart();
        /// Liveness.
        health_path: String = "/health".to_owned(), check(is_path, PATH), may_report(PATH_TWICE), restart();
        /// Readiness.
        ready_path: String = "/ready".to_owned(), check(is_path, PATH), may_report(PATH_TWICE), restart();
        /// State of the process.
        runtime_path: String = "/admin/runtime".to_owned(), check(is_path, PATH), may_report(PATH_TWICE), restart();
        /// Restart.
        restart_path: String = "/admin/runtime/restart".to_owned(), check(is_path, PATH), may_report(PATH_TWICE), restart();
        /// Reload of the configuration.
        reload_path: String = "/admin/runtime/reload".to_owned(), check(is_path, PATH), may_report(PATH_TWICE), restart();
        /// Reload of the certificates.
        reload_certs_path: String = "/admin/runtime/reload-certs".to_owned(), check(is_path, PATH), may_report(PATH_TWICE),
            restart();
        /// State of the backends.
        backends_path: String = "/admin/backends".to_owned(), check(is_path, PATH), may_report(PATH_TWICE), restart();
        /// The effective configuration.
        config_path: String = "/admin/config".to_owned(), check(is_path, PATH), may_report(PATH_TWICE), restart();
        /// The log level.
        log_level_path: String = "/admin/log-level".to_owned(), check(is_path, PATH), may_report(PATH_TWICE), restart();
        /// Bearer token required by the commands.
        auth_token: Option<Secret> = None, check(is_not_blank, TOKEN_EMPTY), may_report(TOKEN_REQUIRED), may_report(TOKEN_TWICE);
        /// A file with the token; surrounding white space is dropped.
        auth_token_file: Option<PathBuf> = None, check(is_not_blank, TOKEN_EMPTY), may_report(TOKEN_TWICE),
            may_report(texts::FILE_MISSING), may_report(texts::FILE_UNREADABLE);
        /// Maximum number of concurrent connections.
        max_connections: usize = 256, positive();
        /// Maximum duration of a connection.
        connection_timeout_ms: Duration = Duration::from_secs(30), positive();
    }
    finalize ControlApi::finalize
}

impl ControlApi {
    /// Returns the paths with their keys, in the order of the reference.
    pub fn paths(&self) -> [(&'static str, &str); 9] {
        [
            ("health_path", &self.health_path),
            ("ready_path", &self.ready_path),
            ("runtime_path", &self.runtime_path),
            ("restart_path", &self.restart_path),
            ("reload_path", &self.reload_path),
            ("reload_certs_path", &self.reload_certs_path),
            ("backends_path", &self.backends_path),
            ("config_path", &self.config_path),
            ("log_level_path", &self.log_level_path),
        ]
    }

    fn finalize(&mut self, mapping: &mut Mapping<'_, '_>) {
        let paths = self.paths();
        for (index, (key, path)) in paths.iter().enumerate() {
            if let Some((other, _)) = paths.iter().take(index).find(|(_, earlier)| earlier == path) {
                // The position is that of the key that the file sets; the other may be a default.
                let (key, other) = if mapping.written(key) { (*key, *other) } else { (*other, *key) };
                mapping.require(false, &[key, other], PATH_TWICE, &[("y", other)]);
            }
        }
        mapping.require(is_not_blank(&self.address) || !self.enabled, &["address"], CONTROL_ADDRESS, &[]);
        let closed = !self.enabled || !is_not_blank(&self.address) || is_loopback(&self.address);
        let both = self.auth_token.is_some() && self.auth_token_file.is_some();
        mapping.require(!both, &["auth_token", "auth_token_file"], TOKEN_TWICE, &[]);
        let guarded = closed || self.auth_token.is_some() || self.auth_token_file.is_some();
        let arguments = [("a", self.address.as_str())];
        mapping.require(guarded, &["auth_token", "auth_token_file", "address"], TOKEN_REQUIRED, &arguments);
        mapping.require(closed || self.tls, &["address"], CONTROL_OPEN, &arguments);
    }
}

keywords! {
    /// Protocol of the span exporter.
    pub enum TracingProtocol {
        /// OTLP over gRPC.
        Grpc = ["grpc"],
        /// OTLP over HTTP.
        Http = ["http"],
    }
}

block! {
    /// Spans over OTLP.
    pub struct Tracing {
        /// Whether spans are exported.
        enabled: bool = false, restart();
        /// Name of the service in spans.
        service_name: String = "spooky".to_owned(), may_report(SERVICE_NAME), restart();
        /// Endpoint to which spans are sent.
        otlp_endpoint: String = "http://127.0.0.1:4317".to_owned(), check(is_not_blank, ENDPOINT),
            check(is_url, ENDPOINT_URL), restart(),
            default("`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT`, else `http://127.0.0.1:4317`");
        /// `grpc` or `http`.
        protocol: TracingProtocol = TracingProtocol::Grpc, restart();
        /// Fraction of traces that are sampled.
        sample_ratio: f64 = 1.0, fraction(|ratio| (0.0..=1.0).contains(&ratio), SAMPLE_RATIO);
    }
    finalize |block: &mut Tracing, mapping: &mut Mapping<'_, '_>| {
        let named = is_not_blank(&block.service_name) || !block.enabled;
        mapping.require(named, &["service_name"], SERVICE_NAME, &[]);
    }
}

impl Tracing {
    /// Sets the endpoint from the environment variables of OpenTelemetry, if set.
    pub(crate) fn follow_environment(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        let variables = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        if let Some(endpoint) = variables.iter().filter_map(|name| env(name)).find(|value| is_not_blank(value)) {
            self.otlp_endpoint = endpoint;
        }
    }
}

block! {
    /// Route decisions in logs and responses.
    pub struct Routing {
        /// Logs route decisions.
        enabled: bool = false;
        /// Includes the deciding rule.
        include_reason: bool = true;
        /// Adds a response field with the decision.
        expose_header: bool = false;
        /// Name of the field that `expose_header` adds.
        header_name: String = "x-spooky-route-decision".to_owned(), check(|name| name.is_empty() || is_token(name), FIELD_NAME),
            may_report(HEADER_NAME);
    }
    finalize |block: &mut Routing, mapping: &mut Mapping<'_, '_>| {
        mapping.require(!block.expose_header || !block.header_name.is_empty(), &["header_name"], HEADER_NAME, &[]);
        block.header_name.make_ascii_lowercase();
    }
}

const FIELD_NAME: Text = text("invalid value '<v>': expected an HTTP field name");
