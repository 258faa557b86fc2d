//! Backends of both protocols, in cleartext or TLS. The test accepts each request and answers it.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::digest;
use h2::ext::Protocol as ConnectProtocol;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::Socket;
use super::http1::Http1Stream;
use super::http2::{Http2Stream, Receiving, Sending};
use super::reset::Resetter;
use super::stream::{Stream, Wire};
use crate::certs::Identity;
use crate::wait;

/// RFC 6455 section 1.3.
const WEBSOCKET_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A running backend. Stops when dropped.
pub struct Origin {
    addr: SocketAddr,
    is_tls: bool,
    requests: mpsc::UnboundedReceiver<Served>,
    task: JoinHandle<()>,
}

/// A request that a backend has received.
pub struct Served {
    /// `GET`, `POST`, `CONNECT`.
    pub method: String,
    /// The path, or the authority of a CONNECT.
    pub target: String,
    /// The fields in order.
    pub fields: Vec<(String, String)>,
    /// Whether it asks for a WebSocket.
    pub is_websocket: bool,
    stream: Stream,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({})", self.addr)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Origin {
    /// Starts a backend that speaks HTTP/2 with extended CONNECT, or else HTTP/1.1, over TLS if `identity` is given.
    pub async fn start(is_http2: bool, identity: Option<&Identity>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bind a backend on loopback");
        let addr = listener.local_addr().expect("address of a bound socket");
        let alpn: &[u8] = if is_http2 { b"h2" } else { b"http/1.1" };
        let tls = identity.map(|identity| TlsAcceptor::from(Arc::new(identity.server_config(&[alpn]))));
        let (sender, requests) = mpsc::unbounded_channel();
        let is_tls = tls.is_some();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((tcp, _)) = listener.accept().await else { continue };
                while connections.try_join_next().is_some() {}
                let (tls, sender) = (tls.clone(), sender.clone());
                connections.spawn(async move {
                    // Fails if the client of the connection ends it, which the test sees.
                    let _ = serve(tcp, tls, is_http2, sender).await;
                });
            }
        });
        Self { addr, is_tls, requests, task }
    }

    /// Returns its URL for the configuration of a backend.
    pub fn url(&self) -> String {
        format!("{}://{}", if self.is_tls { "https" } else { "http" }, self.addr)
    }

    /// Waits for the next request.
    pub async fn accept(&mut self) -> Served {
        wait::within("a request at the backend", self.requests.recv()).await.expect("a running backend")
    }

    /// Drops the requests that were not accepted.
    pub fn discard(&mut self) {
        while self.requests.try_recv().is_ok() {}
    }

    /// Returns whether no request has arrived that was not accepted.
    pub fn is_idle(&self) -> bool {
        self.requests.is_empty()
    }
}

impl Served {
    /// Returns the first value of a field, or the empty string.
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }

    /// Sends an interim response.
    ///
    /// # Errors
    /// If the stream or the connection has ended.
    pub async fn interim(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        match &mut self.stream.0 {
            Wire::Http1(stream) => stream.answer(status, fields).await,
            Wire::Http2(stream) => stream.answer(status, fields),
            Wire::Http3(_) => unreachable!("a backend"),
        }
    }

    /// Sends the final response head. Its body has no announced length and is open. Over HTTP/1.1 it says that the connection
    /// closes after it.
    ///
    /// # Errors
    /// If the stream or the connection has ended.
    pub async fn respond(mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<Stream> {
        match &mut self.stream.0 {
            Wire::Http1(stream) if self.method == "CONNECT" && status == 200 => stream.answer(status, fields).await?,
            Wire::Http1(stream) => {
                let framing = [("transfer-encoding", "chunked"), ("connection", "close")];
                stream.answer(status, &[fields, &framing].concat()).await?;
            }
            Wire::Http2(stream) => stream.answer(status, fields)?,
            Wire::Http3(_) => unreachable!("a backend"),
        }
        Ok(self.stream)
    }

    /// Opens the WebSocket.
    ///
    /// # Errors
    /// If the stream or the connection has ended.
    pub async fn open_websocket(mut self) -> io::Result<Stream> {
        assert!(self.is_websocket, "{} {}", self.method, self.target);
        let accept = websocket_accept(self.field("sec-websocket-key"));
        match &mut self.stream.0 {
            Wire::Http1(stream) => {
                let fields = [("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", &*accept)];
                stream.answer(101, &fields).await?;
            }
            Wire::Http2(stream) => stream.answer(200, &[])?,
            Wire::Http3(_) => unreachable!("a backend"),
        }
        Ok(self.stream)
    }

    /// Returns the stream, to read the request before its response.
    pub fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }
}

async fn serve(
    tcp: TcpStream,
    tls: Option<TlsAcceptor>,
    is_http2: bool,
    requests: mpsc::UnboundedSender<Served>,
) -> Option<()> {
    tcp.set_nodelay(true).ok()?;
    let (tcp, resetter) = Resetter::of(tcp).ok()?;
    let socket: Socket = match tls {
        Some(acceptor) => Box::new(acceptor.accept(tcp).await.ok()?),
        None => Box::new(tcp),
    };
    if is_http2 {
        return http2(socket, resetter, requests).await;
    }
    let mut stream = Http1Stream::new(socket, resetter);
    let (method, target, fields) = stream.request().await?;
    if method == "PRI" {
        // The HTTP/2 preface.
        return stream.answer(400, &[("content-length", "0"), ("connection", "close")]).await.ok();
    }
    let is_websocket = fields.iter().any(|(name, value)| name == "upgrade" && value == "websocket");
    let stream = Stream(Wire::Http1(stream));
    requests.send(Served { method, target, fields, is_websocket, stream }).ok()
}

async fn http2(socket: Socket, resetter: Resetter, requests: mpsc::UnboundedSender<Served>) -> Option<()> {
    let mut connection = h2::server::Builder::new().enable_connect_protocol().handshake(socket).await.ok()?;
    let kill = Arc::new(Notify::new());
    loop {
        let accepted = tokio::select! {
            () = kill.notified() => {
                resetter.arm();
                return None;
            }
            accepted = connection.accept() => accepted?,
        };
        let (request, respond) = accepted.ok()?;
        let (head, body) = request.into_parts();
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let target = head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string);
        let fields = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let is_websocket =
            head.extensions.get::<ConnectProtocol>().is_some_and(|protocol| protocol.as_str() == "websocket");
        let (sending, receiving) = (Sending::Response(respond), Receiving::Open(body));
        let stream = Stream(Wire::Http2(Http2Stream { sending, receiving, kill: Some(kill.clone()) }));
        requests.send(Served { method: head.method.to_string(), target, fields, is_websocket, stream }).ok()?;
    }
}

/// Returns the answer to the key of a handshake: the SHA-1 of both in base64.
fn websocket_accept(key: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let sum = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{WEBSOCKET_GUID}").as_bytes());
    // 20 bytes are six groups of three and a last one of two.
    let mut text = String::new();
    for group in sum.as_ref().chunks(3) {
        let bits = group.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        let digits = (0..=group.len()).map(|at| char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]));
        text.extend(digits);
    }
    text + "="
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455() {
        assert_eq!(websocket_accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
