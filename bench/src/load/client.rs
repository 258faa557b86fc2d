//! A connection and its requests.
//!
//! Each connection has its own UDP port, so that a server with several sockets distributes them.

use std::{
    future::{Future, poll_fn},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes};
use h3::{client::SendRequest, error::StreamError};
use h3_quinn::OpenStreams;
use http::{Request, Uri, header::CONTENT_LENGTH};
use quinn::{ClientConfig, Endpoint, VarInt, crypto::rustls::QuicClientConfig};
use tokio::{
    task::JoinHandle,
    time::{timeout, timeout_at},
};

use super::{
    plan::{Body, Plan},
    tally::Outcome,
};

pub(super) type Sender = SendRequest<OpenStreams, Bytes>;

/// `H3_NO_ERROR` (RFC 9114 section 8.1).
const NO_ERROR: VarInt = VarInt::from_u32(0x100);
/// Time limit to close a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// Returns an endpoint on loopback with the TLS configuration of the plan.
pub(super) fn endpoint(plan: &Plan) -> io::Result<Endpoint> {
    let crypto = plan.trust.client_config().map_err(io::Error::other)?;
    let crypto = QuicClientConfig::try_from(crypto).map_err(io::Error::other)?;
    let any: IpAddr = if plan.address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    let mut endpoint = Endpoint::client((any, 0).into())?;
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
    Ok(endpoint)
}

/// An open HTTP/3 connection.
pub(super) struct Connection {
    endpoint: Endpoint,
    quic: quinn::Connection,
    sender: Sender,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Opens a connection. Returns it with the duration of the handshake, or the reason of the failure.
    pub(super) async fn open(
        endpoint: Endpoint,
        address: SocketAddr,
        server_name: String,
        deadline: Instant,
    ) -> Result<(Self, Duration), String> {
        let start = Instant::now();
        let connecting = endpoint.connect(address, &server_name).map_err(|error| error.to_string())?;
        let quic = within(deadline, connecting).await?.map_err(|error| error.to_string())?;
        let took = start.elapsed();
        let mut builder = h3::client::builder();
        let building = builder.send_grease(false).build(h3_quinn::Connection::new(quic.clone()));
        let (mut driving, sender) = within(deadline, building).await?.map_err(|error| error.to_string())?;
        let driver = tokio::spawn(async move {
            poll_fn(|cx| driving.poll_close(cx)).await;
        });
        Ok((Self { endpoint, quic, sender, driver }, took))
    }

    pub(super) fn sender(&self) -> Sender {
        self.sender.clone()
    }

    pub(super) async fn close(self) {
        self.quic.close(NO_ERROR, b"");
        // The report does not cover whether the server acknowledges the close.
        let _ = timeout(CLOSE_TIMEOUT, self.endpoint.wait_idle()).await;
        self.driver.abort();
    }
}

/// The request that is sent repeatedly.
pub(super) struct Job {
    uri: Uri,
    method: http::Method,
    body: Body,
    pub(super) deadline: Instant,
}

impl Job {
    pub(super) fn new(plan: &Plan, deadline: Instant) -> Self {
        Self { uri: plan.uri.clone(), method: plan.method.clone(), body: plan.body.clone(), deadline }
    }

    pub(super) async fn request(&self, sender: &mut Sender) -> Outcome {
        let start = Instant::now();
        match within(self.deadline, self.exchange(sender)).await {
            Ok(Ok((status, received))) => Outcome::Answered { status, took: start.elapsed(), received },
            Ok(Err(reason)) | Err(reason) => Outcome::Failed(reason),
        }
    }

    /// Returns the status and the length of the complete body.
    async fn exchange(&self, sender: &mut Sender) -> Result<(u16, u64), String> {
        let mut request = Request::builder().method(self.method.clone()).uri(self.uri.clone());
        if self.body.bytes > 0 {
            request = request.header(CONTENT_LENGTH, self.body.bytes);
        }
        let request = request.body(()).map_err(|error| error.to_string())?;
        let mut stream = sender.send_request(request).await.map_err(|error| reason(&error))?;
        for piece in self.body.pieces() {
            stream.send_data(piece).await.map_err(|error| reason(&error))?;
        }
        stream.finish().await.map_err(|error| reason(&error))?;
        let response = stream.recv_response().await.map_err(|error| reason(&error))?;
        let announced =
            response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let mut received = 0;
        while let Some(data) = stream.recv_data().await.map_err(|error| reason(&error))? {
            received += data.remaining() as u64;
        }
        stream.recv_trailers().await.map_err(|error| reason(&error))?;
        let has_body = self.method != http::Method::HEAD && response.status() != http::StatusCode::NOT_MODIFIED;
        if has_body && announced.is_some_and(|announced| announced != received) {
            return Err("an answer shorter or longer than announced".to_owned());
        }
        Ok((response.status().as_u16(), received))
    }
}

/// Returns the reason without parts that differ between requests.
fn reason(error: &StreamError) -> String {
    match error {
        StreamError::RemoteTerminate { code, .. } => format!("reset by the server: {code}"),
        StreamError::StreamError { code, .. } => format!("a broken answer: {code}"),
        other => other.to_string(),
    }
}

async fn within<T>(deadline: Instant, work: impl Future<Output = T>) -> Result<T, String> {
    timeout_at(deadline.into(), work).await.map_err(|_| "no end before the time was over".to_owned())
}
