//! Makes the OTLP exporter of a configuration.

use super::http_client::OtlpHttp;
use opentelemetry::KeyValue;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
    tonic_types::transport::ClientTlsConfig,
};
use opentelemetry_sdk::{Resource, trace::SpanExporter as _};
use spooky_config::{Tracing, TracingProtocol};
use std::time::Duration;

/// Longest time for a batch, with its repetitions.
pub(super) const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// Where collectors take spans over HTTP.
const HTTP_PATH: &str = "/v1/traces";

/// Creates the exporter. Must be called within a runtime. No connection is opened yet.
pub(super) fn exporter(options: &Tracing) -> Result<SpanExporter, ExporterBuildError> {
    let endpoint = endpoint(options);
    let mut exporter = match options.protocol {
        TracingProtocol::Grpc => {
            let builder = SpanExporter::builder().with_tonic().with_timeout(EXPORT_TIMEOUT);
            let builder = if endpoint.starts_with("https:") {
                builder.with_tls_config(ClientTlsConfig::new().with_native_roots())
            } else {
                builder
            };
            builder.with_retry_policy(RetryPolicy::recommended()).with_endpoint(endpoint).build()
        }
        TracingProtocol::Http => SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_http_client(OtlpHttp::default())
            .with_timeout(EXPORT_TIMEOUT)
            .with_endpoint(endpoint)
            .build(),
    }?;
    let name = KeyValue::new("service.name", options.service_name.clone());
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    exporter.set_resource(&Resource::builder_empty().with_attributes([name, version]).build());
    Ok(exporter)
}

/// Returns the URL of the collector. Over HTTP, a URL without a path gets the usual one.
pub(super) fn endpoint(options: &Tracing) -> String {
    let endpoint = options.otlp_endpoint.trim();
    let after_scheme = endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest).trim_end_matches('/');
    if options.protocol == TracingProtocol::Http && !after_scheme.contains('/') {
        format!("{}{HTTP_PATH}", endpoint.trim_end_matches('/'))
    } else {
        endpoint.to_owned()
    }
}
