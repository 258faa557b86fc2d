//! An HTTP/2 client by the `h2` crate.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::ext::Protocol;
use h2::{Error, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::task::JoinHandle;

use super::connect;
use crate::certs::Authority;
use crate::client::Reply;
use crate::wait;

/// Bytes of a body that are queued at once.
const PIECE: usize = 64 * 1024;

/// A connection.
#[derive(Debug)]
pub struct Http2 {
    sender: SendRequest<Bytes>,
    addr: SocketAddr,
    task: JoinHandle<Result<(), Error>>,
}

impl Http2 {
    /// Connects with TLS and ALPN `h2`.
    pub async fn connect(authority: &Authority, addr: SocketAddr, name: &str) -> Self {
        let stream = wait::within("TLS", connect(authority, addr, name, &[b"h2"])).await.expect("a TLS connection");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (sender, connection) =
            wait::within("HTTP/2", builder().handshake(stream)).await.expect("an HTTP/2 connection");
        Self { sender, addr, task: tokio::spawn(connection) }
    }

    /// Returns a request for a path, without fields.
    pub fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("https://localhost:{}{path}", self.addr.port()))
    }

    /// Opens a stream.
    ///
    /// # Errors
    /// If the connection does not permit it.
    pub async fn open(
        &mut self,
        request: Request<()>,
        end: bool,
    ) -> Result<(h2::client::ResponseFuture, SendStream<Bytes>), Error> {
        let mut ready = wait::within("a stream", self.sender.clone().ready()).await?;
        ready.send_request(request, end)
    }

    /// Sends a GET and reads the response.
    ///
    /// # Errors
    /// If the stream or the connection fails.
    pub async fn get(&mut self, path: &str) -> Result<Reply, Error> {
        let request = self.request("GET", path).body(()).expect("a request");
        self.fetch(request).await
    }

    /// Sends a request without a body and reads the response.
    ///
    /// # Errors
    /// If the stream or the connection fails.
    pub async fn fetch(&mut self, request: Request<()>) -> Result<Reply, Error> {
        let (response, _) = self.open(request, true).await?;
        read(wait::within("a response", response).await?).await
    }

    /// Sends a POST with a body, without a length, and reads the response meanwhile.
    ///
    /// # Errors
    /// If the stream or the connection fails.
    pub async fn post(&mut self, path: &str, body: Vec<u8>, trailers: Option<HeaderMap>) -> Result<Reply, Error> {
        let request = self.request("POST", path).body(()).expect("a request");
        self.send(request, body, trailers).await
    }

    /// Sends a request with a body and reads the response meanwhile.
    ///
    /// # Errors
    /// If the stream or the connection fails.
    pub async fn send(
        &mut self,
        request: Request<()>,
        body: Vec<u8>,
        trailers: Option<HeaderMap>,
    ) -> Result<Reply, Error> {
        let (response, stream) = self.open(request, false).await?;
        let upload = tokio::spawn(upload(stream, body.into(), trailers));
        let reply = read(wait::within("a response", response).await?).await;
        upload.abort();
        reply
    }

    /// Asks for a WebSocket with the subprotocol `chat` by extended CONNECT (RFC 8441), once the server has announced that.
    ///
    /// # Errors
    /// If the stream or the connection fails.
    pub async fn websocket(&mut self, path: &str) -> Result<WebSocket, Error> {
        self.until_extended_connect().await;
        let request = self.request("CONNECT", path).extension(Protocol::from_static("websocket"));
        let request = request.header("sec-websocket-version", "13").header("sec-websocket-protocol", "chat");
        let (response, sending) = self.open(request.body(()).expect("a request"), false).await?;
        let (head, reading) = wait::within("a response", response).await?.into_parts();
        Ok(WebSocket { status: head.status.as_u16(), sending, reading })
    }

    /// Waits until the server has announced extended CONNECT.
    pub(crate) async fn until_extended_connect(&self) {
        let announced = || async { self.sender.is_extended_connect_protocol_enabled().then_some(()) };
        wait::until(wait::BOUND, "extended CONNECT", announced).await;
    }

    /// Waits for the end of the connection.
    ///
    /// # Errors
    /// The error with which it ended.
    pub async fn ended(self) -> Result<(), Error> {
        drop(self.sender);
        wait::within("the end of the connection", self.task).await.expect("no panic")
    }
}

/// The window of the connection is large, so that a stream that is not read does not block the others.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.initial_connection_window_size(16 << 20);
    builder
}

/// A stream for which a WebSocket was asked.
#[derive(Debug)]
pub struct WebSocket {
    /// The status of the response; with 200 the WebSocket is open.
    pub status: u16,
    sending: SendStream<Bytes>,
    reading: RecvStream,
}

impl WebSocket {
    /// Sends bytes.
    ///
    /// # Errors
    /// If the stream fails.
    pub fn send(&mut self, bytes: &'static [u8]) -> Result<(), Error> {
        self.sending.send_data(Bytes::from_static(bytes), false)
    }

    /// Waits for bytes; `None` at the end.
    ///
    /// # Errors
    /// If the stream fails.
    pub async fn data(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let data = wait::within("data of a tunnel", self.reading.data()).await.transpose()?;
            // The end may come in a frame without data.
            if data.as_ref().is_none_or(|data| !data.is_empty()) {
                return Ok(data);
            }
        }
    }
}

/// Sends a body as fast as the peer takes it.
///
/// # Errors
/// If the stream fails.
async fn upload(mut stream: SendStream<Bytes>, mut body: Bytes, trailers: Option<HeaderMap>) -> Result<(), Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len().min(PIECE));
        let granted = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(granted) = granted.transpose()? else { return Ok(()) };
        stream.send_data(body.split_to(granted.min(body.len())), false)?;
    }
    match trailers {
        Some(trailers) => stream.send_trailers(trailers),
        None => stream.send_data(Bytes::new(), true),
    }
}

async fn read(response: Response<RecvStream>) -> Result<Reply, Error> {
    let (head, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = wait::within("a body", stream.data()).await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    let trailers = wait::within("the end of a response", stream.trailers()).await?;
    Ok(Reply { status: head.status, headers: head.headers, body: body.into(), trailers })
}
