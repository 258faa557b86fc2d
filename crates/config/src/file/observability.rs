//! `observability`: metrics, control API, tracing, route decisions.

use std::path::PathBuf;
use std::time::Duration;

use super::listen::NO_HOST;
use crate::problem::Code;
use crate::spec::Scope;
use crate::spec::block::block;
use crate::spec::key::is_written;
use crate::spec::text::{Text, text};
use crate::spec::words::words;
use crate::value::http::is_token;
use crate::value::network::{is_host, is_loopback};
use crate::value::secret::Secret;
use crate::world::texts;

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
    !is_written(text) || is_host(text)
}

fn is_path(text: &str) -> bool {
    text.starts_with('/')
}

fn is_url(text: &str) -> bool {
    !is_written(text) || text.starts_with("http://") || text.starts_with("https://")
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
        /// Where it listens.
        address: String = "127.0.0.1".to_owned(), holds(is_host_or_empty, NO_HOST), says(METRICS_ADDRESS), says(METRICS_OPEN), restart();
        /// TCP port.
        port: u16 = 9901, range(1, 65_535, PORT), says(texts::PORT_BUSY), says(texts::METRICS_BIND), restart();
        /// Path of the metrics.
        path: String = "/metrics".to_owned(), holds(is_path, PATH), restart();
        /// Also export the older metric names that break Prometheus naming rules. Earlier default: `true`.
        legacy_names: bool = false;
        /// Connections at a time.
        max_connections: usize = 512, positive();
        /// A connection ends after this.
        connection_timeout_ms: Duration = Duration::from_secs(30), positive();
    }
    settle |block: &mut Metrics, scope: &mut Scope<'_, '_>| {
        let address = is_written(&block.address) || !block.enabled;
        scope.require(address, &["address"], METRICS_ADDRESS, &[]);
        let closed = !block.enabled || !is_written(&block.address) || is_loopback(&block.address);
        scope.require(closed, &["address"], METRICS_OPEN, &[("a", &block.address)]);
    }
}

block! {
    /// Health, readiness, state and commands over HTTP.
    pub struct ControlApi {
        /// Whether it listens.
        enabled: bool = false, restart();
        /// A failed bind stops the start.
        required: bool = false;
        /// Where it listens.
        address: String = "127.0.0.1".to_owned(), holds(is_host_or_empty, NO_HOST), says(CONTROL_ADDRESS), says(CONTROL_OPEN), restart();
        /// TCP port.
        port: u16 = 9902, range(1, 65_535, PORT), says(texts::PORT_BUSY), says(texts::CONTROL_BIND), restart();
        /// `true`: HTTPS with the first listener's certificate.
        tls: bool = false, restart();
        /// Liveness.
        health_path: String = "/health".to_owned(), holds(is_path, PATH), says(PATH_TWICE), restart();
        /// Readiness.
        ready_path: String = "/ready".to_owned(), holds(is_path, PATH), says(PATH_TWICE), restart();
        /// State of the process.
        runtime_path: String = "/admin/runtime".to_owned(), holds(is_path, PATH), says(PATH_TWICE), restart();
        /// Restart.
        restart_path: String = "/admin/runtime/restart".to_owned(), holds(is_path, PATH), says(PATH_TWICE), restart();
        /// Reload of the configuration.
        reload_path: String = "/admin/runtime/reload".to_owned(), holds(is_path, PATH), says(PATH_TWICE), restart();
        /// Reload of the certificates.
        reload_certs_path: String = "/admin/runtime/reload-certs".to_owned(), holds(is_path, PATH), says(PATH_TWICE),
            restart();
        /// State of the backends.
        backends_path: String = "/admin/backends".to_owned(), holds(is_path, PATH), says(PATH_TWICE), restart();
        /// The effective configuration.
        config_path: String = "/admin/config".to_owned(), holds(is_path, PATH), says(PATH_TWICE), restart();
        /// The log level.
        log_level_path: String = "/admin/log-level".to_owned(), holds(is_path, PATH), says(PATH_TWICE), restart();
        /// Bearer token of the commands.
        auth_token: Option<Secret> = None, holds(is_written, TOKEN_EMPTY), says(TOKEN_REQUIRED), says(TOKEN_TWICE);
        /// A file with the token; surrounding white space is dropped.
        auth_token_file: Option<PathBuf> = None, holds(is_written, TOKEN_EMPTY), says(TOKEN_TWICE),
            says(texts::FILE_MISSING), says(texts::FILE_UNREADABLE);
        /// Connections at a time.
        max_connections: usize = 256, positive();
        /// A connection ends after this.
        connection_timeout_ms: Duration = Duration::from_secs(30), positive();
    }
    settle ControlApi::settle
}

impl ControlApi {
    /// The paths with their keys, in the order of the reference.
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

    fn settle(&mut self, scope: &mut Scope<'_, '_>) {
        let paths = self.paths();
        for (index, (key, path)) in paths.iter().enumerate() {
            if let Some((other, _)) = paths.iter().take(index).find(|(_, earlier)| earlier == path) {
                // The place is the one that the file sets; the other is a default.
                let (key, other) = if scope.written(key) { (*key, *other) } else { (*other, *key) };
                scope.require(false, &[key, other], PATH_TWICE, &[("y", other)]);
            }
        }
        scope.require(is_written(&self.address) || !self.enabled, &["address"], CONTROL_ADDRESS, &[]);
        let closed = !self.enabled || !is_written(&self.address) || is_loopback(&self.address);
        let both = self.auth_token.is_some() && self.auth_token_file.is_some();
        scope.require(!both, &["auth_token", "auth_token_file"], TOKEN_TWICE, &[]);
        let guarded = closed || self.auth_token.is_some() || self.auth_token_file.is_some();
        let arguments = [("a", self.address.as_str())];
        scope.require(guarded, &["auth_token", "auth_token_file", "address"], TOKEN_REQUIRED, &arguments);
        scope.require(closed || self.tls, &["address"], CONTROL_OPEN, &arguments);
    }
}

words! {
    /// How spans are sent.
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
        service_name: String = "spooky".to_owned(), says(SERVICE_NAME), restart();
        /// Endpoint to which spans are sent.
        otlp_endpoint: String = "http://127.0.0.1:4317".to_owned(), holds(is_written, ENDPOINT),
            holds(is_url, ENDPOINT_URL), restart(),
            default("`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT`, else `http://127.0.0.1:4317`");
        /// `grpc` or `http`.
        protocol: TracingProtocol = TracingProtocol::Grpc, restart();
        /// Share of traces that are sampled.
        sample_ratio: f64 = 1.0, fraction(|ratio| (0.0..=1.0).contains(&ratio), SAMPLE_RATIO);
    }
    settle |block: &mut Tracing, scope: &mut Scope<'_, '_>| {
        let named = is_written(&block.service_name) || !block.enabled;
        scope.require(named, &["service_name"], SERVICE_NAME, &[]);
    }
}

impl Tracing {
    /// Takes the endpoint that OpenTelemetry's own variables name, if any.
    pub(crate) fn follow_environment(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        let variables = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        if let Some(endpoint) = variables.iter().filter_map(|name| env(name)).find(|value| is_written(value)) {
            self.otlp_endpoint = endpoint;
        }
    }
}

block! {
    /// Route decisions in logs and responses.
    pub struct Routing {
        /// Route decision lines in the log.
        enabled: bool = false;
        /// Name the rule that decided.
        include_reason: bool = true;
        /// Adds the field below to responses.
        expose_header: bool = false;
        /// Name of that field.
        header_name: String = "x-spooky-route-decision".to_owned(), holds(|name| name.is_empty() || is_token(name), FIELD_NAME),
            says(HEADER_NAME);
    }
    settle |block: &mut Routing, scope: &mut Scope<'_, '_>| {
        scope.require(!block.expose_header || !block.header_name.is_empty(), &["header_name"], HEADER_NAME, &[]);
        block.header_name.make_ascii_lowercase();
    }
}

const FIELD_NAME: Text = text("invalid value '<v>': expected an HTTP field name");
