//! The accept loop and the connections of an origin. Records each request in the journal.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::body::{Completion, TrackedBody};
use super::handler::Handler;
use crate::certs::Identity;
use crate::journal::{Entry, Journal};

/// Maximum number of concurrent streams of a connection.
const MAX_STREAMS: u32 = 1000;
/// Receive window of a stream, large enough to not limit uploads unless a handler does not read.
const WINDOW_BYTES: u32 = 1 << 20;

/// The HTTP version of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) enum Version {
    Http1,
    Http2,
}

/// How connections are accepted.
#[derive(Clone)]
pub(super) enum Security {
    Cleartext(Version),
    /// The version is agreed by ALPN.
    Tls(TlsAcceptor),
}

impl Security {
    pub(super) fn tls(identity: &Identity, alpn: &[&[u8]]) -> Self {
        Self::Tls(TlsAcceptor::from(Arc::new(identity.server_config(alpn))))
    }
}

pub(super) async fn run(listener: TcpListener, security: Security, handler: Handler, journal: Journal) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((tcp, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let _ = tcp.set_nodelay(true);
        let (security, handler, journal) = (security.clone(), handler.clone(), journal.clone());
        connections.spawn(async move {
            match security {
                Security::Cleartext(version) => connection(tcp, version, handler, journal).await,
                Security::Tls(acceptor) => {
                    if let Ok(stream) = acceptor.accept(tcp).await {
                        let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                        let version = if is_h2 { Version::Http2 } else { Version::Http1 };
                        connection(stream, version, handler, journal).await;
                    }
                }
            }
        });
    }
}

async fn connection<S>(stream: S, version: Version, handler: Handler, journal: Journal)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let number = journal.connect();
    let service = service_fn(|request| serve(request, handler.clone(), journal.clone(), number));
    match version {
        Version::Http1 => {
            let mut builder = hyper::server::conn::http1::Builder::new();
            let serving = builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            drop(serving.with_upgrades().await);
        }
        Version::Http2 => {
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .max_concurrent_streams(MAX_STREAMS)
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES * 8)
                .enable_connect_protocol()
                .serve_connection(TokioIo::new(stream), service);
            drop(serving.await);
        }
    }
    journal.update(|record| record.closed += 1);
}

async fn serve(
    request: Request<Incoming>,
    handler: Handler,
    journal: Journal,
    connection: usize,
) -> Result<Response<TrackedBody>, Infallible> {
    let entry = entry(&request, connection);
    journal.update(|record| record.requests.push(entry));
    let mut completion = Completion::new(journal);
    let head = request.method() == Method::HEAD;
    let response = handler(request).await;
    if head {
        completion.complete();
    }
    Ok(response.map(|body| TrackedBody::new(body, completion)))
}

fn entry(request: &Request<Incoming>, connection: usize) -> Entry {
    let protocol = request.extensions().get::<Protocol>();
    let protocol = protocol.map(|protocol| (":protocol".to_owned(), protocol.as_str().to_owned()));
    let headers = request.headers().iter();
    let headers =
        headers.map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let fields = protocol.into_iter().chain(headers).collect();
    Entry {
        method: request.method().to_string(),
        path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        authority: request.uri().authority().map(ToString::to_string).unwrap_or_default(),
        fields,
        connection,
    }
}

/// Forwards the frames of a request body, but neither its size hint nor `is_end_stream`.
pub(super) struct EchoBody(pub(super) Incoming);

impl HttpBody for EchoBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// Reads a request body to its end. Returns its digest and its trailers.
pub(super) async fn drain(mut body: Incoming) -> Result<(crate::pattern::Sum, Option<hyper::HeaderMap>), hyper::Error> {
    let mut sum = crate::pattern::Sum::default();
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => sum.add(&data),
            Err(other) => trailers = other.into_trailers().ok(),
        }
    }
    Ok((sum, trailers))
}
