//! A collector: takes spans by OTLP over gRPC or HTTP, with hyper as the server and the published message types.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span as ProtoSpan;
use prost::Message;
use spooky_testkit::wait;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A span that was received.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) name: String,
    pub(super) kind: i32,
    /// The ids in hexadecimal digits.
    pub(super) trace: String,
    pub(super) id: String,
    /// Empty without a parent.
    pub(super) parent: String,
    pub(super) nanos: (u64, u64),
    pub(super) is_error: bool,
    attributes: BTreeMap<String, String>,
    resource: BTreeMap<String, String>,
}

impl Span {
    pub(super) fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }

    pub(super) fn resource(&self, key: &str) -> Option<&str> {
        self.resource.get(key).map(String::as_str)
    }

    fn new(span: &ProtoSpan, resource: &[KeyValue]) -> Self {
        Self {
            name: span.name.clone(),
            kind: span.kind,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            nanos: (span.start_time_unix_nano, span.end_time_unix_nano),
            is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
            attributes: texts(&span.attributes),
            resource: texts(resource),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |value: &KeyValue| match value.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        other => panic!("an attribute of another type: {other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

#[derive(Clone, Copy)]
enum Transport {
    Grpc,
    Http,
}

/// A running collector. Stops when dropped.
pub(super) struct Collector {
    addr: SocketAddr,
    spans: watch::Receiver<Vec<Span>>,
    task: JoinHandle<()>,
}

impl Collector {
    pub(super) async fn grpc() -> Self {
        Self::start(Transport::Grpc).await
    }

    pub(super) async fn http() -> Self {
        Self::start(Transport::Http).await
    }

    async fn start(transport: Transport) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (sender, spans) = watch::channel(Vec::new());
        let sender = Arc::new(sender);
        let task = tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(tcp, transport, sender.clone()));
            }
        });
        Self { addr, spans, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Waits for so many spans and returns them, in the order of their ends.
    pub(super) async fn spans(&self, number: usize) -> Vec<Span> {
        let mut reader = self.spans.clone();
        let what = format!("{number} spans");
        let mut spans = wait::within(&what, reader.wait_for(|spans| spans.len() >= number)).await.unwrap().clone();
        assert_eq!(spans.len(), number, "{spans:#?}");
        spans.sort_by_key(|span| span.nanos.1);
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Sender = Arc<watch::Sender<Vec<Span>>>;

async fn serve(tcp: TcpStream, transport: Transport, sender: Sender) {
    let answer = service_fn(|request| take(request, transport, sender.clone()));
    let io = TokioIo::new(tcp);
    // The client may close the connection at any time.
    let _closed = match transport {
        Transport::Grpc => http2::Builder::new(TokioExecutor::new()).serve_connection(io, answer).await,
        Transport::Http => http1::Builder::new().serve_connection(io, answer).await,
    };
}

type Answer = http_body_util::combinators::BoxBody<Bytes, Infallible>;

async fn take(
    request: Request<Incoming>,
    transport: Transport,
    sender: Sender,
) -> Result<Response<Answer>, hyper::Error> {
    let (head, body) = request.into_parts();
    let mut body = body.collect().await?.to_bytes();
    let expected = match transport {
        Transport::Grpc => ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", "application/grpc"),
        Transport::Http => ("/v1/traces", "application/x-protobuf"),
    };
    assert_eq!((head.uri.path(), head.headers["content-type"].to_str().unwrap()), expected);
    if matches!(transport, Transport::Grpc) {
        let prefix = body.split_to(5); // no compression, and the length
        assert_eq!((prefix[0], u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize), (0, body.len()));
    }
    let message = ExportTraceServiceRequest::decode(body).unwrap();
    let mut received = Vec::new();
    for of_resource in &message.resource_spans {
        let resource = of_resource.resource.as_ref().map(|resource| resource.attributes.as_slice()).unwrap_or_default();
        let spans = of_resource.scope_spans.iter().flat_map(|scope| &scope.spans);
        received.extend(spans.map(|span| Span::new(span, resource)));
    }
    sender.send_modify(|all| all.extend(received));
    Ok(answer(transport))
}

/// Returns an empty message.
fn answer(transport: Transport) -> Response<Answer> {
    let (body, kind) = match transport {
        Transport::Http => (Full::default().boxed(), "application/x-protobuf"),
        Transport::Grpc => {
            let mut message = BytesMut::new();
            message.put_bytes(0, 5);
            let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
            let body = Full::new(message.freeze()).with_trailers(async { Some(Ok(trailers)) });
            (body.boxed(), "application/grpc")
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", HeaderValue::from_static(kind));
    response
}
