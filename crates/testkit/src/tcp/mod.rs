//! Clients over TCP and TLS: HTTP/1.1 as text, HTTP/2 by the `h2` crate or frame by frame, and curl.

mod curl;
pub mod frames;
mod http1;
mod http2;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certs::Authority;

pub use curl::{Curl, CurlReply};
pub use h2::{Error as Http2Error, Reason};
pub use http1::{Http1, Http1Reply};
pub use http2::Http2;

/// A TLS connection.
pub type Tls = TlsStream<TcpStream>;

/// Connects to `addr` and offers `alpn`. Trusts only `authority`.
///
/// # Errors
/// If TCP or the TLS handshake fails.
pub async fn connect(authority: &Authority, addr: SocketAddr, name: &str, alpn: &[&[u8]]) -> io::Result<Tls> {
    let stream = TcpStream::connect(addr).await?;
    handshake(stream, name, authority.client_config(alpn)).await
}

/// Makes a TLS handshake on a connection.
///
/// # Errors
/// If the handshake fails.
pub async fn handshake(stream: TcpStream, name: &str, config: ClientConfig) -> io::Result<Tls> {
    stream.set_nodelay(true)?;
    let name = name.to_owned().try_into().expect("a server name");
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}
