//! Traces: the context that backends get, the spans that a collector gets (docs/reference/behaviour.md#traces).

mod collector;
mod context;
mod export;
mod spans;

use http::Request;
use spooky_testkit::client::{Connection, Reply};
use spooky_testkit::journal::Entry;

use crate::proxy::Proxy;

/// A trace context of a client, and its parts.
const CLIENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// Returns the block `observability` with tracing enabled and these further keys.
fn tracing(endpoint: &str, keys: &str) -> String {
    format!("observability:\n  tracing: {{ enabled: true, otlp_endpoint: \"{endpoint}\"{keys} }}")
}

/// Starts a proxy with tracing, and with one upstream for these backends.
async fn traced(backends: &[String], endpoint: &str, keys: &str) -> Proxy {
    Proxy::start(|settings| settings.upstream("all", "/", backends).block(&tracing(endpoint, keys))).await
}

/// Sends GET with this trace context.
async fn get(connection: &Connection, path: &str, traceparent: &str) -> Reply {
    let request = Request::get(format!("https://localhost{path}")).header("traceparent", traceparent);
    connection.send(request.body(bytes::Bytes::new()).unwrap()).await.unwrap()
}

/// Returns the parts of the trace context that a backend has got: trace, span, flags.
fn context(entry: &Entry) -> (String, String, String) {
    assert_eq!(entry.count("traceparent"), 1);
    let value = entry.field("traceparent").unwrap();
    let parts: Vec<_> = value.split('-').collect();
    let ["00", trace, span, flags] = parts[..] else { panic!("{value}") };
    (trace.to_owned(), span.to_owned(), flags.to_owned())
}
