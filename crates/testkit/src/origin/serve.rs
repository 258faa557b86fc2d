//! The accept loop and the connections of an origin.
//!
//! Owns the sockets; books every request in the journal. Called by [`super::Origin`] only.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::body::{Booked, Booking};
use super::handler::Handler;
use crate::journal::{Entry, Journal};

/// Streams that a client may have open on one connection.
const MAX_STREAMS: u32 = 1000;
/// Receive windows: large enough that an upload is never held back by the origin unless a handler does not read.
const WINDOW_BYTES: u32 = 1 << 20;

pub(super) async fn run(listener: TcpListener, tls: Option<TlsAcceptor>, handler: Handler, journal: Journal) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((tcp, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        let _ = tcp.set_nodelay(true);
        let (tls, handler, journal) = (tls.clone(), handler.clone(), journal.clone());
        connections.spawn(async move {
            match tls {
                None => connection(tcp, handler, journal).await,
                Some(acceptor) => {
                    if let Ok(stream) = acceptor.accept(tcp).await {
                        connection(stream, handler, journal).await;
                    }
                }
            }
        });
    }
}

async fn connection<S>(stream: S, handler: Handler, journal: Journal)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let number = journal.connect();
    let service = service_fn(|request| serve(request, handler.clone(), journal.clone(), number));
    let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES * 8)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(stream), service)
        .await;
    journal.note(|record| record.closed += 1);
}

async fn serve(
    request: Request<Incoming>,
    handler: Handler,
    journal: Journal,
    connection: usize,
) -> Result<Response<Booked>, Infallible> {
    let entry = entry(&request, connection);
    journal.note(|record| record.requests.push(entry));
    let mut booking = Booking::new(journal);
    let head = request.method() == Method::HEAD;
    let response = handler(request).await;
    if head {
        booking.complete();
    }
    Ok(response.map(|body| Booked::new(body, booking)))
}

fn entry(request: &Request<Incoming>, connection: usize) -> Entry {
    let fields = request
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    Entry {
        method: request.method().to_string(),
        path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        authority: request.uri().authority().map(ToString::to_string).unwrap_or_default(),
        fields,
        connection,
    }
}

/// A request body whose end is looked at by nobody but the handler.
pub(super) struct Passed(pub(super) Incoming);

impl HttpBody for Passed {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

/// Reads a request body to its end; gives its sum and its trailers, or the error that cut it short.
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
