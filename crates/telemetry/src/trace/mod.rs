//! Traces: spans of sampled requests on their way from the workers to a collector.
//!
//! A worker describes a finished request with plain data ([`RequestTrace`]) and puts it into its queue ([`SpanQueues`]). The
//! thread of [`SpanExporter`] takes it from there, makes spans of OpenTelemetry from it, and sends them with OTLP.

mod convert;
mod exporter;
mod http_client;
mod otlp;
mod queue;
mod request;
mod sampler;

pub use exporter::SpanExporter;
pub use queue::SpanQueues;
pub use request::{RequestTrace, UpstreamSpan};
pub use sampler::is_sampled;

#[cfg(test)]
mod tests;
