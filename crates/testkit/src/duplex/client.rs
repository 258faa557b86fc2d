//! Clients of the three protocols.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use h2::SendStream;
use h2::client::ResponseFuture;
use h2::ext::Protocol as ConnectProtocol;
use http::Request;
use tokio::net::TcpStream;

use super::Socket;
use super::head::Head;
use super::http1::Http1Stream;
use super::http2::{Http2Stream, Receiving, Sending};
use super::reset::Resetter;
use super::stream::{Stream, Wire};
use crate::certs::Authority;
use crate::client::{self, frame, raw};
use crate::tcp::{self, Http2};
use crate::wait;

/// The protocol of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/3.
    Http3,
    /// HTTP/2 over TLS.
    Http2,
    /// HTTP/1.1 over TLS.
    Http1,
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// GET of a path. Has no body.
    Get(&'a str),
    /// POST to a path. Its body has no announced length and is open.
    Post(&'a str),
    /// A WebSocket at a path.
    WebSocket(&'a str),
    /// CONNECT to an authority.
    Connect(&'a str),
}

/// A client. Over HTTP/3 and HTTP/2 all its requests share a connection, over HTTP/1.1 each has its own.
#[derive(Debug)]
pub struct Client {
    addr: SocketAddr,
    connection: Connection,
}

#[derive(Debug)]
enum Connection {
    Http3(raw::Connection),
    Http2(Http2),
    Http1(Box<rustls::ClientConfig>),
}

/// The name in the certificate of the server.
const NAME: &str = "localhost";
/// The key of the example of RFC 6455 section 1.3.
const WEBSOCKET_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

impl Client {
    /// Connects to a server whose certificate is for `localhost`.
    pub async fn connect(protocol: Protocol, authority: &Authority, addr: SocketAddr) -> Self {
        let connection = match protocol {
            Protocol::Http3 => {
                let connection = client::Client::new(authority).connect_raw(addr, NAME).await;
                connection.send_settings().await;
                Connection::Http3(connection)
            }
            Protocol::Http2 => Connection::Http2(Http2::connect(authority, addr, NAME).await),
            Protocol::Http1 => Connection::Http1(Box::new(authority.client_config(&[b"http/1.1"]))),
        };
        Self { addr, connection }
    }

    /// Sends a request head with these fields.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn open(&mut self, ask: Ask<'_>, fields: &[(&str, &str)]) -> io::Result<Stream> {
        let wire = match &mut self.connection {
            Connection::Http3(connection) => Wire::Http3(Box::new(http3(connection, ask, fields).await)),
            Connection::Http2(connection) => {
                let (response, stream) = http2(connection, ask, fields).await.map_err(io::Error::other)?;
                let sending = Sending::Open(stream);
                Wire::Http2(Http2Stream { sending, receiving: Receiving::Response(response), kill: None })
            }
            Connection::Http1(config) => Wire::Http1(http1(self.addr, (**config).clone(), ask, fields).await?),
        };
        Ok(Stream(wire))
    }

    /// Sends a request and reads its response head.
    ///
    /// # Errors
    /// If the stream or the connection ends before.
    pub async fn ask(&mut self, ask: Ask<'_>, fields: &[(&str, &str)]) -> io::Result<(Head, Stream)> {
        let mut stream = self.open(ask, fields).await?;
        Ok((stream.head().await?, stream))
    }
}

async fn http3(connection: &raw::Connection, ask: Ask<'_>, fields: &[(&str, &str)]) -> raw::Request {
    let mut head = match ask {
        Ask::Connect(authority) => vec![(":method", "CONNECT"), (":authority", authority)],
        Ask::Get(path) | Ask::Post(path) | Ask::WebSocket(path) => {
            let method = match ask {
                Ask::Get(_) => "GET",
                Ask::Post(_) => "POST",
                Ask::WebSocket(_) | Ask::Connect(_) => "CONNECT",
            };
            vec![(":method", method), (":scheme", "https"), (":authority", NAME), (":path", path)]
        }
    };
    if let Ask::WebSocket(_) = ask {
        head.extend([(":protocol", "websocket"), ("sec-websocket-version", "13")]);
    }
    head.extend_from_slice(fields);
    connection.request(&frame::headers(&head), matches!(ask, Ask::Get(_))).await
}

async fn http2(
    connection: &mut Http2,
    ask: Ask<'_>,
    fields: &[(&str, &str)],
) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
    let mut request = match ask {
        Ask::Get(path) => connection.request("GET", path),
        Ask::Post(path) => connection.request("POST", path),
        Ask::Connect(authority) => Request::builder().method("CONNECT").uri(authority),
        Ask::WebSocket(path) => {
            connection.until_extended_connect().await;
            let request = connection.request("CONNECT", path).header("sec-websocket-version", "13");
            request.extension(ConnectProtocol::from_static("websocket"))
        }
    };
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    connection.open(request.body(()).expect("a request"), matches!(ask, Ask::Get(_))).await
}

async fn http1(
    addr: SocketAddr,
    config: rustls::ClientConfig,
    ask: Ask<'_>,
    fields: &[(&str, &str)],
) -> io::Result<Http1Stream> {
    let (tcp, resetter) = Resetter::of(TcpStream::connect(addr).await?)?;
    let tls: Socket = Box::new(wait::within("TLS", tcp::handshake(tcp, NAME, config)).await?);
    let mut stream = Http1Stream::new(tls, resetter);
    let (method, target, host) = match ask {
        Ask::Get(path) | Ask::WebSocket(path) => ("GET", path, NAME),
        Ask::Post(path) => ("POST", path, NAME),
        Ask::Connect(authority) => ("CONNECT", authority, authority),
    };
    let mut head = vec![("host", host)];
    match ask {
        Ask::Post(_) => head.push(("transfer-encoding", "chunked")),
        Ask::WebSocket(_) => head.extend([
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", WEBSOCKET_KEY),
        ]),
        Ask::Get(_) | Ask::Connect(_) => {}
    }
    head.extend_from_slice(fields);
    stream.ask(method, target, &head).await?;
    Ok(stream)
}
