//! hyper's HTTP/2 client, for unit tests of the origins of this crate.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certs::Authority;
use crate::wait;

pub(crate) type Sender = SendRequest<Full<Bytes>>;

pub(crate) async fn dial(addr: SocketAddr) -> Sender {
    let tcp = TcpStream::connect(addr).await.unwrap();
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(tcp)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) async fn dial_tls(addr: SocketAddr, authority: &Authority) -> Sender {
    let connector = TlsConnector::from(Arc::new(authority.client_config(&[b"h2"])));
    let tcp = TcpStream::connect(addr).await.unwrap();
    let tls = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(tls)).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub(crate) fn request(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(format!("http://localhost{path}")).header("x-request-id", path).body(Full::new(body.into())).unwrap()
}

pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

pub(crate) async fn fetch(sender: &mut Sender, path: &str, body: impl Into<Bytes>) -> Result<Got, hyper::Error> {
    wait::within("HTTP/2 to accept a request", sender.ready()).await?;
    let response = wait::within("an HTTP/2 answer", sender.send_request(request(path, body))).await?;
    collect(response).await
}

pub(crate) async fn get(sender: &mut Sender, path: &str) -> Result<Got, hyper::Error> {
    wait::within("HTTP/2 to accept a request", sender.ready()).await?;
    let request = Request::get(format!("http://localhost{path}")).body(Full::default()).unwrap();
    collect(wait::within("an HTTP/2 answer", sender.send_request(request)).await?).await
}

pub(crate) async fn collect(response: http::Response<Incoming>) -> Result<Got, hyper::Error> {
    let (parts, body) = response.into_parts();
    let whole = wait::within("an HTTP/2 body", body.collect()).await?;
    let trailers = whole.trailers().cloned();
    Ok(Got { status: parts.status, headers: parts.headers, body: whole.to_bytes(), trailers })
}

/// Returns the cause of an error of hyper.
pub(crate) fn reason(error: &hyper::Error) -> Option<String> {
    std::error::Error::source(error).map(ToString::to_string)
}
