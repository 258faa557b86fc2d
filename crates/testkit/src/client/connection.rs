//! An HTTP/3 connection that follows the protocol. Clones share the connection; requests may run concurrently.

use std::sync::Arc;

use bytes::Bytes;
use h3::client::SendRequest;
use h3_quinn::OpenStreams;
use http::Request;
use tokio::task::JoinHandle;

use super::exchange::{Exchange, Failure};
use super::reply::Reply;
use crate::wait;

/// An HTTP/3 connection. Dropping the last clone closes it with `H3_NO_ERROR`.
#[derive(Clone)]
pub struct Connection {
    quic: quinn::Connection,
    sender: SendRequest<OpenStreams, Bytes>,
    _driver: Arc<Driver>,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.quic.fmt(f)
    }
}

struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    pub(super) async fn new(quic: quinn::Connection) -> Self {
        let mut builder = h3::client::builder();
        builder.enable_extended_connect(true);
        let building = builder.build(h3_quinn::Connection::new(quic.clone()));
        let (mut driver, sender) = wait::within("the control stream", building).await.expect("open the control stream");
        let task = tokio::spawn(async move {
            driver.wait_idle().await;
        });
        Self { quic, sender, _driver: Arc::new(Driver(task)) }
    }

    /// Returns the QUIC connection.
    pub fn quic(&self) -> &quinn::Connection {
        &self.quic
    }

    /// Sends a request head and leaves both directions open.
    pub async fn open(&self, request: Request<()>) -> Result<Exchange, Failure> {
        let mut sender = self.sender.clone();
        let stream = wait::within("a request stream", sender.send_request(request)).await?;
        Ok(Exchange::new(stream))
    }

    /// Sends a request with its body and reads the response, concurrently.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Reply, Failure> {
        let (parts, body) = request.into_parts();
        let (mut sending, mut reading) = self.open(Request::from_parts(parts, ())).await?.split();
        let upload = async {
            if !body.is_empty() {
                sending.data(body).await?;
            }
            sending.finish().await
        };
        let (sent, reply) = tokio::join!(upload, reading.reply());
        match (sent, reply) {
            (_, Ok(reply)) => Ok(reply),
            (_, Err(failure)) => Err(failure),
        }
    }

    /// Sends GET `path` to `https://localhost`.
    pub async fn get(&self, path: &str) -> Result<Reply, Failure> {
        self.send(get(path)).await
    }

    /// Sends POST `path` with `body` and `content-length` to `https://localhost`.
    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Result<Reply, Failure> {
        let body = body.into();
        let request = Request::post(url(path)).header("content-length", body.len()).body(body);
        self.send(request.expect("a valid request")).await
    }

    /// Waits for the end of the connection. Returns the application error code, if there is one.
    pub async fn closed(&self) -> Option<u64> {
        super::raw::code(&wait::within("the connection to close", self.quic.closed()).await)
    }
}

/// Returns a GET request for `path` at `https://localhost`.
pub fn get(path: &str) -> Request<Bytes> {
    Request::get(url(path)).body(Bytes::new()).expect("a valid request")
}

fn url(path: &str) -> String {
    format!("https://localhost{path}")
}
